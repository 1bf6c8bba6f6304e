// What is in memory only: what it costs when the process or the machine ends, and that the site comes to the same figures.
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { coverage, markReceived, type Run, reportEpochs } from "../../broker/store/received.ts";
import { openStore } from "../../broker/store/schema.ts";
import type { Lease } from "../lease.ts";
import { type BufferOptions, EventBuffer } from "./buffer.ts";
import { mirrorPath, recover } from "./mirror.ts";
import { leftBy, type Place, placeIn } from "./testing/copy.ts";
import { boot, hit, plain, result } from "./testing/events.ts";

const A = "aaaaaaaa";
const B = "bbbbbbbb";
const all = { events: 500, bytes: 1 << 20 };
let dir: string;
let here: Place;
let places = 0;
const opened: EventBuffer[] = [];
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  dir = mkdtempSync(join(tmpdir(), "pkagt-memory-"));
  here = placeIn(join(dir, `${places++}`));
});
afterEach(() => {
  vi.useRealTimers();
  for (const buffer of opened.splice(0)) buffer[Symbol.dispose]();
  rmSync(dir, { recursive: true, force: true });
});

function open(epoch: string, options: Partial<BufferOptions> = {}, place = here): EventBuffer {
  const buffer = new EventBuffer({ ...place, maxEvents: 1e5, maxBytes: 1e8, epoch: { epoch, boot, device: "pi" }, ...options });
  opened.push(buffer);
  return buffer;
}
/** What a kill or a loss of power at this moment leaves behind. */
function cut(isPowerLoss: boolean): Place {
  const place = placeIn(join(dir, `${places++}`));
  leftBy(here, place, isPowerLoss);
  return place;
}
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const turn = () => Promise.resolve();
const seqs = (lease: Lease | undefined) => lease?.events.map(({ seq }) => seq);
const logBytes = () => statSync(`${here.path}-wal`).size;
const walked = () => readFileSync(`${here.path}-wal`).toString("latin1");

test("balanced: a plain event acknowledged within a second is never written; one that is not, is", async () => {
  const buffer = open(A);
  const before = logBytes();
  for (let seq = 0; seq < 100; seq++) {
    buffer.append(plain(A, seq, `marked ${seq} end`));
    await pass(20);
    buffer.ack(buffer.lease(all)!);
    await pass(20);
  }
  expect(logBytes()).toBe(before);
  buffer.append(plain(A, 100, "marked 100 end"));
  await pass(900);
  expect(walked()).not.toContain("marked");
  await pass(200);
  expect(walked()).toContain("marked 100 end");
  expect(seqs(buffer.lease(all))).toEqual([100]);
});

test("balanced: hits, results and what explains loss are on disk at the end of the turn, and plain ones before them are not", async () => {
  const buffer = open(A);
  buffer.append(plain(A, 0, "stays in memory"));
  buffer.append(hit(A, 1));
  buffer.append(result(A, 2));
  await turn();
  expect(walked()).toContain("r-1");
  expect(walked()).toContain("response.result");
  expect(walked()).not.toContain("stays in memory");
  expect(seqs(buffer.lease(all))).toEqual([1, 2]);
  expect(buffer.lease(all)).toMatchObject({ oldest: 0, events: [{ seq: 0 }] });
});

test("a batch takes what is on disk first, then what is in memory; what is given out may go to disk meanwhile", async () => {
  const buffer = open(A);
  for (let seq = 0; seq < 3; seq++) buffer.append(plain(A, seq));
  await pass(1100);
  for (let seq = 3; seq < 6; seq++) buffer.append(plain(A, seq));
  await turn();
  const first = buffer.lease({ ...all, events: 4 })!;
  expect(seqs(first)).toEqual([0, 1, 2, 3]);
  await pass(1100);
  expect(buffer.waiting()).toEqual({ events: 2, urgent: 0 });
  buffer.release(first);
  expect(seqs(buffer.lease(all))).toEqual([0, 1, 2, 3, 4, 5]);
});

test("while the site answers, young events stay in memory when an old one goes to disk", async () => {
  const buffer = open(A);
  buffer.append(plain(A, 0));
  await turn();
  buffer.ack(buffer.lease(all)!);
  buffer.append(plain(A, 1, "the old one"));
  await pass(900);
  buffer.append(plain(A, 2, "the young one"));
  await pass(150);
  expect(walked()).toContain("the old one");
  expect(walked()).not.toContain("the young one");
});

