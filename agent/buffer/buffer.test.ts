import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Lease } from "../lease.ts";
import { EventBuffer, MAX_EVENT_BYTES } from "./buffer.ts";
import { BufferBusy } from "./store.ts";
import { boot, hit, plain, result } from "./testing/events.ts";

let dir: string;
const opened: EventBuffer[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "pkagt-buffer-"));
});
afterEach(() => {
  for (const buffer of opened.splice(0)) buffer[Symbol.dispose]();
  rmSync(dir, { recursive: true, force: true });
});

const all = { events: 500, bytes: 1 << 20 };
function open(epoch: string, limits: { maxEvents?: number; maxBytes?: number; onTrouble?: (why: string | undefined) => void } = {}) {
  const buffer = new EventBuffer({
    path: join(dir, "buffer.db"),
    maxEvents: 1000,
    maxBytes: 1e8,
    ...limits,
    epoch: { epoch, boot, device: "pi" },
  });
  opened.push(buffer);
  return buffer;
}
function close(buffer: EventBuffer) {
  opened.splice(opened.indexOf(buffer), 1);
  buffer[Symbol.dispose]();
}
const evicted = (buffer: EventBuffer) => buffer.takeLost().reduce((sum, { count, atMost }) => sum + (atMost ? 0 : count), 0);
const seqs = (lease: Lease | undefined) => lease?.events.map((event) => event.seq);

test("an event comes out as it went in", () => {
  const buffer = open("aaaaaaaa");
  buffer.append(hit("aaaaaaaa", 0));
  buffer.flush();
  const lease = buffer.lease(all);
  expect(lease).toMatchObject({ epoch: "aaaaaaaa", boot, oldest: 0, events: [hit("aaaaaaaa", 0)] });
});

test("an event with a hit is on disk at the end of the turn, a plain one soon after without a call", async () => {
  const buffer = open("aaaaaaaa");
  let available = Promise.withResolvers<void>();
  buffer.onAvailable = () => available.resolve();
  buffer.append(hit("aaaaaaaa", 0));
  await Promise.resolve();
  expect(seqs(buffer.lease(all))).toEqual([0]);
  available = Promise.withResolvers();
  buffer.append(plain("aaaaaaaa", 1));
  expect(buffer.lease(all)).toBeUndefined();
  await available.promise;
  expect(seqs(buffer.lease(all))).toEqual([1]);
});

test("what carries hits or results overtakes, and the rest keeps its order", () => {
  const buffer = open("aaaaaaaa");
  for (const event of [plain("aaaaaaaa", 0), hit("aaaaaaaa", 1), plain("aaaaaaaa", 2), result("aaaaaaaa", 3)]) buffer.append(event);
  buffer.flush();
  expect(buffer.waiting()).toEqual({ events: 4, urgent: 2 });
  expect(seqs(buffer.lease(all))).toEqual([1, 3]);
  expect(seqs(buffer.lease(all))).toEqual([0, 2]);
  expect(buffer.lease(all)).toBeUndefined();
  expect(buffer.waiting()).toEqual({ events: 0, urgent: 0 });
});

test("a released lease comes out again before what follows it", () => {
  const buffer = open("aaaaaaaa");
  for (let seq = 0; seq < 6; seq++) buffer.append(plain("aaaaaaaa", seq));
  buffer.flush();
  const first = buffer.lease({ ...all, events: 2 })!;
  const second = buffer.lease({ ...all, events: 2 })!;
  buffer.release(first);
  expect(seqs(buffer.lease({ ...all, events: 3 }))).toEqual([0, 1, 4]);
  buffer.release(second);
  expect(seqs(buffer.lease(all))).toEqual([2, 3, 5]);
});

test("only an acknowledgement deletes, and `oldest` is the lowest number still held", () => {
  const buffer = open("aaaaaaaa");
  for (let seq = 0; seq < 4; seq++) buffer.append(plain("aaaaaaaa", seq));
  buffer.flush();
  const first = buffer.lease({ ...all, events: 2 })!;
  expect(buffer.lease({ ...all, events: 1 })).toMatchObject({ oldest: 0 });
  buffer.ack(first);
  expect(buffer.size().events).toBe(2);
  expect(buffer.epochs()).toEqual([["aaaaaaaa", 2, 4]]);
  expect(buffer.lease(all)).toMatchObject({ oldest: 2 });
});

