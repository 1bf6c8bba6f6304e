import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeModel } from "@picket/models/behaviour/files";
import { startFiles } from "@picket/models/behaviour/start";
import { MINUTE_MS } from "@picket/models/behaviour/window";
import type { SensorEvent } from "@picket/protocol/event";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { EventBatch, Finding } from "../../finding.ts";
import { replay } from "../../replay.ts";
import { learntFiles, oddMinute, quietMinute } from "../../testing/behaviour.ts";
import { BOOT, event, idOf, noRules, pipelineOf, T0 } from "../../testing/events.ts";
import { packed, TestSite } from "../../testing/site.ts";
import { behaviourEngine } from "./behaviour.ts";
import { currentVersion, modelsFolder, readVersion, useVersion, versions, writeVersion } from "./behaviour-folder.ts";
import { BehaviourModels } from "./behaviour-models.ts";
import { loadRuntime } from "./runtime.ts";

const DEVICES = ["gw-1", "gw-2", "gw-3"];
const runtime = loadRuntime();
const start = await startFiles();
const learnt = learntFiles(DEVICES);
let folder = "";
let logged: string[] = [];

beforeAll(() => {
  folder = modelsFolder(mkdtempSync(join(tmpdir(), "picket-behaviour-")));
  writeVersion(folder, "v1", learnt, "card");
  useVersion(folder, "v1");
});
afterAll(() => rmSync(join(folder, "../.."), { recursive: true, force: true }));

const modelsOf = (of: string | null = folder) =>
  new BehaviourModels({
    runtime,
    start,
    folder: of ?? undefined,
    alertsPerDeviceDay: 0.1,
    log: (_level, message, details) => logged.push(`${message}: ${details?.problem ?? details?.version}`),
  });

/** Received when they happened, a batch a minute. */
const batchOf = (events: readonly SensorEvent[], silent = false): EventBatch => ({
  events,
  arrivals: events.map((one) => ({ id: idOf(one), boot: BOOT, receivedMs: one.timeMs, silent })),
});
const minutes = (from: number, to: number, device = "gw-1") => Array.from({ length: to - from }, (_, at) => quietMinute(device, from + at));

async function findingsOf(engine: ReturnType<typeof behaviourEngine>, batches: readonly (readonly SensorEvent[])[]): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const batch of batches) for (const one of (await engine.judge(batchOf(batch)))?.values() ?? []) found.push(...one);
  return found;
}

test("a minute unlike the device's past is found when the next begins, with the reasons in plain words", async () => {
  using models = modelsOf();
  const quiet = minutes(0, 8);
  quiet[4] = [...quiet[4]!, ...oddMinute("gw-1", 4)];
  const engine = behaviourEngine(models);
  expect(await findingsOf(engine, quiet.slice(0, 5))).toEqual([]);
  const [found, ...more] = await findingsOf(engine, quiet.slice(5));
  expect(more).toEqual([]);
  expect(found).toMatchObject({ engine: "onnx", group: "device", about: "device", rule: { id: "picket-model-behaviour", level: "high" } });
  expect(found!.summary).toContain("The minute 00:04 UTC was unusual for this device (score 1): ");
  expect(found!.summary).toContain("first time this device ran /usr/bin/nc started by /usr/bin/python3");
  expect(found!.summary).toContain("14 connections to port tcp/23 (never before)");
  expect(found!.summary).toContain("1 write to /etc/cron.d/x (never before)");
  expect(found!.before?.eventIds.length).toBeGreaterThan(1);
});

test("an ordinary day of the device makes no alert", async () => {
  using models = modelsOf();
  expect(await findingsOf(behaviourEngine(models), minutes(0, 1440))).toEqual([]);
});

test("a device that was not learnt is compared with its site", async () => {
  using models = modelsOf();
  const quiet = minutes(0, 8, "gw-9");
  quiet[4] = [...quiet[4]!, ...oddMinute("gw-9", 4, 200)];
  const [found] = await findingsOf(behaviourEngine(models), quiet);
  expect(found?.summary).toContain("was unusual for this site (the device is not learnt yet)");
});

test("by the model Picket ships, only a device that differs from its own minutes before is told, at low severity", async () => {
  using models = modelsOf(null);
  const always = minutes(0, 30).map((quiet, at) => [...quiet, ...oddMinute("gw-1", at, 200)]);
  expect(await findingsOf(behaviourEngine(models), always)).toEqual([]);
  expect(await findingsOf(behaviourEngine(models), minutes(0, 1440))).toEqual([]);
});

test("a minute is judged only while a restarted detector would know it too", async () => {
  using models = modelsOf();
  const odd = [...quietMinute("gw-1", 0), ...oddMinute("gw-1", 0)];
  expect(await findingsOf(behaviourEngine(models), [odd, quietMinute("gw-1", 8)])).toHaveLength(1);
  expect(await findingsOf(behaviourEngine(models), [odd, quietMinute("gw-1", 9)])).toEqual([]);
});

test("a buffer that is sent after an outage is not taken for a storm", async () => {
  using models = modelsOf();
  const held = minutes(0, 90).flat();
  const sent = batchOf(held);
  const late = { ...sent, arrivals: sent.arrivals.map((arrival) => ({ ...arrival, receivedMs: T0 + 90 * MINUTE_MS })) };
  const engine = behaviourEngine(models);
  engine.judge(late);
  expect(await findingsOf(engine, minutes(91, 92))).toEqual([]);
});

