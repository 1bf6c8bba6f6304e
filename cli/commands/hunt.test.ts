// A hunt as operators type it: a real site in this process, the command as a program of its own.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeBatch, encodeBatch } from "@picket/protocol/batch";
import type { SensorEvent } from "@picket/protocol/event";
import { afterAll, beforeAll, expect, test } from "vitest";
import { appendBatch } from "../../broker/store/log.ts";
import { openStore } from "../../broker/store/schema.ts";
import { BOOT, type TestSite, testSite } from "../../broker/testing/site.ts";
import { child, connects, exec, proc } from "../../detector/testing/events.ts";

const main = new URL("../main.ts", import.meta.url).pathname;
const HOUR_MS = 3_600_000;
const BULK = 400;
let site: TestSite;
let folder: string;

const rule = (name: string) =>
  `title: Runs ${name}\nid: 7b1c3f4e-0000-4000-8000-000000000001\nlogsource:\n  product: linux\n  category: process_creation\ndetection:\n  sel:\n    Image|endswith: /${name}\n  condition: sel\nlevel: high\n`;

beforeAll(async () => {
  site = await testSite();
  folder = mkdtempSync(join(tmpdir(), "picket-hunt-"));
  const access = { url: `https://127.0.0.1:${site.broker.httpsPort}`, ca: site.ca, token: site.token, site: "yard" };
  writeFileSync(join(folder, "site.json"), JSON.stringify(access));
  writeFileSync(join(folder, "odd.yml"), rule("oddity"));
  mkdirSync(join(folder, "yara"));
  writeFileSync(join(folder, "yara", "x.yar"), "rule x { condition: true }");
  fill();
});
afterAll(async () => {
  await site[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** Nine days: a hit eight days ago, and one six hours ago on another device; a shell over the network whose steps lie in two batches. */
function fill(): void {
  using store = openStore(join(site.dir, "site.db"));
  let seq = 0;
  const nowMs = Date.now();
  const add = (device: string, agoMs: number, events: readonly SensorEvent[]) => {
    const numbered = events.map((event) => ({ ...event, device, epoch: "huntedxx", seq: seq++, timeMs: nowMs - agoMs + seq }));
    const batch = encodeBatch({ boot: BOOT, oldest: numbered[0]!.seq, events: numbered as SensorEvent[] });
    const { header } = decodeBatch(batch);
    const [first, count] = header.runs[0]!;
    appendBatch(store, { device, epoch: header.epoch, firstSeq: first, nextSeq: seq, receivedMs: nowMs - agoMs, count, batch });
  };
  const bash = proc(412, "/bin/bash");
  store.commitNow(() => {
    add("gw-1", 8 * 24 * HOUR_MS, [exec(0, proc(10, "/tmp/oddity"))]);
    add("gw-2", 6 * HOUR_MS, [exec(0, proc(11, "/tmp/oddity", { argv: ["oddity", "\u001b[8m"] }))]);
    add("gw-2", 5 * HOUR_MS, [exec(0, bash), connects(10, bash)]);
    add("gw-2", 5 * HOUR_MS - 100, [exec(0, child(413, "/bin/sh", bash))]);
    const lines = Array.from({ length: 500 }, (_, at) => exec(at, proc(20 + (at % 7), "/usr/bin/true")));
    for (let at = 0; at < BULK; at++) add("gw-3", 4 * HOUR_MS - at * 1000, lines);
  });
}

async function picket(args: readonly string[], input = "") {
  const child = Bun.spawn([process.execPath, main, "--home", folder, ...args], {
    cwd: folder,
    stdin: Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  const hits = out
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
  return { out, err, code, hits };
}

test("a rule from a file finds its events of the last week, or as far back as asked, of all devices or one", async () => {
  const week = await picket(["hunt", "odd.yml", "--json"]);
  expect([week.code, week.hits.map(({ rule, event }) => [rule.title, event.device])]).toEqual([0, [["Runs oddity", "gw-2"]]]);
  expect(week.hits[0].event).toMatchObject({ id: "gw-2:huntedxx:1", type: "process.exec" });
  expect(week.err).toMatch(/200004 events, 1 hit; \d+ events\/s/);
  const all = await picket(["hunt", "odd.yml", "--since", "30d", "--json"]);
  expect(all.hits.map(({ event }) => event.device)).toEqual(["gw-1", "gw-2"]);
  const one = await picket(["hunt", ".", "--since", "30d", "--device", "gw-1"]);
  expect(one.out).toMatch(/gw-1 {2}high {2}Runs oddity {2}process\.exec/);
  expect(one.err).toContain("1 event, 1 hit;");
}, 60_000);

test.each([["hunt", "odd.yml"], ["events"]])(
  "%s of a device that is not there is no empty answer",
  async (...args) => {
    const { code, err, out } = await picket([...args, "--device", "nosuch"]);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toContain('There is no device "nosuch"');
  },
  60_000,
);

test("a rule on standard input; text of a device does not steer the terminal", async () => {
  const { out, code } = await picket(["hunt", "-", "--device", "gw-2"], rule("oddity"));
  expect([code, out]).toEqual([0, expect.stringContaining("/tmp/oddity")]);
  expect(out).not.toContain("\u001b");
}, 60_000);

test("a sequence whose steps came in different batches is found over the whole range", async () => {
  const { hits, code } = await picket(["hunt", "picket-chain-reverse-shell", "--device", "gw-2", "--json"]);
  expect([code, hits.map(({ alert }) => [alert.rule.id, alert.device, alert.events.length])]).toEqual([
    0,
    [["picket-chain-reverse-shell", "gw-2", 3]],
  ]);
}, 60_000);

test.each([
  ["an id that nobody has", ["no-such-rule"], "there is no rule"],
  ["a file that is not there", ["missing/rule.yml"], "neither a file"],
  ["YARA rules", ["yara"], "look into files"],
  ["what is no rule", ["-"], "holds no rule"],
])(
  "%s: says so and exits 1",
  async (_, args, says) => {
    const { code, err, out } = await picket(["hunt", ...args], "nonsense: [");
    expect([code, out]).toEqual([1, ""]);
    expect(err).toContain(says);
  },
  60_000,
);

test("Ctrl-C stops it, says where, and is no error", async () => {
  const child = Bun.spawn([process.execPath, main, "--home", folder, "hunt", "odd.yml", "--json"], {
    cwd: folder,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  // Its first hit lies before 200,000 events.
  await child.stdout.getReader().read();
  child.kill("SIGINT");
  const err = await new Response(child.stderr).text();
  expect(await child.exited).toBe(0);
  expect(err).toMatch(/stopped after what the site received until \d{4}-/);
}, 60_000);

test("without a credential, or with one that is not valid, nothing is read", async () => {
  const get = (token: string) =>
    fetch(`https://127.0.0.1:${site.broker.httpsPort}/v1/log`, { headers: { authorization: `Bearer ${token}` }, tls: { ca: site.ca } });
  expect((await get("")).status).toBe(401);
  expect((await get("x".repeat(40))).status).toBe(401);
  const wrong = await fetch(`https://127.0.0.1:${site.broker.httpsPort}/v1/log?since=1`, {
    headers: { authorization: `Bearer ${site.token}` },
    tls: { ca: site.ca },
  });
  expect(wrong.status).toBe(400);
});
