import { expect, test } from "vitest";
import { Abandoned, type Lane, Quotas } from "./quotas.ts";

const limits = { messagesPerS: 10, bytesPerS: 1 << 20, eventsPerS: 1000, connectionsPerMinute: 6 };
const BURST_MESSAGES = 2000;

/** Quotas on a clock that moves only when told. */
function setup(changes: Partial<typeof limits> = {}) {
  const clock = { nowMs: 0 };
  const alarms = new Set<{ atMs: number; wake: () => void }>();
  const quotas = new Quotas({
    limits: { ...limits, ...changes },
    nowMs: () => clock.nowMs,
    later: (ms, wake) => {
      const alarm = { atMs: clock.nowMs + ms, wake };
      alarms.add(alarm);
      return { [Symbol.dispose]: () => void alarms.delete(alarm) };
    },
  });
  const order: string[] = [];
  const link = {};
  const send = (device: string, of: { link?: object; lane?: Lane; bytes?: number } = {}): Promise<void> => {
    const passed = quotas.pass({ link: of.link ?? link, device, lane: of.lane ?? "events", bytes: of.bytes ?? 100 });
    if (passed) return passed.then(() => void order.push(device));
    order.push(device);
    return Promise.resolve();
  };
  /** Lets turns of the event loop go by until nothing moves. */
  const settle = async () => {
    for (let before = -1; before !== order.length; ) {
      before = order.length;
      for (let n = 0; n < 3; n++) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const advance = async (ms: number) => {
    clock.nowMs += ms;
    for (const alarm of [...alarms]) {
      if (alarm.atMs > clock.nowMs) continue;
      alarms.delete(alarm);
      alarm.wake();
    }
    await settle();
  };
  return { quotas, order, link, send, settle, advance, clock };
}

const count = (order: readonly string[], device: string) => order.filter((one) => one === device).length;

test("a device within its quota does not wait", () => {
  const { quotas, link } = setup();
  for (let n = 0; n < 100; n++) expect(quotas.pass({ link, device: "gw-1", lane: "events", bytes: 6000 })).toBeUndefined();
  expect(quotas.throttled()).toEqual([]);
});

test("of a device that floods a burst is taken, then its rate; nothing is lost, only held", async () => {
  const { send, order, settle, advance, quotas } = setup();
  for (let n = 0; n < 3000; n++) void send("gw-1");
  await settle();
  expect(order.length).toBe(BURST_MESSAGES);
  for (let s = 1; s <= 10; s++) await advance(1000);
  expect(order.length).toBeGreaterThanOrEqual(BURST_MESSAGES + 95);
  expect(order.length).toBeLessThanOrEqual(BURST_MESSAGES + 105);
  expect(quotas.throttled()).toMatchObject([{ device: "gw-1", forMs: 10_000 }]);
  for (let s = 1; s <= 100; s++) await advance(1000);
  expect(order.length).toBe(3000);
  expect(quotas.throttled()).toEqual([]);
  expect(quotas.counts("gw-1").delayed).toBeGreaterThan(900);
});

test("one that floods over several connections delays each of 499 others by one message, whatever waits", async () => {
  const { send, order, settle } = setup();
  for (let n = 0; n < 1500; n++) void send("hostile", { link: { n: n % 8 } });
  const others = Array.from({ length: 499 }, (_, n) => `gw-${n}`);
  for (const device of others) void send(device);
  await settle();
  // Every other device had its turn before the flood went on: at most one of the flood's messages came between two of theirs.
  const last = Math.max(...others.map((device) => order.indexOf(device)));
  const early = order.slice(0, last + 1);
  expect(count(early, "hostile")).toBeLessThanOrEqual(128 + Math.ceil(499 / 128) + 1);
  expect(order).toHaveLength(1999);
});

test("a device over its quota costs others nothing at all", async () => {
  const { send, order, settle } = setup();
  for (let n = 0; n < 5000; n++) void send("hostile");
  await settle();
  order.length = 0;
  for (let round = 0; round < 20; round++) {
    for (let n = 0; n < 50; n++) void send(`gw-${n}`);
    await settle();
  }
  expect(order).toHaveLength(1000);
  expect(count(order, "hostile")).toBe(0);
});

test("events, bytes, heartbeats and results have quotas of their own", async () => {
  const { send, order, settle, quotas, advance } = setup();
  quotas.spend("gw-events", { events: 601_000 });
  void send("gw-events");
  await settle();
  expect(order).toEqual([]);
  // What is no event does not wait for events.
  await send("gw-events-2", { lane: "status" });
  await advance(1100);
  expect(order).toEqual(["gw-events-2", "gw-events"]);
  order.length = 0;
  for (let n = 0; n < 100; n++) void send("gw-status", { lane: "status" });
  for (let n = 0; n < 300; n++) void send("gw-result", { lane: "result" });
  for (let n = 0; n < 80; n++) void send("gw-bytes", { bytes: 1 << 20 });
  await settle();
  expect([count(order, "gw-status"), count(order, "gw-result"), count(order, "gw-bytes")]).toEqual([60, 200, 64]);
  await advance(1000);
  expect([count(order, "gw-status"), count(order, "gw-result"), count(order, "gw-bytes")]).toEqual([61, 205, 65]);
});

test("what cannot be read costs twenty messages", async () => {
  const { send, order, settle, quotas, advance } = setup();
  for (let n = 0; n < 100; n++) quotas.rejected("gw-1");
  void send("gw-1");
  void send("gw-2");
  await settle();
  expect(order).toEqual(["gw-2"]);
  await advance(1000);
  expect(order).toEqual(["gw-2", "gw-1"]);
  expect(quotas.counts("gw-1")).toEqual({ delayed: 1, refusedConnections: 0, rejected: 100 });
});

test("what a connection sent before it ended is let go, and what others of the device sent is not", async () => {
  const { send, order, settle, quotas, advance } = setup();
  for (let n = 0; n < BURST_MESSAGES; n++) void send("gw-1");
  await settle();
  order.length = 0;
  const [dead, alive] = [{}, {}];
  const lost = send("gw-1", { link: dead });
  void send("gw-1", { link: alive });
  quotas.abandon(dead, "gw-1");
  await expect(lost).rejects.toThrow(Abandoned);
  await advance(1000);
  expect(order).toEqual(["gw-1"]);
});

test("who dials again and again is refused, and told of; another identity is not", () => {
  const { quotas, clock } = setup();
  const hostile = { role: "device", name: "gw-1" };
  const accepted = Array.from({ length: 50 }, () => quotas.mayConnect(hostile)).filter(Boolean).length;
  expect(accepted).toBe(6);
  expect(quotas.mayConnect({ role: "device", name: "gw-2" })).toBe(true);
  expect(quotas.throttled()).toMatchObject([{ device: "gw-1", refusedConnections: 44 }]);
  clock.nowMs += 9000;
  expect(quotas.mayConnect(hostile)).toBe(true);
  expect(quotas.mayConnect(hostile)).toBe(false);
});

test("a device may renew its certificate ten times at once, then once an hour", () => {
  const { quotas, clock } = setup();
  expect(Array.from({ length: 30 }, () => quotas.mayRenew("gw-1")).filter(Boolean)).toHaveLength(10);
  expect(quotas.mayRenew("gw-2")).toBe(true);
  clock.nowMs += 3600_000 - 1;
  expect([quotas.mayRenew("gw-1"), quotas.mayRenew("gw-1")]).toEqual([true, false]);
});

test("when the broker stops nobody waits for ever", async () => {
  const { send, quotas } = setup();
  quotas.spend("gw-1", { messages: 1e6 });
  const waiting = send("gw-1");
  quotas[Symbol.dispose]();
  await expect(waiting).rejects.toThrow(Abandoned);
});