test("strict: nothing is given out before it is on disk", async () => {
  const buffer = open(A, { durability: "strict" });
  buffer.append(plain(A, 0, "marked"));
  await turn();
  expect(buffer.lease(all)).toBeUndefined();
  await pass(20);
  expect(walked()).toContain("marked");
  expect(seqs(buffer.lease(all))).toEqual([0]);
});

test("memory holds little, however fast events come", async () => {
  const buffer = open(A);
  for (let seq = 0; seq < 9000; seq++) {
    buffer.append(plain(A, seq));
    if (seq % 500 === 499) await turn();
  }
  expect(walked()).toContain("line 8100");
  for (let seq = 9000; seq < 9030; seq++) buffer.append(plain(A, seq, "x".repeat(100_000)));
  await turn();
  expect(walked()).toContain("line 8999");
});

test("kill -9 loses nothing: not what was in memory, not what was given out", async () => {
  const buffer = open(A);
  for (let seq = 0; seq < 10; seq++) buffer.append(seq === 4 ? hit(A, seq) : plain(A, seq));
  await turn();
  buffer.ack(buffer.lease({ ...all, events: 1 })!);
  buffer.ack(buffer.lease({ ...all, events: 3 })!);
  await turn();
  const unclean: unknown[] = [];
  const next = open(B, { onUnclean: (last) => unclean.push(last) }, cut(false));
  expect(unclean).toEqual([{ epoch: A, recovered: 6, atMost: 0 }]);
  expect(next.takeLost()).toEqual([]);
  expect(next.epochs()).toEqual([
    [A, 3, 10],
    [B, 0, 0],
  ]);
  // The deletion of the hit had not been written: the site knows its number.
  expect(seqs(next.lease(all))).toEqual([4]);
  expect(seqs(next.lease(all))).toEqual([3, 5, 6, 7, 8, 9]);
});

test("a turn that the kill cut off was seen by nobody: its numbers were never used", async () => {
  const buffer = open(A);
  buffer.append(plain(A, 0));
  await turn();
  buffer.append(plain(A, 1));
  const next = open(B, {}, cut(false));
  expect(next.epochs()[0]).toEqual([A, 0, 1]);
});

test("a mirror that was cut off anywhere gives back what it holds whole", async () => {
  const buffer = open(A);
  for (let seq = 0; seq < 20; seq++) {
    buffer.append(plain(A, seq));
    await turn();
  }
  const { size } = statSync(here.mirror);
  for (let bytes = 0; bytes <= size; bytes += 7) {
    const place = cut(false);
    truncateSync(place.mirror, bytes);
    const found = recover(place.mirror, boot);
    const count = found?.events.length ?? 0;
    expect(found?.events.map(({ seq }) => seq) ?? []).toEqual(Array.from({ length: count }, (_, seq) => seq));
    expect(found?.next ?? 0).toBe(count);
  }
  expect(recover(here.mirror, boot)?.events).toHaveLength(20);
});

test("the mirror does not grow: what is history is dropped", async () => {
  const buffer = open(A);
  for (let seq = 0; seq < 6000; seq++) {
    buffer.append(plain(A, seq, "x".repeat(300)));
    await turn();
    if (seq % 100 === 99) buffer.ack(buffer.lease(all)!);
  }
  expect(statSync(here.mirror).size).toBeLessThan(1 << 20);
});

test("the mirror of another boot, another user, or one that others may read is not taken in", async () => {
  const buffer = open(A);
  buffer.append(plain(A, 0));
  await turn();
  expect(statSync(here.mirror).mode & 0o777).toBe(0o600);
  expect(recover(here.mirror, "00000000-0000-4000-8000-000000000000")).toBeUndefined();
  const link = join(dir, "link");
  symlinkSync(here.mirror, link);
  expect(recover(link, boot)).toBeUndefined();
  chmodSync(here.mirror, 0o644);
  expect(recover(here.mirror, boot)).toBeUndefined();
  writeFileSync(join(dir, "noise"), "+1 0 {}\n-x\n", { mode: 0o600 });
  expect(recover(join(dir, "noise"), boot)).toBeUndefined();
  expect(recover(join(dir, "none"), boot)).toBeUndefined();
});

test("a mirror lies only where memory is", () => {
  expect(mirrorPath("x", [dir, join(dir, "none")])).toBe(
    statSync("/dev/shm", { throwIfNoEntry: false }) ? mirrorPath("x", [dir]) : undefined,
  );
  expect(mirrorPath("x", ["/proc"])).toBeUndefined();
});

test("a run that ended in order leaves nothing to be told", async () => {
  const buffer = open(A);
  buffer.append(plain(A, 0));
  buffer.finish();
  const unclean: unknown[] = [];
  const next = open(B, { onUnclean: (last) => unclean.push(last) }, cut(true));
  expect([unclean, next.takeLost(), next.lostByEpoch()]).toEqual([[], [], []]);
});

