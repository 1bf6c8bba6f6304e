// A site with a log, its real broker, and `picket model`: train, list, use, score, as a site's user types them.
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { appendBatch } from "@picket/broker/store/log";
import { openStore } from "@picket/broker/store/schema";
import { encodeBatch } from "@picket/protocol/batch";
import type { SensorEvent } from "@picket/protocol/event";
import type { SiteClient } from "@picket/tui/client/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readMinutes } from "../minutes.ts";

const main = new URL("../main.ts", import.meta.url).pathname;
const MINUTES = 800;
const MINUTE_MS = 60_000;
const START_MS = Math.floor((Date.now() - (MINUTES + 10) * MINUTE_MS) / MINUTE_MS) * MINUTE_MS;
let folder = "";
let dir = "";
let config = "";
let broker: ReturnType<typeof spawn> | undefined;

const spawn = (...args: string[]) =>
  Bun.spawn([process.execPath, main, "--home", join(folder, "operator"), ...args], {
    cwd: folder,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });

async function picket(...args: string[]) {
  const child = spawn(...args);
  const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { out, err, code };
}

/** A minute of a device that runs a script and reports. */
function minute(device: string, at: number): SensorEvent[] {
  const process = {
    pid: 7,
    startTicks: 7,
    ppid: 1,
    uid: 0,
    exe: "/usr/local/bin/report",
    argv: ["report"],
    parent: { pid: 1, exe: "/usr/sbin/cron" },
  };
  const envelope = { v: 1 as const, device, epoch: "abcdefgh" };
  const timeMs = START_MS + at * MINUTE_MS + 5000;
  return [
    { ...envelope, seq: at * 2, timeMs, type: "process.exec", body: { process } },
    {
      ...envelope,
      seq: at * 2 + 1,
      timeMs,
      type: "net.connect",
      body: { process, net: { proto: "tcp", dstIp: "10.0.0.9", dstPort: 8883 } },
    },
  ];
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "picket-model-"));
  dir = join(folder, "site");
  config = join(folder, "site.toml");
  await picket("operator", "init", "--site", "lab", "--name", "anna");
  await picket("site", "init", "--site", "lab", "--host", "127.0.0.1", "--dir", dir, "--name", "anna");
  writeFileSync(
    config,
    `[broker]\ndir = ${JSON.stringify(dir)}\nhost = "127.0.0.1"\nmqttPort = 0\nhttpsPort = 0\n[detector]\ndir = ${JSON.stringify(dir)}\n`,
  );
  using store = openStore(join(dir, "site.db"));
  store.db.transaction(() => {
    for (let at = 0; at < MINUTES; at++)
      for (const device of ["gw-1", "gw-2"]) {
        const events = minute(device, at);
        const batch = encodeBatch({ boot: "7b9c1c9e-2f0c-4f7e-9d7e-0123456789ab", oldest: events[0]!.seq, events });
        const receivedMs = events[0]!.timeMs + 1000;
        appendBatch(store, {
          device,
          epoch: "abcdefgh",
          firstSeq: events[0]!.seq,
          nextSeq: events[1]!.seq + 1,
          receivedMs,
          count: 2,
          batch,
        });
      }
  })();
});
afterAll(async () => {
  broker?.kill("SIGTERM");
  await broker?.exited;
  rmSync(folder, { recursive: true, force: true });
});

async function startBroker(): Promise<void> {
  broker = spawn("broker", "--config", config);
  let text = "";
  for await (const chunk of broker.stderr as unknown as AsyncIterable<Uint8Array>) {
    text += new TextDecoder().decode(chunk);
    const line = text.split("\n").find((one) => one.includes("broker listens") && one.endsWith("}"));
    if (!line) continue;
    const file = join(folder, "operator", "site.json");
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), url: `https://127.0.0.1:${JSON.parse(line).https}` }));
    return;
  }
  expect.fail(`the broker ended: ${text}`);
}

