// Correlations as operators type them: checked, replayed and hunted for.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeBatch, encodeBatch } from "@picket/protocol/batch";
import { afterAll, beforeAll, expect, test } from "vitest";
import { appendBatch } from "../../broker/store/log.ts";
import { openStore } from "../../broker/store/schema.ts";
import { BOOT, type TestSite, testSite } from "../../broker/testing/site.ts";
import { stream } from "../../detector/testing/correlations.ts";
import { T0 } from "../../detector/testing/events.ts";

const main = new URL("../main.ts", import.meta.url).pathname;
const HOUR_MS = 3_600_000;
let site: TestSite;
let folder: string;

const slow = `title: Login refused here
name: here
id: 7b1c3f4e-0000-4000-8000-000000000001
logsource: { product: picket, category: login }
detection: { s: { Success: "false" }, condition: s }
level: low
---
title: Refused all day
id: 7b1c3f4e-0000-4000-8000-000000000002
correlation:
  type: event_count
  rules: [here]
  group-by: [User]
  timespan: 1d
  condition: { gte: 5 }
level: high
`;

beforeAll(async () => {
  site = await testSite();
  folder = mkdtempSync(join(tmpdir(), "picket-correlations-"));
  const access = { url: `https://127.0.0.1:${site.broker.httpsPort}`, ca: site.ca, token: site.token, site: "yard" };
  writeFileSync(join(folder, "site.json"), JSON.stringify(access));
  writeFileSync(join(folder, "slow.yml"), slow);
  writeFileSync(join(folder, "bad.yml"), `${slow.replace("[here]", "[nowhere]")}---\ntitle: x\ncorrelation: { type: many }\n`);
});
afterAll(async () => {
  await site[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function picket(...args: string[]) {
  const child = Bun.spawn([process.execPath, main, "--home", folder, ...args], { cwd: folder, stdout: "pipe", stderr: "pipe" });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return {
    out,
    err,
    code,
    lines: out
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line)),
  };
}

test("rules check counts them, and says what is wrong with which line and what to change", async () => {
  const good = await picket("rules", "check", "slow.yml", "--json");
  expect([good.code, good.lines[0]]).toMatchObject([0, { rules: 2, loaded: 2, errors: [], warnings: [] }]);
  const bad = await picket("rules", "check", "bad.yml");
  expect(bad.code).toBe(1);
  expect(bad.out).toContain('bad.yml:12: error: rule "nowhere" is not in these files, nor does Picket ship it');
  expect(bad.out).toContain('error: correlation type "many" is not one of event_count');
});

test("replay tells what they would have said, also with windows of a day", async () => {
  const { refused } = stream();
  const events = [0, 4, 8, 12, 16].map((hour) => refused("pi", "203.0.113.9", hour * HOUR_MS));
  writeFileSync(join(folder, "events.ndjson"), events.map((event) => JSON.stringify(event)).join("\n"));
  const { code, lines } = await picket("replay", "events.ndjson", "--rules", "slow.yml", "--no-builtin", "--json");
  expect(code).toBe(0);
  expect(lines.map(({ rule, summary, events: ids }) => [rule.title, rule.engine, ids.length, summary])).toEqual([
    ["Refused all day", "correlation", 5, '5 times "Login refused here" for pi within 16 hours'],
  ]);
});

test("hunt runs the rules they rest on over the log, with full windows; of a rule that is only there for them nothing is told", async () => {
  using store = openStore(join(site.dir, "site.db"));
  const { refused } = stream();
  const startMs = Date.now() - 30 * HOUR_MS;
  for (const [at, hour] of [0, 5, 10, 15, 20].entries()) {
    const device = `gw-${at}`;
    const event = { ...refused("pi", "203.0.113.9", startMs - T0 + hour * HOUR_MS, device), epoch: "huntedxx" };
    const batch = encodeBatch({ boot: BOOT, oldest: event.seq, events: [event] });
    const [first, count] = decodeBatch(batch).header.runs[0]!;
    const receivedMs = startMs + hour * HOUR_MS;
    store.commitNow(() =>
      appendBatch(store, { device, epoch: "huntedxx", firstSeq: first, nextSeq: first + count, receivedMs, count, batch }),
    );
  }
  const { code, lines } = await picket("hunt", "slow.yml", "--json");
  expect(code).toBe(0);
  expect(lines.map(({ rule, alert }) => [rule.title, alert?.events.length])).toEqual([["Refused all day", 5]]);
  const shipped = await picket("hunt", "7f0b2a1e-5f0c-5c77-8d0a-2c9a4b7d1e02", "--json");
  expect([shipped.code, shipped.lines]).toEqual([0, []]);
});
