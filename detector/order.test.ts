// A hit that overtook what came before it, put back in its place.
import type { SensorEvent } from "@picket/protocol/event";
import { expect, test } from "vitest";
import { Order } from "./order.ts";
import { connects, exec, pipelineOf, proc, T0, testRules } from "./testing/events.ts";
import { packed, TestSite } from "./testing/site.ts";

const BOOT = "11111111-1111-4111-8111-111111111111";
const rules = testRules("medium medium");
const chain = "picket-chain-reverse-shell";

/** A shell connects out and starts another, which a local rule told of. Parents are only known by their number: the tree is all there is. */
function story(): { shell: SensorEvent; connection: SensorEvent; second: SensorEvent } {
  const bash = proc(412, "/bin/bash");
  const sh = proc(413, "/bin/sh", { ppid: 412 });
  return {
    shell: exec(0, bash, { seq: 0 }),
    connection: { ...connects(100, bash), seq: 1 },
    second: exec(200, sh, { seq: 2, hits: [{ rule: "local-shell", version: "1" }] }),
  };
}

async function alertsOf(log: TestSite["log"]): Promise<{ rules: string[]; at: Map<string, number> }> {
  const site = new TestSite();
  site.log.push(...log);
  expect(await site.run(pipelineOf(rules), () => true)).toBe(true);
  const alerts = [...site.alerts.values()];
  return {
    rules: alerts.map(({ detection }) => detection.rule.id).sort(),
    at: new Map(alerts.map((a) => [a.detection.rule.id, a.storedMs])),
  };
}

const later = (offset: number, ms: number, seq = 9) =>
  packed(offset, T0 + ms, BOOT, [exec(ms, proc(1, "/bin/true"), { seq, device: "gw-2" })]);

test("a hit that overtook its parent's start is correlated after it, while its own alert comes at once", async () => {
  const { shell, connection, second } = story();
  const inOrder = await alertsOf([packed(1, T0, BOOT, [shell, connection, second]), later(2, 10)]);
  const overtook = await alertsOf([
    packed(1, T0 + 300, BOOT, [second], [shell, connection]),
    packed(2, T0 + 600, BOOT, [shell, connection]),
    later(3, 700),
  ]);
  expect(inOrder.rules).toContain(chain);
  expect(overtook.rules).toEqual(inOrder.rules);
  expect(overtook.at.get("local-shell")).toBe(T0 + 300);
  expect(overtook.at.get(chain)).toBeGreaterThanOrEqual(T0 + 600);
});

test("what a hit overtook in its own batch goes before it: numbers decide, not batches", async () => {
  const { shell, connection, second } = story();
  const after = exec(300, proc(414, "/bin/true", { ppid: 413 }), { seq: 3 });
  const log = [
    packed(1, T0 + 300, BOOT, [second], [shell, connection, after]),
    packed(2, T0 + 600, BOOT, [shell, connection, after]),
    later(3, 700),
  ];
  expect((await alertsOf(log)).rules).toContain(chain);
});

test("a hole that is not filled within two seconds of the log is passed over", async () => {
  const { shell, connection, second } = story();
  const alone = await alertsOf([packed(1, T0, BOOT, [second], [shell, connection]), later(2, 1900), later(3, 2100, 10)]);
  // Known from its own two hits' worth of score: correlated by itself once the time is over.
  expect(alone.rules).toEqual(["local-shell"]);
  const tooLate = [packed(1, T0, BOOT, [second], [shell, connection]), later(2, 2100), packed(3, T0 + 2200, BOOT, [shell, connection])];
  expect((await alertsOf(tooLate)).rules).toEqual(["local-shell"]);
});

test("killed at any step, before or after the hole is filled: the same alerts", async () => {
  const { shell, connection, second } = story();
  const log = [
    packed(1, T0 + 300, BOOT, [second], [shell, connection]),
    later(2, 400),
    packed(3, T0 + 600, BOOT, [shell, connection]),
    later(4, 700),
  ];
  const whole = new TestSite();
  whole.log.push(...log);
  let steps = 0;
  await whole.run(pipelineOf(rules), () => ++steps > 0);
  expect(steps).toBeGreaterThan(6);
  for (let at = 1; at <= steps; at++) {
    const site = new TestSite();
    site.log.push(...log);
    let left = at;
    await site.run(pipelineOf(rules), () => --left > 0);
    expect(await site.run(pipelineOf(rules), () => true)).toBe(true);
    expect(site.outcome(), `killed at step ${at}`).toEqual(whole.outcome());
  }
});

/** A batch of a device, as it is taken to be put in order. */
function hostile(seqs: readonly number[], of: { device?: string; epoch?: string; oldest?: number; ms?: number } = {}) {
  const { device = "gw-9", epoch = "epoch000", oldest = 0, ms = 0 } = of;
  const receivedMs = T0 + ms;
  const runs = seqs.map((seq): [number, number] => [seq, 1]);
  return {
    header: { v: 1 as const, device, boot: BOOT, epoch, runs, oldest },
    receivedMs,
    silent: false,
    reports: seqs.map((seq) => ({
      event: { ...exec(ms, proc(1, "/bin/true"), { seq }), device, epoch },
      arrival: { id: `${device}:${epoch}:${seq}`, boot: BOOT, receivedMs, silent: false },
      findings: undefined,
    })),
  };
}
const from = (first: number, count: number) => Array.from({ length: count }, (_, at) => first + at);

test("one device cannot use up the room in which others' events wait, with as many epochs as it likes", () => {
  const order = new Order();
  let passed = 0;
  for (let epoch = 0; epoch < 100; epoch++) {
    const steps = order.take(hostile(from(10, 500), { epoch: `e${String(epoch).padStart(7, "0")}` }));
    passed += steps.filter(({ kind }) => kind !== "ahead").length;
  }
  // All but what one device may keep waiting went on, at the latest when its epoch was forgotten.
  expect(passed).toBeGreaterThanOrEqual(100 * 500 - 2000);
  expect(order.take(hostile([5], { device: "gw-1" })).map(({ kind }) => kind)).toEqual(["ahead"]);
  // And nothing is lost: all comes in the end.
  expect(passed + order.rest(T0).length).toBe(100 * 500 + 1);
});

test("numbers that come backwards wait until the first is there, and then go on together", () => {
  const order = new Order();
  for (let seq = 100; seq > 0; seq--) expect(order.take(hostile([seq])).map(({ kind }) => kind)).toEqual(["ahead"]);
  // Kept as they came it took a search for each, and was given up after eight: with thousands the detector stood still.
  expect(order.take(hostile([0])).map(({ kind }) => kind)).toEqual(["whole", ...from(0, 100).map(() => "after")]);
});
