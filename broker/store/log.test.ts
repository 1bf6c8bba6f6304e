import { expect, test } from "vitest";
import type { Store } from "./database.ts";
import {
  appendBatch,
  batchesWith,
  logLetGo,
  logTotals,
  nextOffset,
  offsetSince,
  ROW_BYTES,
  readBatches,
  readBatchesOf,
  receivedAt,
  trimLog,
} from "./log.ts";
import { openStore } from "./schema.ts";

const put = (store: Store, of: { device?: string; firstSeq?: number; receivedMs: number; bytes?: number }) =>
  appendBatch(store, {
    device: of.device ?? "gw-1",
    epoch: "epoch000",
    firstSeq: of.firstSeq ?? 0,
    nextSeq: (of.firstSeq ?? 0) + 10,
    receivedMs: of.receivedMs,
    count: 10,
    batch: Buffer.alloc(of.bytes ?? 100),
  });

test("offsets rise without holes and are never used again, not even when everything was removed", () => {
  using store = openStore(":memory:");
  expect(nextOffset(store)).toBe(1);
  expect([put(store, { receivedMs: 1 }), put(store, { receivedMs: 2 })]).toEqual([1, 2]);
  trimLog(store, { beforeMs: 10, keepBytes: 1e9, limit: 100, unreadFrom: 3 });
  expect(logTotals(store)).toEqual({ batches: 0, events: 0, bytes: 0, nextOffset: 3 });
  expect(put(store, { receivedMs: 3 })).toBe(3);
});

test("batches are found by offset, device, time and the number of an event", () => {
  using store = openStore(":memory:");
  put(store, { receivedMs: 100 });
  put(store, { device: "gw-2", receivedMs: 200 });
  put(store, { receivedMs: 300, firstSeq: 10 });
  expect(readBatches(store, 2, 10).map((row) => row.offset)).toEqual([2, 3]);
  expect(readBatchesOf(store, "gw-1", 0, 10).map((row) => row.offset)).toEqual([1, 3]);
  expect([offsetSince(store, 0), offsetSince(store, 150), offsetSince(store, 301)]).toEqual([1, 2, 4]);
  expect([receivedAt(store, 2), receivedAt(store, 9)]).toEqual([200, undefined]);
  expect(batchesWith(store, { device: "gw-1", epoch: "epoch000", seq: 12 }).map((row) => row.offset)).toEqual([3]);
  expect(batchesWith(store, { device: "gw-2", epoch: "epoch000", seq: 12 })).toEqual([]);
});

test("retention by age and by size takes the oldest, a bounded number at once, and counts what the detector had not read", () => {
  using store = openStore(":memory:");
  for (let n = 1; n <= 10; n++) put(store, { receivedMs: n });
  const trim = (of: { beforeMs: number; keepBytes: number; limit: number }) =>
    store.commitNow(() => trimLog(store, { ...of, unreadFrom: 5 })).batches;
  expect(trim({ beforeMs: 4, keepBytes: 1e9, limit: 2 })).toBe(2);
  expect(trim({ beforeMs: 4, keepBytes: 1e9, limit: 2 })).toBe(1);
  expect(logLetGo(store)).toEqual({ events: 30, unread: 0 });
  expect(trim({ beforeMs: 0, keepBytes: 4 * (100 + ROW_BYTES), limit: 100 })).toBe(3);
  expect(readBatches(store, 0, 10).map((row) => row.offset)).toEqual([7, 8, 9, 10]);
  expect(logTotals(store)).toMatchObject({ batches: 4, events: 40, bytes: 400 });
  expect(logLetGo(store)).toEqual({ events: 60, unread: 20 });
});