test("unusual minutes of a device are one alert, which blames no process", async () => {
  using models = modelsOf();
  const recorded = minutes(0, 10)
    .flatMap((quiet, at) => (at === 4 || at === 5 ? [...quiet, ...oddMinute("gw-1", at)] : quiet))
    .map((one) => ({ id: idOf(one), event: one }));
  const alerts = await Array.fromAsync(replay(recorded, { ...noRules, engines: [behaviourEngine(models)] }));
  expect(alerts.map(({ rule, count, severity, process, tree }) => ({ rule: rule.id, count, severity, process, tree }))).toEqual([
    { rule: "picket-model-behaviour", count: 2, severity: "high", process: undefined, tree: [] },
  ]);
});

test("killing the detector at any step makes the same alerts", async () => {
  const log = Array.from({ length: 16 }, (_, at) => {
    const events = ["gw-1", "gw-2"].flatMap((device) => [...quietMinute(device, at), ...(at % 6 === 4 ? oddMinute(device, at) : [])]);
    return events.filter(({ device }) => device === (at % 2 ? "gw-1" : "gw-2") || at % 6 === 4);
  }).flatMap((events, at) =>
    [...Map.groupBy(events, ({ device }) => device)].map(([device, of], index) =>
      packed(
        at * 2 + index + 1,
        T0 + at * MINUTE_MS + 1000 * index,
        BOOT,
        of.map((one, seq) => ({ ...one, epoch: "abcdefgh", seq: at * 100 + seq, device })),
      ),
    ),
  );
  for (const [at, row] of log.entries()) Object.assign(row, { offset: at + 1 });
  using models = modelsOf();
  const whole = new TestSite();
  whole.log.push(...log);
  expect(await whole.run(pipelineOf(), () => true, [behaviourEngine(models)])).toBe(true);
  expect(whole.alerts.size).toBeGreaterThan(1);
  for (let fuse = 1; fuse < 60; fuse += 2) {
    const site = new TestSite();
    site.log.push(...log);
    let left = fuse;
    await site.run(pipelineOf(), () => left-- > 0, [behaviourEngine(models)]);
    expect(await site.run(pipelineOf(), () => true, [behaviourEngine(models)])).toBe(true);
    expect(site.outcome()).toEqual(whole.outcome());
  }
});

test("another version is taken up between batches, a damaged or half-written one is refused and the one before stays", async () => {
  using models = modelsOf();
  const engine = behaviourEngine(models);
  writeVersion(folder, "v2", learntFiles(["gw-1"], 300), "card");
  useVersion(folder, "v2");
  logged = [];
  engine.judge(batchOf(quietMinute("gw-1", 0)));
  expect([models.version, logged]).toEqual(["v2", ["behaviour model in use: v2"]]);

  const refused = (version: string, damage: (path: string) => void) => {
    writeVersion(folder, version, learnt, "card");
    damage(join(folder, version));
    logged = [];
    useVersion(folder, version);
    engine.judge(batchOf(quietMinute("gw-1", 0)));
    expect(models.version).toBe("v2");
    return logged.join();
  };
  expect(refused("half", (path) => truncateSync(join(path, "tables.json"), 1000))).toContain("tables.json is damaged or only half written");
  expect(refused("gone", (path) => rmSync(join(path, "model.onnx")))).toContain("model.onnx is missing");
  expect(refused("bad", (path) => writeFileSync(join(path, "manifest.json"), "{"))).toContain("manifest.json is not JSON");
  writeFileSync(join(folder, "current"), "../../etc\n");
  logged = [];
  engine.judge(batchOf(quietMinute("gw-1", 0)));
  expect(logged.join()).toContain("names no version");
  expect(models.version).toBe("v2");
  useVersion(folder, "start");
  engine.judge(batchOf(quietMinute("gw-1", 0)));
  expect(models.version).toBe("start");
  useVersion(folder, "v1");
});

test("a version is written whole or not at all, and is never written over", () => {
  const place = mkdtempSync(join(tmpdir(), "picket-versions-"));
  writeVersion(place, "one", learnt, "card");
  expect(() => writeVersion(place, "one", learnt, "card")).toThrow("is there already");
  expect(() => useVersion(place, "two")).toThrow("there is no version two");
  mkdirSync(join(place, ".new-left"));
  expect([versions(place), currentVersion(place)]).toEqual([["one"], "start"]);
  expect(decodeModel(readVersion(place, "one")).devices.size).toBe(3);
  expect(readFileSync(join(place, "one", "card.md"), "utf8")).toBe("card");
  renameSync(place, `${place}-moved`);
  rmSync(`${place}-moved`, { recursive: true });
});

test("a minute with more different things than are kept is judged by those", async () => {
  using models = modelsOf();
  const storm = Array.from({ length: 5000 }, (_, at) =>
    event("net.connect", at % 60_000, {
      process: { pid: 1, startTicks: 1, ppid: 0, uid: 0, exe: "/usr/bin/nc", argv: [] },
      net: { proto: "tcp", dstIp: `10.${at % 250}.${Math.floor(at / 250)}.1`, dstPort: 1 + at },
    }),
  );
  const [found] = await findingsOf(behaviourEngine(models), [[...quietMinute("gw-1", 0), ...storm], quietMinute("gw-1", 1)]);
  expect(found?.summary.length).toBeLessThan(1000);
  expect(found?.summary).toMatch(/25\d ports never seen before, such as tcp\/\d+/);
});
