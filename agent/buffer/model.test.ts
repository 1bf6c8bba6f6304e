// The buffer against a model of it: random operations from a seed, restarts among them.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SensorEvent } from "@picket/protocol/event";
import { expect, test } from "vitest";
import type { Lease } from "../lease.ts";
import { classOf, EventBuffer } from "./buffer.ts";
import { boot, hit, plain, result } from "./testing/events.ts";

/** Park-Miller: the same numbers for the same seed. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48271) % 2147483647;
    return state % below;
  };
}
const name = (event: { epoch: string; seq: number }) => `${event.epoch}:${event.seq}`;
const epochOf = (run: number) => `run${String(run).padStart(5, "0")}`;

test.each([1, 2, 3, 4, 5, 6, 7, 8])("seed %i: held + acknowledged + evicted = appended; leases never overlap; order is kept", (seed) => {
  const dir = mkdtempSync(join(tmpdir(), "pkagt-model-"));
  const next = random(seed * 7919);
  const held = new Map<string, SensorEvent>();
  let leases: Lease[] = [];
  let run = 0;
  let seq = 0;
  let evicted = 0;
  let acked = 0;
  let appended = 0;
  const onTrouble = (why: string | undefined) => expect(why).toBeUndefined();
  const open = () =>
    new EventBuffer({
      path: join(dir, "buffer.db"),
      maxEvents: 60,
      maxBytes: 1e6,
      epoch: { epoch: epochOf(run), boot, device: "pi" },
      onTrouble,
    });
  let buffer = open();
  try {
    for (let step = 0; step < 600; step++) {
      const choice = next(20);
      if (choice < 9) {
        const event = [plain, plain, plain, hit, result][next(5)]!(epochOf(run), seq++);
        buffer.append(event);
        held.set(name(event), event);
        appended++;
        if (next(3) === 0) buffer.flush();
      } else if (choice < 14) {
        const lease = buffer.lease({ events: 1 + next(9), bytes: 100 + next(2000) });
        if (lease) {
          expect(new Set(lease.events.map((event) => event.epoch))).toEqual(new Set([lease.epoch]));
          expect(lease.events.map((event) => event.seq)).toEqual(lease.events.map((event) => event.seq).toSorted((a, b) => a - b));
          expect(lease.oldest).toBeLessThanOrEqual(lease.events[0]!.seq);
          const busy = new Set(leases.flatMap((other) => other.events.map(name)));
          for (const event of lease.events) {
            expect(busy.has(name(event))).toBe(false);
            expect(held.get(name(event))).toEqual(event);
          }
          leases.push(lease);
        }
      } else if (leases.length > 0) {
        const [lease] = leases.splice(next(leases.length), 1);
        if (choice < 17) {
          buffer.ack(lease!);
          acked += lease!.events.length;
          for (const event of lease!.events) held.delete(name(event));
        } else buffer.release(lease!);
      } else if (choice === 19) {
        buffer.flush();
        evicted += buffer.takeLost().reduce((sum, { count }) => sum + count, 0);
        buffer[Symbol.dispose]();
        run++;
        seq = 0;
        leases = [];
        buffer = open();
      }
    }
    for (const lease of leases) buffer.release(lease);
    buffer.flush();
    evicted += buffer.takeLost().reduce((sum, { count }) => sum + count, 0);
    expect(buffer.size().events + acked + evicted).toBe(appended);
    const rest: Lease[] = [];
    for (let lease = buffer.lease({ events: 7, bytes: 1e6 }); lease; lease = buffer.lease({ events: 7, bytes: 1e6 })) rest.push(lease);
    const events = rest.flatMap((lease) => [...lease.events]);
    const urgent = events.map((event) => classOf(event) !== "plain");
    expect(urgent.lastIndexOf(true)).toBeLessThan(urgent.includes(false) ? urgent.indexOf(false) : urgent.length);
    for (const group of [events.filter((_, at) => urgent[at]), events.filter((_, at) => !urgent[at])]) {
      expect(group.map(name)).toEqual(group.toSorted((a, b) => a.epoch.localeCompare(b.epoch) || a.seq - b.seq).map(name));
      for (const event of group) expect(held.get(name(event))).toEqual(event);
    }
    expect(evicted).toBe(held.size - events.length);
  } finally {
    buffer[Symbol.dispose]();
    rmSync(dir, { recursive: true, force: true });
  }
});