/** A site that stores what it is sent and hears heartbeats. */
function site() {
  const store = openStore(":memory:");
  return {
    store,
    take: ({ epoch, oldest, events }: Lease) => {
      const runs: Run[] = events.map(({ seq }): Run => [seq, 1]);
      markReceived(store, { device: "pi", epoch, boot, runs, oldest, nowMs: 1 });
    },
    hear: (buffer: EventBuffer, epoch: string) => {
      const report = { device: "pi", epoch, boot, lost: { kernel: 0, shed: 0, buffer: 0 }, held: buffer.epochs(), nowMs: 2 };
      return reportEpochs(store, { ...report, bufferLost: { epochs: buffer.lostByEpoch() } });
    },
    coverage: () => coverage(store, "pi"),
  };
}

test("power loss: what may be gone is told as a bound, once, and the site finds no hole that it does not explain", async () => {
  const buffer = open(A);
  const { store, take, hear } = site();
  for (let seq = 0; seq < 40; seq++) buffer.append(plain(A, seq));
  await turn();
  const sent = buffer.lease({ ...all, events: 10 })!;
  take(sent);
  buffer.ack(sent);
  hear(buffer, A);
  buffer.append(hit(A, 40));
  await turn();
  const left = cut(true);
  const next = open(B, {}, left);
  // 0-9 are at the site, 40 is on disk, 10-39 are gone: of the 256 numbers that may have been used it vouches for none but the hit.
  const [loss] = next.takeLost();
  expect(loss).toEqual({ epoch: A, count: 256 - 10 - 1, atMost: true });
  expect(next.takeLost()).toEqual([]);
  next.append(plain(B, 0));
  await turn();
  for (let lease = next.lease(all); lease; lease = next.lease(all)) {
    take(lease);
    next.ack(lease);
  }
  const covered = hear(next, B);
  expect(covered).toMatchObject({ stored: 12, unexplained: 0, atMost: 256 - 11, lost: 256 - 11 });
  // Told and forgotten, it stays as it was.
  next.reported(next.epochs());
  expect(next.epochs().map(([epoch]) => epoch)).toEqual([B]);
  expect(hear(next, B)).toMatchObject({ stored: 12, unexplained: 0, lost: 256 - 11 });
  store[Symbol.dispose]();
});

test("evictions of an earlier run's events are told of that run, and the site counts them once", async () => {
  const buffer = open(A);
  for (let seq = 0; seq < 50; seq++) buffer.append(plain(A, seq));
  buffer.finish();
  const next = open(B, { maxEvents: 30 }, cut(true));
  for (let seq = 0; seq < 10; seq++) next.append(plain(B, seq));
  next.flush();
  expect(next.takeLost()).toEqual([{ epoch: A, count: 30, by: { plain: 30, hit: 0, result: 0 } }]);
  const { store, take, hear } = site();
  for (let lease = next.lease(all); lease; lease = next.lease(all)) {
    take(lease);
    next.ack(lease);
  }
  expect(hear(next, B)).toMatchObject({ stored: 30, lost: 30, unexplained: 0, atMost: 0 });
  store[Symbol.dispose]();
});

test("a wall clock that jumps forward and back changes nothing", async () => {
  const clock = { ms: 1_700_000_000_000 };
  const buffer = open(A, { nowMs: () => clock.ms });
  for (const [seq, jump] of [0, 1e12, -2e12, 5e9, -1.7e12].entries()) {
    clock.ms += jump;
    buffer.append({ ...plain(A, seq), timeMs: Math.max(0, clock.ms) });
    await pass(600);
  }
  expect(seqs(buffer.lease(all))).toEqual([0, 1, 2, 3, 4]);
  expect(buffer.takeLost()).toEqual([]);
});

test("numbers are reserved ahead of their use, and seldom", async () => {
  const buffer = open(A);
  const before = logBytes();
  for (let seq = 0; seq < 2000; seq++) {
    buffer.append(plain(A, seq));
    await pass(100);
    buffer.ack(buffer.lease(all)!);
  }
  // One page and its header for each 128 to 256 numbers.
  expect(logBytes() - before).toBeLessThan((2000 / 128) * 2500);
  buffer.append(plain(A, 2000));
  await turn();
  const next = open(B, {}, cut(true));
  const [epoch, , end] = next.epochs()[0]!;
  expect(epoch).toBe(A);
  expect(end).toBeGreaterThan(2000);
  expect(end).toBeLessThanOrEqual(2001 + 256);
});
