import { expect, test } from "vitest";
import type { Store } from "./database.ts";
import { addDeadLetter, countDeadLetters, deadLetterCounts, listDeadLetters, trimDeadLetters } from "./dead-letters.ts";
import { openStore } from "./schema.ts";

const add = (store: Store, device: string, receivedMs: number, reason = "x".repeat(5000)) =>
  store.commitNow(() => addDeadLetter(store, { device, receivedMs, topic: "events", reason, payload: Buffer.alloc(20_000) }));

test("what could not be read is bounded in number and size, and every one is counted", () => {
  using store = openStore(":memory:");
  for (let device = 0; device < 30; device++) for (let n = 0; n < 60; n++) add(store, `gw-${device}`, device * 100 + n);
  expect(countDeadLetters(store)).toBe(1800);
  expect(listDeadLetters(store, 5000)).toHaveLength(1000);
  expect(listDeadLetters(store, 1)[0]).toMatchObject({ device: "gw-29", receivedMs: 2959, bytes: 20_000, reason: "x".repeat(500) });
  expect(store.db.query<{ n: number }, []>("SELECT MAX(length(payload)) AS n FROM dead_letters").get()!.n).toBe(16 << 10);
  expect(deadLetterCounts(store, 1)).toEqual([
    { device: "gw-29", count: 60, lastMs: 2959, lastTopic: "events", lastReason: "x".repeat(500) },
  ]);
});

test("one device that sends nothing else does not displace what another sent", () => {
  using store = openStore(":memory:");
  add(store, "gw-quiet", 1, "once");
  for (let n = 0; n < 2000; n++) add(store, "gw-loud", 2 + n);
  const kept = listDeadLetters(store, 5000);
  expect(kept).toHaveLength(51);
  expect(kept.at(-1)).toMatchObject({ device: "gw-quiet", reason: "once" });
});

test("letters go with age, their counts stay", () => {
  using store = openStore(":memory:");
  add(store, "gw-1", 10);
  add(store, "gw-1", 20);
  expect(trimDeadLetters(store, 15)).toBe(1);
  expect(listDeadLetters(store, 10)).toHaveLength(1);
  expect(countDeadLetters(store)).toBe(2);
});