test("an acknowledgement or a release that comes twice, or after the other, changes nothing", () => {
  const buffer = open("aaaaaaaa");
  buffer.append(plain("aaaaaaaa", 0));
  buffer.flush();
  const lease = buffer.lease(all)!;
  buffer.ack(lease);
  buffer.ack(lease);
  buffer.release(lease);
  buffer.flush();
  expect(buffer.lease(all)).toBeUndefined();
  expect(buffer.size()).toEqual({ events: 0, bytes: 0 });
});

test("a batch keeps to its size, but a single large event always fits", () => {
  const buffer = open("aaaaaaaa");
  buffer.append(plain("aaaaaaaa", 0, "x".repeat(4000)));
  buffer.append(plain("aaaaaaaa", 1, "é".repeat(3000)));
  buffer.append(plain("aaaaaaaa", 2));
  buffer.flush();
  expect(seqs(buffer.lease({ events: 500, bytes: 1000 }))).toEqual([0]);
  expect(seqs(buffer.lease({ events: 500, bytes: 6100 }))).toEqual([1]);
});

test("after a restart everything is free again, and a batch holds one epoch only", () => {
  const first = open("aaaaaaaa");
  for (let seq = 0; seq < 3; seq++) first.append(plain("aaaaaaaa", seq));
  first.flush();
  first.lease({ ...all, events: 2 });
  close(first);
  const second = open("bbbbbbbb");
  second.append(plain("bbbbbbbb", 0));
  second.append(hit("bbbbbbbb", 1));
  second.flush();
  expect(second.epochs()).toEqual([
    ["aaaaaaaa", 0, 3],
    ["bbbbbbbb", 0, 2],
  ]);
  expect(second.lease(all)).toMatchObject({ epoch: "bbbbbbbb", events: [{ seq: 1 }] });
  expect(second.lease(all)).toMatchObject({ epoch: "aaaaaaaa", events: [{ seq: 0 }, { seq: 1 }, { seq: 2 }] });
  expect(second.lease(all)).toMatchObject({ epoch: "bbbbbbbb", events: [{ seq: 0 }] });
});

test("a run that ended before its first event does no harm", () => {
  const troubles: (string | undefined)[] = [];
  for (const epoch of ["aaaaaaaa", "bbbbbbbb"]) close(open(epoch));
  const buffer = open("cccccccc", { onTrouble: (why) => troubles.push(why) });
  expect(buffer.epochs().map(([epoch]) => epoch)).toEqual(["aaaaaaaa", "bbbbbbbb", "cccccccc"]);
  expect(troubles).toEqual([]);
});

test("an emptied epoch is told once more, and forgotten when the site has heard it", () => {
  const first = open("aaaaaaaa");
  first.append(plain("aaaaaaaa", 0));
  close(first);
  const second = open("bbbbbbbb");
  second.ack(second.lease(all)!);
  const report = second.epochs();
  expect(report).toEqual([
    ["aaaaaaaa", 1, 1],
    ["bbbbbbbb", 0, 0],
  ]);
  second.reported(report);
  expect(second.epochs()).toEqual([["bbbbbbbb", 0, 0]]);
});

test("a full buffer evicts plain events first, oldest first, never what is being sent, and counts them", () => {
  const buffer = open("aaaaaaaa", { maxEvents: 5 });
  buffer.append(hit("aaaaaaaa", 0));
  for (let seq = 1; seq < 5; seq++) buffer.append(plain("aaaaaaaa", seq));
  buffer.flush();
  buffer.release(buffer.lease(all)!);
  const sending = buffer.lease({ ...all, events: 1 })!;
  const plainSending = buffer.lease({ ...all, events: 1 })!;
  expect([seqs(sending), seqs(plainSending)]).toEqual([[0], [1]]);
  for (let seq = 5; seq < 7; seq++) buffer.append(plain("aaaaaaaa", seq));
  buffer.flush();
  expect(evicted(buffer)).toBe(2);
  expect(evicted(buffer)).toBe(0);
  expect(buffer.size().events).toBe(5);
  expect(seqs(buffer.lease(all))).toEqual([4, 5, 6]);
});

