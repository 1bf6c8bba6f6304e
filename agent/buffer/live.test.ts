// Days offline, then a connection: the backlog goes at full speed, and what is made now does not wait for its end.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Lease } from "../lease.ts";
import { EventBuffer } from "./buffer.ts";
import { boot, hit, plain } from "./testing/events.ts";

const A = "aaaaaaaa";
const B = "bbbbbbbb";
const max = { events: 100, bytes: 1 << 20 };
let dir: string;
let nowMs: number;
let seq: number;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "pkagt-live-"));
  nowMs = 0;
  seq = 0;
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const open = (epoch: string, durability: "balanced" | "strict") =>
  new EventBuffer({
    ...{ path: join(dir, "buffer.db"), maxEvents: 1e5, maxBytes: 1e9, epoch: { epoch, boot, device: "pi" }, durability },
    monotonicMs: () => nowMs,
  });
function append(buffer: EventBuffer, count: number, epoch = A) {
  for (let n = 0; n < count; n++) buffer.append(plain(epoch, seq++));
}
const span = (lease: Lease | undefined) => lease && [lease.epoch, lease.events[0]!.seq, lease.events.at(-1)!.seq];

test.each(["balanced", "strict"] as const)("%s: a batch of what is made now, then one of the backlog, and so on", async (durability) => {
  using buffer = open(A, durability);
  append(buffer, 1000);
  buffer.flush();
  buffer.connected();
  append(buffer, 5);
  if (durability === "strict") buffer.flush();
  await Promise.resolve();
  expect(span(buffer.lease(max))).toEqual([A, 1000, 1004]);
  expect(span(buffer.lease(max))).toEqual([A, 0, 99]);
  // On its way to the disk meanwhile: still live.
  append(buffer, 3);
  buffer.flush();
  expect(span(buffer.lease(max))).toEqual([A, 100, 199]);
  nowMs += 250;
  const live = buffer.lease(max)!;
  expect(span(live)).toEqual([A, 1005, 1007]);
  buffer.release(live);
  expect(span(buffer.lease(max))).toEqual([A, 200, 299]);
  nowMs += 250;
  expect(span(buffer.lease(max))).toEqual([A, 1005, 1007]);
  nowMs += 250;
  // Nothing new: the backlog has the turn.
  expect(span(buffer.lease(max))).toEqual([A, 300, 399]);
});

test("a backlog of earlier runs, too; hits go before both", async () => {
  const first = open(A, "balanced");
  append(first, 500);
  first[Symbol.dispose]();
  seq = 0;
  using buffer = open(B, "balanced");
  buffer.connected();
  append(buffer, 2, B);
  buffer.append(hit(B, seq++));
  await Promise.resolve();
  expect(span(buffer.lease(max))).toEqual([B, 2, 2]);
  expect(span(buffer.lease(max))).toEqual([B, 0, 1]);
  expect(span(buffer.lease(max))).toEqual([A, 0, 99]);
});

test("whatever is given out, released, acknowledged and connected in between: each event is given out until it is acknowledged, and then never", async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("append" as const), count: fc.integer({ min: 1, max: 300 }) }),
    fc.record({ kind: fc.constantFrom("lease", "ack", "release", "connect", "flush" as const), count: fc.integer({ min: 0, max: 5 }) }),
    fc.record({ kind: fc.constant("pass" as const), count: fc.integer({ min: 1, max: 600 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60 }), async (steps) => {
      rmSync(join(dir, "buffer.db"), { force: true });
      for (const more of ["-wal", "-shm"]) rmSync(join(dir, `buffer.db${more}`), { force: true });
      seq = 0;
      using buffer = open(A, "balanced");
      const out: Lease[] = [];
      const acked = new Set<number>();
      const take = () => {
        const lease = buffer.lease(max);
        if (!lease) return false;
        for (const event of lease.events) {
          expect(acked.has(event.seq)).toBe(false);
          expect(out.some(({ events }) => events.some((other) => other.seq === event.seq))).toBe(false);
        }
        return out.push(lease) > 0;
      };
      for (const { kind, count } of steps) {
        if (kind === "append") append(buffer, count);
        else if (kind === "lease") take();
        else if (kind === "connect") buffer.connected();
        else if (kind === "flush") buffer.flush();
        else if (kind === "pass") nowMs += count;
        else {
          const [lease] = out.splice(count % Math.max(out.length, 1), 1);
          if (!lease) continue;
          if (kind === "release") buffer.release(lease);
          else {
            buffer.ack(lease);
            for (const event of lease.events) acked.add(event.seq);
          }
        }
        await Promise.resolve();
      }
      for (const lease of out.splice(0)) buffer.release(lease);
      while (take()) nowMs += 100;
      const left = out.flatMap(({ events }) => events.map((event) => event.seq));
      expect([...acked, ...left].toSorted((a, b) => a - b)).toEqual(Array.from({ length: seq }, (_, at) => at));
    }),
    { numRuns: 40 },
  );
});
