// Exceptions against the real broker: real certificates, TLS, SQLite, REST, and kill -9 of the detector around every change.
import { join } from "node:path";
import { decodeBatch, encodeBatch } from "@picket/protocol/batch";
import type { Exception } from "@picket/protocol/exception";
import { seeded } from "@picket/protocol/seeded";
import { expect, test } from "vitest";
import { listAlerts } from "../broker/store/alerts.ts";
import { detectorState } from "../broker/store/detector.ts";
import { heldSince } from "../broker/store/exceptions.ts";
import { listLanes } from "../broker/store/lanes.ts";
import { nextOffset, readBatches } from "../broker/store/log.ts";
import { openStore } from "../broker/store/schema.ts";
import { connect, enrol, mine, type TestSite, testSite, until } from "../broker/testing/site.ts";
import { BOOT, child, exec, proc } from "./testing/events.ts";

const RULE = "local-rule";
const parent = proc(9, "/usr/sbin/cron");
/** A program of its own each: what is not excepted is an alert of its own. */
const run = (seq: number, name: string) =>
  encodeBatch({
    boot: BOOT,
    oldest: seq,
    events: [exec(seq, child(100 + seq, name, parent), { seq, hits: [{ rule: RULE, version: "1" }] })],
  });

const read = <T>(site: TestSite, look: (store: ReturnType<typeof openStore>) => T): T => {
  using store = openStore(join(site.dir, "site.db"));
  return look(store);
};
/** Also where the device is read on the side, as it may be on a busy machine. */
const caughtUp = (site: TestSite) =>
  until(
    () =>
      read(site, (store) => {
        const end = nextOffset(store);
        return detectorState(store).cursor === end && listLanes(store).every((lane) => lane.cursor >= (lane.end ?? end));
      }),
    "the cursors at the log's end",
  );
const alertsOf = (site: TestSite, rule: string) =>
  read(site, (store) => listAlerts(store, { limit: 1000 })).filter((alert) => alert.rule.id === rule);
const start = async (site: TestSite) => {
  const argv = ["bun", new URL("testing/child.ts", import.meta.url).pathname, site.dir, String(site.broker.mqttPort)];
  const detector = Bun.spawn(argv, { stdout: "pipe", stderr: "ignore" });
  await detector.stdout.getReader().read();
  return Object.assign(detector, { [Symbol.dispose]: () => detector.kill("SIGKILL") });
};
const add = async (site: TestSite, body: object): Promise<Exception> => {
  const { status, json } = await site.api("POST", "/v1/exceptions", { rule: RULE, reason: "nightly backup", ...body });
  expect(status, JSON.stringify(json)).toBe(200);
  return (json as { exception: Exception }).exception;
};

test("made from an alert: it holds at once, is counted, closes the alert, is told as an alert, and ends when it is removed", async () => {
  await using site = await testSite();
  const device = await enrol(site, "gw-1");
  const client = await connect(site, device);
  const publish = (seq: number, name: string) => client.publishAsync(mine(device, "events"), Buffer.from(run(seq, name)), { qos: 1 });
  using _detector = await start(site);
  await publish(0, "/usr/bin/tar");
  await until(() => alertsOf(site, RULE).length === 1, "the first alert");
  const [alert] = alertsOf(site, RULE);
  const made = await add(site, { where: { Image: ["/usr/bin/tar"] }, devices: ["gw-1"], alert: alert!.id });
  expect(made).toMatchObject({ state: "holds", used: 0, operator: "operator", devices: ["gw-1"] });
  for (const seq of [1, 2, 3]) await publish(seq, "/usr/bin/tar");
  await publish(4, "/usr/bin/other");
  await caughtUp(site);
  const alerts = alertsOf(site, RULE);
  expect(alerts.map(({ process, count }) => [process?.exe, count]).sort()).toEqual([
    ["/usr/bin/other", 1],
    ["/usr/bin/tar", 1],
  ]);
  expect(alerts.find(({ id }) => id === alert!.id)).toMatchObject({
    ...{ status: "closed", verdict: "false_positive" },
    history: [
      { what: "excepted", detail: String(made.id) },
      { what: "closed", verdict: "false_positive", operator: "operator" },
    ],
  });
  const shown = (await site.api("GET", `/v1/exceptions/${made.id}`)).json;
  expect(shown).toMatchObject({ exception: { used: 3, alert: alert!.id } });
  expect(alertsOf(site, "picket-broker-exception")).toMatchObject([
    { severity: "low", summary: expect.stringContaining("operator excepted rule local-rule on gw-1 where Image /usr/bin/tar until ") },
  ]);
  expect((await site.api("POST", `/v1/exceptions/${made.id}/remove`, {})).json).toMatchObject({
    exception: { state: "removed", endedBy: "operator" },
  });
  await publish(5, "/usr/bin/tar");
  const seen = () =>
    alertsOf(site, RULE)
      .filter(({ process }) => process?.exe === "/usr/bin/tar")
      .reduce((sum, { count }) => sum + count, 0);
  await until(() => seen() === 2, "it alerts again");
  expect((await site.api("GET", "/v1/exceptions")).json).toMatchObject({ exceptions: [{ id: made.id, state: "removed", used: 3 }] });
  await client.endAsync(true);
}, 60_000);