test("a site learns from its log, lists what it has, goes back, and scores with what it learnt", async () => {
  await startBroker();
  const dry = await picket("model", "train", "behaviour", "--dry-run", "--config", config);
  expect(dry).toMatchObject({ code: 0, out: expect.stringContaining("Dry run: nothing was kept.") });
  expect(existsSync(join(dir, "models"))).toBe(false);

  const trained = await picket("model", "train", "behaviour", "--config", config);
  expect(trained).toMatchObject({ code: 0, out: expect.stringMatching(/Learnt from \d+ minutes of devices/) });
  const rows = (await picket("model", "list", "--json", "--config", config)).out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(rows.map(({ name, inUse }) => [name, inUse])).toEqual([
    ["cmdline", true],
    ["behaviour", false],
    ["behaviour", true],
  ]);
  const { version, trained: facts } = rows[2];
  // The last minute of each device is not over.
  expect(facts).toMatchObject({ site: "lab", devices: 2, minutes: 2 * MINUTES - 2, leftOut: 0 });

  const recorded = join(folder, "events.ndjson");
  const odd = Array.from({ length: 40 }, (_, at) => ({
    ...minute("gw-1", 901)[1]!,
    body: { process: { exe: "/tmp/.x", argv: ["x"] }, net: { proto: "tcp", dstIp: `198.51.${at}.1`, dstPort: 23 } },
  }));
  writeFileSync(recorded, [...minute("gw-1", 900), ...odd].map((event) => JSON.stringify(event)).join("\n"));
  const scored = await picket("model", "score", "behaviour", recorded, "--dir", dir, "--json");
  expect(scored).toMatchObject({ code: 0, err: "" });
  const scores = scored.out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).score as number);
  expect(scores).toHaveLength(42);
  expect(scores[0]).toBeLessThan(0.5);
  expect(new Set(scores.slice(2)).size).toBe(1);
  expect(scores[41]).toBeGreaterThan(0.999);

  expect((await picket("model", "use", "behaviour", "start", "--config", config)).code).toBe(0);
  expect(readFileSync(join(dir, "models/behaviour/current"), "utf8")).toBe("start\n");
  expect((await picket("model", "use", "behaviour", version, "--config", config)).code).toBe(0);
  truncateSync(join(dir, "models/behaviour", version, "tables.json"), 100);
  expect(await picket("model", "use", "behaviour", version, "--config", config)).toMatchObject({
    code: 1,
    err: expect.stringContaining("tables.json is damaged or only half written"),
  });
  expect(await picket("model", "list", "--config", config)).toMatchObject({ code: 0, out: expect.stringContaining("cannot be read") });
  expect(await picket("model", "train", "behaviour", "--since", "5m", "--config", config)).toMatchObject({
    code: 1,
    err: expect.stringContaining("are too few to learn what is usual: at least 1440"),
  });
  expect(await picket("model", "train", "behaviour", "--dir", folder, "--config", config)).toMatchObject({
    code: 1,
    err: expect.stringContaining("is no site's directory"),
  });
  expect((await picket("model", "train", "cmdline")).code).toBe(2);
  // Twelve programs, one after another.
}, 60_000);

test("minutes with alerts are not learnt from, but for what an operator closed of this model", async () => {
  const events = [0, 1, 2, 3].flatMap((at) => minute("gw-1", at)).map((event) => ({ ...event, receivedMs: event.timeMs }));
  const alert = (rule: string, status: string, at: number) => ({
    rule: { id: rule },
    status,
    events: [`gw-1:abcdefgh:${at * 2}`],
    firstMs: 0,
    lastMs: 0,
  });
  const readWith = (...alerts: unknown[]) => {
    const call = async (name: string, input: { query?: { after?: number } }) => {
      if (name === "devices") return { devices: [{ id: "gw-1" }] };
      if (name === "alerts") return { alerts };
      return input.query?.after === undefined ? { events, after: 9 } : { events: [], after: 9 };
    };
    return readMinutes({ call } as unknown as SiteClient, 0, () => {});
  };
  const read = await readWith(alert("picket-other", "closed", 1), alert("picket-model-behaviour", "closed", 2));
  expect(read.minutes.map(({ minute: of }) => of - START_MS / MINUTE_MS)).toEqual([0, 2]);
  expect(read).toMatchObject({ leftOut: 1, events: 8, truncated: [] });
  expect((await readWith(alert("picket-model-behaviour", "open", 2))).leftOut).toBe(1);
  const { firstMs: _first, ...long } = alert("picket-other", "open", 9);
  expect((await readWith({ ...long, firstMs: events[0]!.timeMs, lastMs: events.at(-1)!.timeMs })).minutes).toEqual([]);
});
