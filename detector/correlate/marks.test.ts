import { Seen } from "@picket/protocol/feed";
import { expect, test } from "vitest";
import { readSeen, saveSeen } from "../../broker/store/detector.ts";
import { openStore } from "../../broker/store/schema.ts";
import { MAX_MARKS, Marks } from "./marks.ts";

const at = (receivedMs: number) => ({ receivedMs, eventId: "gw-1:abcdefgh:1", who: "curl wrote it" });

test("what is made is found as long as it counts, by whoever was given it back", () => {
  const marks = new Marks();
  marks.make("gw-1", "fetched", "/tmp/x", at(5_000_999));
  const again = new Marks();
  for (const row of marks.take()) again.seed(Seen.parse(row));
  for (const of of [marks, again]) {
    expect(of.find("gw-1", "fetched", "/tmp/x", 5_001_000)).toEqual({
      name: "fetched",
      atS: 5000,
      eventId: "gw-1:abcdefgh:1",
      who: "curl wrote it",
    });
    expect(of.find("gw-1", "fetched", "/tmp/x", 5_000_000 + 86_400_000)).toBeDefined();
    expect(of.find("gw-1", "fetched", "/tmp/x", 5_001_000 + 86_400_000)).toBeUndefined();
    expect(of.find("gw-1", "fetched", "/tmp/x", 4_000_000)).toBeUndefined();
    expect(of.find("gw-1", "fetched", "/tmp/y", 5_001_000)).toBeUndefined();
    expect(of.find("gw-2", "fetched", "/tmp/x", 5_001_000)).toBeUndefined();
  }
  expect(marks.take()).toEqual([]);
});

test("the first counts, until it is too old", () => {
  const marks = new Marks();
  const rows = [1_000_000, 2_000_000, 90_000_000].flatMap((receivedMs) => {
    marks.make("gw-1", "impaired", "", at(receivedMs));
    return marks.take();
  });
  expect(rows.map(({ count }) => count)).toEqual([1000, 90_000]);
});

const made = (marks: Marks, count: number, from = 1_000_000) => {
  for (let n = 0; n < count; n++) marks.make("gw-1", "fetched", `/tmp/${n}`, at(from + n * 100));
};

test("a device that makes up names is remembered a bounded number of times, the latest ones, and lets others be", () => {
  const marks = new Marks();
  made(marks, 1000);
  marks.make("gw-2", "fetched", "/tmp/x", at(1_000_000));
  expect(marks.pending).toBe(MAX_MARKS + 1);
  // Who fills it beforehand hides nothing that comes after.
  marks.make("gw-1", "fetched", "/tmp/payload", at(1_100_000));
  expect(marks.find("gw-1", "fetched", "/tmp/payload", 1_100_000)).toBeDefined();
  expect(marks.find("gw-1", "fetched", "/tmp/0", 1_100_000)).toBeUndefined();
  expect(marks.take()).toHaveLength(MAX_MARKS + 1);
});

test("the broker keeps what the detector remembers, whichever of one second go", () => {
  using store = openStore(":memory:");
  const marks = new Marks();
  let touched = 0;
  for (let round = 0; round < 20; round++) {
    // Many of one second, and the same again after a day.
    made(marks, 50 + round * 7, 1_000_000 + Math.floor(round / 5) * 90_000_000 + round * 1000);
    store.commitNow(() => saveSeen(store, marks.take(), ++touched));
    const kept = readSeen(store, undefined, 10_000);
    expect(kept.length).toBeLessThanOrEqual(MAX_MARKS);
    const again = new Marks();
    for (const row of kept) again.seed(row);
    const nowMs = 1_060_000 + Math.floor(round / 5) * 90_000_000;
    const found = (of: Marks) => Array.from({ length: 200 }, (_, n) => of.find("gw-1", "fetched", `/tmp/${n}`, nowMs)?.atS);
    expect(found(again)).toEqual(found(marks));
  }
});

test.each(["a".repeat(4096), "\n".repeat(300), '"\\'.repeat(200), "\uD800x", "ü".repeat(390)])(
  "whatever a path holds, it fits and is found",
  (path) => {
    const marks = new Marks();
    marks.make("gw-1", "fetched", path, { receivedMs: 1_000_000, eventId: "e".repeat(160), who: '\u0000"'.repeat(4000) });
    const again = new Marks();
    for (const row of marks.take()) again.seed(Seen.parse(JSON.parse(JSON.stringify(row))));
    expect(again.find("gw-1", "fetched", path, 1_000_000)).toBeDefined();
  },
);

test("rows that are none are left out", () => {
  const marks = new Marks();
  for (const key of ["", "{}", "[1,2,3,4]", '["nothing","","",""]', '["fetched",""]'])
    expect(marks.seed({ device: "gw-1", kind: "mark", key, count: 1 })).toBe(true);
  expect(marks.seed({ device: "gw-1", kind: "pair", key: "a\nb", count: 1 })).toBe(false);
});
