import { decodeBatch } from "@picket/protocol/batch";
import { eventId, type SensorEvent } from "@picket/protocol/event";
import { expect, test } from "vitest";
import { appendBatch } from "../store/log.ts";
import { openStore } from "../store/schema.ts";
import { events, log } from "../testing/samples.ts";
import { eventsById, type LogPort, MAX_ANSWER_CHARS, queryEvents } from "./events.ts";
import { logPort } from "./testing/site.ts";

function filled(batches: number, each: number): { port: LogPort; reads: () => number } {
  const store = openStore(":memory:");
  for (let at = 0; at < batches; at++) log(store, events({ seq: at * each, count: each, timeMs: at * each * 1000 }), 1_000_000 + at);
  let rows = 0;
  const port = logPort(store);
  const read: LogPort["read"] = (of) => {
    const page = port.read(of);
    rows += page.length;
    return page;
  };
  return { port: { ...port, read }, reads: () => rows };
}

async function all(port: LogPort, query: Parameters<typeof queryEvents>[1]) {
  const seqs: number[] = [];
  for (let after = query.after, calls = 0; ; calls++) {
    const page = await queryEvents(port, { ...query, ...(after === undefined ? {} : { after }) });
    expect(page.events.length).toBeLessThanOrEqual(query.limit);
    seqs.push(...page.events.map((event) => event.seq));
    if (page.events.length === 0 && page.after === after) return { seqs, calls };
    after = page.after;
  }
}

test.each([1, 3, 7, 10, 1000])("following the cursor gives every event once, in order: limit %i", async (limit) => {
  const { port } = filled(9, 7);
  const { seqs } = await all(port, { limit });
  expect(seqs).toEqual(Array.from({ length: 63 }, (_, at) => at));
});

test("a cursor at the end picks up what comes later", async () => {
  const store = openStore(":memory:");
  log(store, events({ seq: 0, count: 3 }), 1);
  const { after } = await queryEvents(logPort(store), { limit: 100 });
  expect(await queryEvents(logPort(store), { limit: 100, after })).toEqual({ events: [], after });
  log(store, events({ seq: 3, count: 2 }), 2);
  expect((await queryEvents(logPort(store), { limit: 100, after })).events.map((event) => event.seq)).toEqual([3, 4]);
});

test("a type, a device and a time narrow it down", async () => {
  const store = openStore(":memory:");
  log(store, events({ seq: 0, count: 4, timeMs: 1_000 }), 5_000);
  log(store, events({ device: "kiosk-2", seq: 0, count: 4, timeMs: 1_000 }), 5_000);
  const port = logPort(store);
  expect((await queryEvents(port, { limit: 9, device: "kiosk-2" })).events.map((event) => event.device)).toEqual(Array(4).fill("kiosk-2"));
  expect((await queryEvents(port, { limit: 9, device: "kiosk-2", type: "log.line" })).events.map((event) => event.seq)).toEqual([1, 3]);
  expect((await queryEvents(port, { limit: 9, device: "kiosk-2", sinceMs: 3_000 })).events.map((event) => event.seq)).toEqual([2, 3]);
  expect((await queryEvents(port, { limit: 9, sinceMs: 6_000 })).events).toEqual([]);
});

test("a batch that unfolds into a gigabyte of events is given out in bounded pieces", async () => {
  const argv = Array.from({ length: 32 }, () => "a".repeat(4096));
  const above = { pid: 1, startTicks: 1, exe: "/x", argv };
  const process = { pid: 2, startTicks: 1, ppid: 1, uid: 0, exe: "/x", argv, ancestors: Array.from({ length: 16 }, () => above) };
  const store = openStore(":memory:");
  const forged = Array.from({ length: 100 }, (_, seq): SensorEvent => {
    return { v: 1, device: "gw-1", epoch: "abcdefgh", seq, timeMs: 1, type: "process.exec", body: { process } };
  });
  log(store, forged, 1);
  const port = logPort(store);
  const first = await queryEvents(port, { limit: 1000 });
  expect(JSON.stringify(first.events).length).toBeLessThan(2 * MAX_ANSWER_CHARS);
  expect((await all(port, { limit: 1000 })).seqs).toEqual(forged.map(({ seq }) => seq));
  const evidence = await eventsById(port, forged.map(eventId));
  expect(evidence.length).toBeGreaterThan(0);
  expect(JSON.stringify(evidence).length).toBeLessThan(2 * MAX_ANSWER_CHARS);
});

test("events say when the broker got them", async () => {
  const { port } = filled(1, 1);
  expect((await queryEvents(port, { limit: 1 })).events[0]).toMatchObject({ receivedMs: 1_000_000, seq: 0 });
});

test("a call that finds nothing looks at a bounded number of batches, and the next goes on", async () => {
  const { port, reads } = filled(200, 1);
  const page = await queryEvents(port, { limit: 10, type: "process.exec" });
  expect(page.events).toEqual([]);
  expect(reads()).toBeLessThan(80);
  const { calls } = await all(port, { limit: 10, type: "process.exec" });
  expect(calls).toBeGreaterThan(2);
});

test("a batch that cannot be read hides no other", async () => {
  const store = openStore(":memory:");
  log(store, events({ seq: 0, count: 2 }), 1);
  const bad = { device: "gw-014", epoch: "k3m9x0qa", firstSeq: 2, nextSeq: 3, receivedMs: 2, count: 1, batch: Buffer.from("{}\nnothing") };
  expect(() => decodeBatch(bad.batch)).toThrow();
  appendBatch(store, bad);
  log(store, events({ seq: 3, count: 2 }), 3);
  expect((await all(logPort(store), { limit: 10 })).seqs).toEqual([0, 1, 3, 4]);
  expect((await eventsById(logPort(store), ["gw-014:k3m9x0qa:2", "gw-014:k3m9x0qa:3"])).map((event) => event.seq)).toEqual([3]);
});

test("events are found by id, in the order asked; ids that are none of ours are left out", async () => {
  const { port } = filled(3, 5);
  const ids = ["gw-014:k3m9x0qa:12", "nonsense", "a:b:c:d", "gw-014:k3m9x0qa:-1", "gw-014:k3m9x0qa:99", "gw-014:k3m9x0qa:0"];
  expect((await eventsById(port, ids)).map((event) => event.seq)).toEqual([12, 0]);
});
