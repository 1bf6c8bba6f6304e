import { expect, test } from "vitest";
import { Durable } from "./durable.ts";

/** A disk that takes its time; `stalls` are the times somebody had to wait for it. */
function slowDisk() {
  const disk = { isOpen: true, stalls: 0, syncs: 0, done: () => {}, sync: async () => {}, syncNow: () => void disk.stalls++ };
  disk.sync = () => {
    disk.syncs++;
    return new Promise<void>((resolve) => {
      disk.done = resolve;
    });
  };
  return disk;
}

test.each([20, 1000, 8000])("at %i events a second nobody waits for a disk that takes a second", async (perS) => {
  const disk = slowDisk();
  let nowMs = 0;
  using durable = new Durable(disk, { monotonicMs: () => nowMs, onSynced: () => {} });
  durable.committed(durable.endFor(0, false));
  durable.syncNow();
  disk.stalls = 0;
  let stallsAtFirst = 0;
  let next = 0;
  let busyUntil = Number.POSITIVE_INFINITY;
  for (; nowMs < 60_000; nowMs += 50) {
    next += perS / 20;
    if (durable.isShort(next) && durable.committed(durable.endFor(next, false))) {
      const before = disk.syncs;
      durable.sync();
      if (disk.syncs > before) busyUntil = nowMs + 1000;
    }
    if (!durable.covers(next)) durable.syncNow();
    // Until the rate is known.
    if (nowMs < 5000) stallsAtFirst = disk.stalls;
    if (nowMs >= busyUntil) {
      busyUntil = Number.POSITIVE_INFINITY;
      const before = disk.syncs;
      disk.done();
      await new Promise((resolve) => setImmediate(resolve));
      if (disk.syncs > before) busyUntil = nowMs + 1000;
    }
  }
  expect(disk.syncs).toBeGreaterThan(3);
  expect(disk.stalls).toBe(stallsAtFirst);
  expect(stallsAtFirst).toBeLessThan(5);
});
