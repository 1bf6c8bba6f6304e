import { encodeBatch } from "@picket/protocol/batch";
import { expect, test } from "vitest";
import { probeWrite } from "../store/database.ts";
import { readBatches } from "../store/log.ts";
import { openStore } from "../store/schema.ts";
import { BOOT, makeBatch, makeEvents } from "../testing/site.ts";
import { Disk, type DiskPorts, DiskRefuses, isDiskError } from "./disk.ts";
import { createIngest } from "./ingest.ts";

const MIB = 1 << 20;
function setup(changes: Partial<DiskPorts> = {}) {
  const space = { freeBytes: 1000 * MIB, reusableBytes: 0 };
  const told: object[] = [];
  const clock = { nowMs: 5000 };
  const disk = new Disk({
    reserveBytes: 100 * MIB,
    space: () => space,
    probe: async () => {},
    nowMs: () => clock.nowMs,
    tell: async (outage) => void told.push(outage),
    report: () => {},
    holdMs: 20_000,
    ...changes,
  });
  return { disk, space, told, clock };
}

test("while there is room nobody waits", async () => {
  const { disk, told } = setup();
  await disk.check();
  expect(disk.room()).toBeUndefined();
  expect(told).toEqual([]);
});

test("below the reserve events wait, it is told once, and they go on when space is back", async () => {
  const { disk, space, told, clock } = setup();
  space.freeBytes = 99 * MIB;
  await disk.check();
  await disk.check();
  const waiting = disk.room();
  expect(disk.outage).toMatchObject({ sinceMs: 5000, why: expect.stringContaining("only 99 MiB are free") });
  expect(told).toHaveLength(1);
  // A little more than the reserve, so that it does not come and go with every batch.
  space.freeBytes = 105 * MIB;
  await disk.check();
  expect(disk.outage).toBeDefined();
  space.freeBytes = 111 * MIB;
  clock.nowMs = 9000;
  await disk.check();
  await waiting;
  expect(disk.room()).toBeUndefined();
  expect(told[1]).toMatchObject({ sinceMs: 5000, untilMs: 9000 });
});

test("space free inside the database counts, but not all of it: the write-ahead log needs the disk", async () => {
  const { disk, space } = setup();
  Object.assign(space, { freeBytes: 30 * MIB, reusableBytes: 90 * MIB });
  await disk.check();
  expect(disk.outage).toBeUndefined();
  space.freeBytes = 20 * MIB;
  await disk.check();
  expect(disk.outage).toBeDefined();
});

test("who waits too long is refused, so that its device hears nothing and keeps the event", async () => {
  const { disk, space } = setup({ holdMs: 20 });
  space.freeBytes = 0;
  await disk.check();
  await expect(disk.room()).rejects.toThrow(DiskRefuses);
});

test("a failed write ends only with one that succeeds, and a disk that cannot be asked is no better", async () => {
  let broken = true;
  const { disk, told } = setup({
    probe: async () => {
      if (broken) throw new Error("SQLITE_IOERR");
    },
  });
  disk.failed(new Error("disk I/O error"));
  await disk.check();
  expect(disk.outage?.why).toContain("disk I/O error");
  broken = false;
  await disk.check();
  await disk.check();
  expect(disk.outage).toBeUndefined();
  expect(told).toHaveLength(2);
  const other = setup({
    space: () => {
      throw new Error("EIO");
    },
  });
  await other.disk.check();
  expect(other.disk.outage?.why).toContain("EIO");
});

test("what could not be told while the disk was full is told afterwards", async () => {
  let full = true;
  const told: object[] = [];
  const { disk, space } = setup({
    tell: async (outage) => {
      if (full) throw new Error("SQLITE_FULL");
      told.push(outage);
    },
  });
  space.freeBytes = 0;
  await disk.check();
  await disk.check();
  full = false;
  space.freeBytes = 1000 * MIB;
  await disk.check();
  expect(told).toMatchObject([{ sinceMs: 5000, untilMs: 5000 }]);
});

/** A batch that fits in no free page. */
const large = () =>
  encodeBatch({
    boot: BOOT,
    oldest: 0,
    events: makeEvents("gw-1", "epoch000", 5, 400).map((event) => ({
      ...event,
      ...{ type: "log.line" as const, body: { source: "test", message: crypto.randomUUID() } },
    })),
  });

test.each([
  ["full", "PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000"],
  ["read-only", "PRAGMA query_only = ON", "PRAGMA query_only = OFF"],
])("a batch that meets a disk that is %s waits and is stored once when the disk is well again", async (_, breaks, heals) => {
  using store = openStore(":memory:");
  const { disk } = setup({ probe: () => store.commitSoon(() => probeWrite(store)) });
  const ingest = createIngest({ store, nowMs: () => 1, disk, stored: () => {}, taken: () => {}, deadLetter: () => () => {} });
  await ingest.events("gw-1", makeBatch("gw-1", "epoch000", 0, 5));
  store.db.run(breaks);
  let done = false;
  const waits = ingest.events("gw-1", large()).then(() => {
    done = true;
  });
  while (!disk.outage && !done) await new Promise((resolve) => setImmediate(resolve));
  await disk.check();
  expect(done).toBe(false);
  store.db.run(heals);
  await disk.check();
  await disk.check();
  await waits;
  expect(readBatches(store, 0, 10)).toHaveLength(2);
});

test("only errors of the disk count as such", () => {
  expect(isDiskError(Object.assign(new Error("full"), { code: "SQLITE_FULL" }))).toBe(true);
  expect(isDiskError(Object.assign(new Error("constraint"), { code: "SQLITE_CONSTRAINT" }))).toBe(false);
});