test("kill -9 of the detector around changes: what is hidden is what was excepted when it was received, and each is counted once", async () => {
  await using site = await testSite();
  const device = await enrol(site, "gw-1");
  const client = await connect(site, device);
  const random = seeded(6);
  const held: number[] = [];
  let seq = 0;
  for (let round = 0; round < 5; round++) {
    const detector = await start(site);
    const killAt = 2 + Math.floor(random() * 20);
    for (let at = 0; at < 24; at++) {
      if (at === killAt) detector.kill("SIGKILL");
      if (at % 6 === 3) {
        const id = held.pop();
        if (id !== undefined && random() < 0.6) await site.api("POST", `/v1/exceptions/${id}/remove`, {});
        else held.push((await add(site, { where: { "Image|startswith": [`/usr/bin/${seq % 2 === 0 ? "even" : "odd"}`] } })).id);
      }
      const name = `/usr/bin/${seq % 2 === 0 ? "even" : "odd"}-${seq}`;
      await client.publishAsync(mine(device, "events"), Buffer.from(run(seq++, name)), { qos: 1 });
    }
    detector.kill("SIGKILL");
    await detector.exited;
  }
  using _last = await start(site);
  await caughtUp(site);
  expect(read(site, (store) => detectorState(store).refused)).toBe(0);
  const expected: string[] = [];
  let hidden = 0;
  const exceptions = read(site, (store) => heldSince(store, { version: 0, offset: 0, receivedMs: 0 }));
  for (const { offset, batch } of read(site, (store) => readBatches(store, 0, 1e6)))
    for (const event of decodeBatch(batch).events) {
      const exe = event.type === "process.exec" ? event.body.process.exe : "";
      const isHidden = exceptions.some(
        ({ from, end, where }) => offset >= from && (end === null || offset < end) && exe.startsWith(where["Image|startswith"]![0]!),
      );
      if (isHidden) hidden++;
      else expected.push(`${exe} x1`);
    }
  expect(hidden).toBeGreaterThan(10);
  expect(expected.length).toBeGreaterThan(10);
  expect(
    alertsOf(site, RULE)
      .map(({ process, count }) => `${process?.exe} x${count}`)
      .sort(),
  ).toEqual(expected.sort());
  const { exceptions: told } = (await site.api("GET", "/v1/exceptions?all=true")).json as { exceptions: Exception[] };
  expect(told.reduce((sum, { used }) => sum + used, 0)).toBe(hidden);
  await client.endAsync(true);
}, 90_000);

test("what the site refuses", async () => {
  await using site = await testSite();
  const put = async (body: object) =>
    (await site.api("POST", "/v1/exceptions", { rule: RULE, reason: "r", where: { Image: ["/usr/bin/tar"] }, ...body })).status;
  expect(await put({ devices: ["nosuch"] })).toBe(404);
  expect(await put({ alert: "6f2b4c1e-0000-4000-8000-000000000000" })).toBe(404);
  expect(await put({ rule: "picket-broker-loss" })).toBe(400);
  expect(await put({ where: { "CommandLine|re": ["(a+)+$"] } })).toBe(400);
  expect(await put({ where: { length: { toString: 1 } } })).toBe(400);
  expect(await put({ ttlS: 1e9 })).toBe(400);
  expect(await put({ more: true })).toBe(400);
  expect((await site.api("POST", "/v1/exceptions/7/remove", {})).status).toBe(404);
  expect((await site.api("GET", "/v1/exceptions/x")).status).toBe(400);
  for (let at = 0; at < 200; at++) expect(await put({})).toBe(200);
  expect(await put({})).toBe(409);
  expect(alertsOf(site, "picket-broker-exception")).toHaveLength(200);
}, 60_000);
