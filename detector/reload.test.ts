// Rules that change under a running detector, and rules that only devices have: a real broker, real detectors, some of them killed.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Alert } from "@picket/protocol/alert";
import { encodeBatch } from "@picket/protocol/batch";
import type { SensorEvent } from "@picket/protocol/event";
import type { ListedRule, RuleTrouble } from "@picket/protocol/rule-list";
import { packRules } from "@picket/protocol/rule-pack";
import { parseRules } from "@picket/rules/engine";
import { pack } from "@picket/rules/packed";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeKeyring, signKeyList, signPack } from "../broker/testing/samples.ts";
import { BOOT, connect, enrol, mine, SITE, type TestSite, testSite } from "../broker/testing/site.ts";
import { DetectorConfig } from "./config.ts";
import { type Detector, detectorOptions, startDetector } from "./main.ts";

let site: TestSite;
let folder: string;
let detector: Detector;
const keyring = await makeKeyring();
const logged: string[] = [];
let publish: (events: SensorEvent[]) => Promise<unknown>;
let end: () => Promise<void>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "picket-reload-"));
  mkdirSync(join(folder, "rules"));
  site = await testSite({ anchor: keyring.anchor });
  await site.api("PUT", "/v1/keys", { jws: await signKeyList(keyring, { site: SITE, version: 1 }) });
  const who = await enrol(site, "gw-014");
  const client = await connect(site, who);
  publish = (events) =>
    client.publishAsync(mine(who, "events"), Buffer.from(encodeBatch({ boot: BOOT, oldest: events[0]!.seq, events })), { qos: 1 });
  end = () => client.endAsync(true);
  const config = DetectorConfig.parse({
    ...{ dir: site.dir, host: "localhost", port: site.broker.mqttPort, rules: [join(folder, "rules")], scan: false },
    models: { cmdline: false, behaviour: false },
  });
  detector = await startDetector(
    await detectorOptions(config, (_, message, details) => logged.push(`${message} ${JSON.stringify(details ?? {})}`)),
  );
  await detector.ready;
}, 60_000);
afterAll(async () => {
  await detector[Symbol.asyncDispose]();
  await end();
  await site[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const rule = (title: string, text: string, id: string) =>
  `title: ${title}\nid: ${id}\nstatus: test\nlevel: high\ndate: 2026-11-22\nlogsource:\n  category: process_creation\n  product: linux\ndetection:\n  selection:\n    CommandLine|contains: ${text}\n  condition: selection\n`;
const id = (at: number) => `0b2d2a5e-6a0a-4e0c-8d93-6f3c7a1f0b0${at}`;
const put = (name: string, text: string) => writeFileSync(join(folder, "rules", name), text);

let seq = 0;
const call = (word: string, of: Partial<SensorEvent> = {}, exe = "/usr/bin/true"): SensorEvent =>
  ({
    ...{ v: 1, device: "gw-014", epoch: "k3m9x0qa", seq: seq++, timeMs: 1_767_225_600_000 + seq, type: "process.exec" },
    body: { process: { pid: 100 + seq, startTicks: seq, ppid: 1, uid: 0, exe, argv: ["true", word] } },
    ...of,
  }) as SensorEvent;
const alerts = async (of: string) =>
  ((await site.api("GET", "/v1/alerts?limit=1000")).json as { alerts: Alert[] }).alerts.filter(({ rule }) => rule.id === of);
const listed = async () => (await site.api("GET", "/v1/rules")).json as { version?: string; rules: ListedRule[]; troubles: RuleTrouble[] };
const soon = (look: () => Promise<boolean>) => expect.poll(look, { timeout: 30_000, interval: 100 }).toBe(true);
const has = async (of: string, title: string) => (await listed()).rules.some((one) => one.id === of && one.title === title);

test("a new rule holds without a restart; a changed one goes on with the alert that grows; a broken file keeps what it said", async () => {
  await soon(async () => (await listed()).version !== undefined);
  const { rules } = await listed();
  expect(rules.filter(({ source }) => source === "shipped").length).toBeGreaterThan(50);
  put("one.yml", rule("First", "zz-one", id(1)));
  await soon(() => has(id(1), "First"));
  await publish([call("zz-one")]);
  await soon(async () => (await alerts(id(1)))[0]?.count === 1);
  put("one.yml", rule("First, better", "zz-one", id(1)));
  put("two.yml", rule("Second", "zz-two", id(2)));
  await soon(() => has(id(1), "First, better"));
  await publish([call("zz-one"), call("zz-two")]);
  await soon(async () => (await alerts(id(1)))[0]?.count === 2 && (await alerts(id(2))).length === 1);
  expect(await alerts(id(1))).toHaveLength(1);
  put("two.yml", "title: [broken\n");
  await soon(async () => (await listed()).troubles.some(({ file }) => file.endsWith("two.yml")));
  expect(await has(id(2), "Second")).toBe(true);
  const doctor = (await site.api("GET", "/v1/doctor")).json as { findings: { what: string }[] };
  expect(doctor.findings.map(({ what }) => what).join("\n")).toMatch(/cannot be used: .*two\.yml:\d+: /);
  await publish([call("zz-two")]);
  await soon(async () => (await alerts(id(2)))[0]?.count === 2);
  const one = (await listed()).rules.find((row) => row.id === id(1));
  expect(one).toMatchObject({ source: "site", matches: { day: 2, week: 2 }, alertCount: { day: 1, week: 1 } });
  put("two.yml", rule("Second", "zz-other", id(2)));
  await soon(async () => (await listed()).troubles.length === 0);
}, 90_000);

test("a rule that only devices have is named as its pack says, and alerts once however often its event comes", async () => {
  const { rules } = parseRules([{ file: "p.yml", text: rule("Only on devices", "zz-pack", id(3)) }]);
  const payload = packRules({ rules: rules.map(pack), disable: [], samples: [] });
  const put = await site.api("PUT", "/v1/packs", { jws: await signPack(keyring, { site: SITE, kind: "rules", payload }) });
  expect(put).toMatchObject({ status: 200 });
  const events = [
    call("nothing", { hits: [{ rule: id(3), version: "2026-11-22" }] }),
    call("nothing", { hits: [{ rule: "0000-unknown", version: "1" }] }),
  ];
  await publish(events);
  await soon(async () => (await alerts("0000-unknown")).length === 1);
  // The device heard no PUBACK, as after an outage: the same again.
  await publish(events);
  await publish([call("zz-one")]);
  await soon(async () => (await alerts(id(1)))[0]?.count === 3);
  expect(await alerts(id(3))).toMatchObject([{ count: 1, severity: "high", rule: { title: "Only on devices" } }]);
  expect((await alerts("0000-unknown"))[0]?.rule.title).toBe("0000-unknown");
  expect((await listed()).rules.find((row) => row.id === id(3))).toMatchObject({
    source: "pack",
    packs: [{ dev: "*", version: 1, is: "carries" }],
  });
}, 60_000);

test("a rule that matches everything is left out after a while, counted, and named by doctor", async () => {
  put("all.yml", rule("Everything", "zz-noise", id(4)));
  await soon(() => has(id(4), "Everything"));
  for (let round = 0; round < 8; round++)
    await publish(Array.from({ length: 50 }, (_, at) => call("zz-noise", {}, `/usr/bin/tool${at % 25}`)));
  await soon(async () => (await listed()).rules.some((row) => row.id === id(4) && (row.matches.day ?? 0) === 400));
  const row = (await listed()).rules.find((one) => one.id === id(4))!;
  expect(row.noisy).toMatchObject({ devices: [{ device: "gw-014", muted: row.noisy!.muted }] });
  const made = await alerts(id(4));
  // Every match is in an alert of the rule, or was left out and is counted.
  expect(made.reduce((sum, { count }) => sum + count, 0) + row.noisy!.muted).toBe(400);
  expect(await alerts("picket-noisy-rule")).toMatchObject([
    { severity: "medium", summary: expect.stringContaining('"Everything" matched') },
  ]);
  const doctor = (await site.api("GET", "/v1/doctor")).json as { findings: { what: string }[] };
  expect(doctor.findings.map(({ what }) => what).join("\n")).toContain('The rule "Everything" matches nearly everything on gw-014');
}, 60_000);

test("kill -9 around changes of rules: what a rule that stays says is said exactly once", async () => {
  await detector[Symbol.asyncDispose]();
  put("stays.yml", rule("Stays", "zz-stays", id(5)));
  put("moves.yml", rule("Moves", "zz-moves", id(6)));
  const argv = [
    "bun",
    new URL("testing/child.ts", import.meta.url).pathname,
    site.dir,
    String(site.broker.mqttPort),
    join(folder, "rules"),
  ];
  let sent = 0;
  for (let round = 0; round < 4; round++) {
    const child = Bun.spawn(argv, { stdout: "pipe", stderr: "pipe" });
    await child.stdout.getReader().read();
    put("moves.yml", rule(`Moves ${round}`, "zz-moves", id(6)));
    const changed = told(child.stderr, "the rules have changed");
    for (let at = 0; at < 5; at++, sent++) await publish([call("zz-stays"), call("zz-moves")]);
    if (round % 2 === 0) await changed;
    for (let at = 0; at < 5; at++, sent++) await publish([call("zz-stays"), call("zz-moves")]);
    child.kill("SIGKILL");
    await child.exited;
  }
  const config = DetectorConfig.parse({
    ...{ dir: site.dir, host: "localhost", port: site.broker.mqttPort, rules: [join(folder, "rules")], scan: false },
    models: { cmdline: false, behaviour: false },
  });
  detector = await startDetector(await detectorOptions(config, () => {}));
  await detector.ready;
  const counted = async (of: string) => (await alerts(of)).reduce((sum, { count }) => sum + count, 0);
  await soon(async () => (await counted(id(5))) === sent && (await counted(id(6))) === sent);
  expect(await alerts(id(5))).toHaveLength(1);
  expect(await alerts(id(6))).toHaveLength(1);
}, 120_000);

/** Resolves when the text was written, or there is nothing more to come. */
async function told(stream: ReadableStream<Uint8Array>, text: string): Promise<void> {
  let seen = "";
  for await (const chunk of stream) {
    seen += Buffer.from(chunk).toString();
    if (seen.includes(text)) return;
  }
}
