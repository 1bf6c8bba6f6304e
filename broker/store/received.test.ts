import { seeded } from "@picket/protocol/seeded";
import { expect, test } from "vitest";
import { coverage, forgetEpochs, markReceived, type Run, reportEpochs, unknownRuns } from "./received.ts";
import { openStore } from "./schema.ts";

const device = "gw-1";
const boot = "11111111-2222-4333-8444-555555555555";
const at = { device, epoch: "epoch000", boot };

test("intervals agree with a plain set of numbers, whatever arrives in whatever order", () => {
  for (let seed = 1; seed <= 40; seed++) {
    using store = openStore(":memory:");
    const next = seeded(seed);
    const model = new Set<number>();
    for (let step = 0; step < 60; step++) {
      const runs: Run[] = [];
      let start = Math.floor(next() * 60);
      for (let n = 0; n <= next() * 3; n++) {
        const count = 1 + Math.floor(next() * 12);
        runs.push([start, count]);
        start += count + 1 + Math.floor(next() * 10);
      }
      const all = runs.flatMap(([first, count]) => Array.from({ length: count }, (_, i) => first + i));
      const unknown = unknownRuns(store, device, at.epoch, runs);
      expect(unknown.flatMap(([first, count]) => Array.from({ length: count }, (_, i) => first + i))).toEqual(
        all.filter((seq) => !model.has(seq)),
      );
      markReceived(store, { ...at, runs: unknown, oldest: 0, nowMs: 0 });
      for (const seq of all) model.add(seq);
    }
    const rows = store.db.query<{ first: number; next: number }, []>("SELECT first, next FROM received ORDER BY first").all();
    expect(rows.flatMap(({ first, next: end }) => Array.from({ length: end - first }, (_, i) => first + i))).toEqual(
      [...model].sort((a, b) => a - b),
    );
    // Neighbours are merged: a device that sends in order needs one row.
    for (const [index, row] of rows.entries()) if (index > 0) expect(row.first).toBeGreaterThan(rows[index - 1]!.next);
    expect(coverage(store, device).stored).toBe(model.size);
    expect(store.db.query("SELECT intervals FROM epochs").get()).toEqual({ intervals: rows.length });
  }
});

const none = { kernel: 0, shed: 0, buffer: 0 };

test("a hole above what the device still holds is not judged: it may yet come", () => {
  using store = openStore(":memory:");
  markReceived(store, { ...at, runs: [[50, 10]], oldest: 0, nowMs: 0 });
  expect(reportEpochs(store, { ...at, lost: none, held: [["epoch000", 0, 60]], nowMs: 1 })).toEqual({
    stored: 10,
    lost: 0,
    ratio: 1,
    unexplained: 0,
    atMost: 0,
  });
});

test("a hole below what the device still holds is loss", () => {
  using store = openStore(":memory:");
  markReceived(store, { ...at, runs: [[0, 10]], oldest: 0, nowMs: 0 });
  markReceived(store, { ...at, runs: [[30, 10]], oldest: 30, nowMs: 0 });
  expect(reportEpochs(store, { ...at, lost: none, held: [["epoch000", 40, 40]], nowMs: 1 })).toEqual({
    stored: 20,
    lost: 20,
    ratio: 0.5,
    unexplained: 20,
    atMost: 0,
  });
});

test("evictions the device reported explain holes and count once; kernel drops have no number and count besides", () => {
  using store = openStore(":memory:");
  markReceived(store, { ...at, runs: [[0, 10]], oldest: 0, nowMs: 0 });
  const covered = reportEpochs(store, { ...at, lost: { kernel: 5, shed: 3, buffer: 20 }, held: [["epoch000", 30, 90]], nowMs: 1 });
  expect(covered).toMatchObject({ stored: 10, lost: 28, unexplained: 0 });
});