test("hits make room only when nothing plain is left, and results last of all", () => {
  const buffer = open("aaaaaaaa", { maxEvents: 2 });
  for (const event of [result("aaaaaaaa", 0), hit("aaaaaaaa", 1), plain("aaaaaaaa", 2), hit("aaaaaaaa", 3)]) buffer.append(event);
  buffer.flush();
  expect(evicted(buffer)).toBe(2);
  expect(buffer.waiting()).toEqual({ events: 2, urgent: 2 });
  expect(seqs(buffer.lease(all))).toEqual([0, 3]);
});

test("the byte limit evicts too", () => {
  const buffer = open("aaaaaaaa", { maxBytes: 10_000 });
  for (let seq = 0; seq < 10; seq++) buffer.append(plain("aaaaaaaa", seq, "x".repeat(2000)));
  buffer.flush();
  expect(buffer.size().bytes).toBeLessThanOrEqual(10_000);
  expect(evicted(buffer)).toBe(10 - buffer.size().events);
  expect(buffer.epochs()).toEqual([["aaaaaaaa", 6, 10]]);
});

test("an event too large to be sent keeps its number and counts as lost", () => {
  const buffer = open("aaaaaaaa");
  buffer.append(plain("aaaaaaaa", 0, "x".repeat(MAX_EVENT_BYTES)));
  buffer.append(plain("aaaaaaaa", 1));
  buffer.flush();
  expect(evicted(buffer)).toBe(1);
  expect(seqs(buffer.lease(all))).toEqual([1]);
});

test("nobody else can read what is kept, in whatever folder, and in a file that others could read before", () => {
  chmodSync(dir, 0o755);
  writeFileSync(join(dir, "buffer.db"), "", { mode: 0o644 });
  const buffer = open("aaaaaaaa");
  buffer.append(plain("aaaaaaaa", 0));
  buffer.flush();
  const files = readdirSync(dir);
  expect(files.length).toBeGreaterThan(1);
  for (const file of files) expect(statSync(join(dir, file)).mode & 0o077, file).toBe(0);
});

test("a second agent on the same directory is refused", () => {
  open("aaaaaaaa");
  expect(() => open("bbbbbbbb")).toThrow(BufferBusy);
});

test("a file that is no database is set aside, reported, and the buffer works", () => {
  writeFileSync(join(dir, "buffer.db"), "not a database at all, but longer than a header ".repeat(50));
  const troubles: (string | undefined)[] = [];
  const buffer = open("aaaaaaaa", { onTrouble: (why) => troubles.push(why) });
  buffer.append(plain("aaaaaaaa", 0));
  buffer.flush();
  expect(seqs(buffer.lease(all))).toEqual([0]);
  expect(troubles).toEqual([expect.stringContaining("damaged"), undefined]);
  expect(readdirSync(dir).filter((name) => name.includes("damaged"))).toHaveLength(1);
});

test("a file damaged while in use is set aside: what it held is counted as lost, what comes next is kept", () => {
  const first = open("aaaaaaaa");
  for (let seq = 0; seq < 900; seq++) first.append(plain("aaaaaaaa", seq));
  close(first);
  const buffer = open("bbbbbbbb");
  // Keep the first page, so that opening goes well and reading the events does not.
  truncateSync(join(dir, "buffer.db"), 4096);
  if (existsSync(join(dir, "buffer.db-wal"))) truncateSync(join(dir, "buffer.db-wal"), 0);
  for (let seq = 0; seq < 3; seq++) buffer.append(plain("bbbbbbbb", seq));
  buffer.flush();
  const leased = [buffer.lease(all)];
  buffer.append(plain("bbbbbbbb", 3));
  buffer.flush();
  leased.push(buffer.lease(all));
  expect(leased.flatMap((lease) => (lease?.epoch === "bbbbbbbb" ? seqs(lease) : []))).toEqual([0, 1, 2, 3]);
  expect(evicted(buffer)).toBeGreaterThanOrEqual(900);
});

test("numbers must follow each other", () => {
  const buffer = open("aaaaaaaa");
  expect(() => buffer.append(plain("aaaaaaaa", 1))).toThrow("0 is next");
});