test("evictions of an earlier run explain the holes of its epoch, and are not counted in this run's too", () => {
  using store = openStore(":memory:");
  markReceived(store, { ...at, runs: [[0, 10]], oldest: 0, nowMs: 0 });
  const held = [
    ["epoch000", 30, 90],
    ["epoch111", 0, 0],
  ] as const;
  const report = { ...at, epoch: "epoch111", lost: { kernel: 0, shed: 0, buffer: 20 }, held, nowMs: 1 };
  expect(reportEpochs(store, { ...report, bufferLost: { epochs: [["epoch000", 20, 0]] } })).toMatchObject({ lost: 20, unexplained: 0 });
});

test("after a loss of power the holes up to where the device may have counted are lost at most, and explained", () => {
  using store = openStore(":memory:");
  // Stored 0-9 and 12-19; on the device's disk 20-24; it may have counted to 280, and vouches for nothing but what it holds from 10 on.
  markReceived(store, {
    ...at,
    runs: [
      [0, 10],
      [12, 8],
    ],
    oldest: 0,
    nowMs: 0,
  });
  markReceived(store, { ...at, runs: [[20, 5]], oldest: 20, nowMs: 0 });
  const held = [
    ["epoch000", 280, 280],
    ["epoch111", 0, 0],
  ] as const;
  const report = { ...at, epoch: "epoch111", lost: none, held, nowMs: 1 };
  const covered = reportEpochs(store, { ...report, bufferLost: { epochs: [["epoch000", 0, 265]] } });
  expect(covered).toMatchObject({ stored: 23, lost: 257, unexplained: 0, atMost: 257 });
});

test("an older epoch that left the device's buffer is complete: what is missing of it is lost", () => {
  using store = openStore(":memory:");
  markReceived(store, { ...at, runs: [[0, 10]], oldest: 0, nowMs: 0 });
  reportEpochs(store, {
    ...at,
    epoch: "epoch111",
    lost: none,
    held: [
      ["epoch000", 10, 25],
      ["epoch111", 0, 5],
    ],
    nowMs: 1,
  });
  expect(coverage(store, device).lost).toBe(0);
  expect(reportEpochs(store, { ...at, epoch: "epoch111", lost: none, held: [["epoch111", 0, 5]], nowMs: 2 })).toMatchObject({ lost: 15 });
});

test("a heartbeat that repeats or goes back changes nothing", () => {
  using store = openStore(":memory:");
  const report = { ...at, lost: { kernel: 5, shed: 0, buffer: 0 }, held: [["epoch000", 10, 20]] as const, nowMs: 1 };
  const first = reportEpochs(store, report);
  expect(reportEpochs(store, report)).toEqual(first);
  expect(reportEpochs(store, { ...report, lost: none, held: [["epoch000", 3, 20]] })).toEqual(first);
});

test("a device that invents epochs is held to a number of them, and its sums stay", () => {
  using store = openStore(":memory:");
  for (let n = 0; n < 700; n++)
    markReceived(store, { ...at, epoch: `e${String(n).padStart(7, "0")}`, runs: [[0, 2]], oldest: 0, nowMs: n });
  markReceived(store, { ...at, device: "gw-2", runs: [[0, 2]], oldest: 0, nowMs: 0 });
  expect(store.db.query("SELECT COUNT(*) AS n FROM epochs WHERE device = 'gw-1'").get()).toEqual({ n: 512 });
  expect(store.db.query("SELECT COUNT(*) AS n FROM received WHERE device = 'gw-1'").get()).toEqual({ n: 512 });
  expect(coverage(store, device)).toMatchObject({ stored: 1400, lost: 0 });
  expect(coverage(store, "gw-2").stored).toBe(2);
});

test("epochs nothing was heard of for long are forgotten with their intervals", () => {
  using store = openStore(":memory:");
  markReceived(store, { ...at, runs: [[0, 10]], oldest: 0, nowMs: 100 });
  markReceived(store, { ...at, epoch: "epoch111", runs: [[0, 10]], oldest: 0, nowMs: 300 });
  const before = coverage(store, device);
  expect(forgetEpochs(store, 200)).toBe(1);
  expect(coverage(store, device)).toEqual(before);
  expect(unknownRuns(store, device, "epoch000", [[0, 10]])).toEqual([[0, 10]]);
  expect(unknownRuns(store, device, "epoch111", [[0, 10]])).toEqual([]);
});
