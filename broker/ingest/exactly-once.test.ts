// Promise 1 as a property: whatever is sent again, out of order, in other pieces or cut off by a crash, each number is in the log once.
import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeBatch, encodeBatch } from "@picket/protocol/batch";
import type { SensorEvent } from "@picket/protocol/event";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Store } from "../store/database.ts";
import { logTotals, readBatches } from "../store/log.ts";
import { coverage } from "../store/received.ts";
import { openStore } from "../store/schema.ts";
import { BOOT, makeEvents } from "../testing/site.ts";
import { createIngest, type Ingest } from "./ingest.ts";

const devices = ["gw-1", "gw-2"];
const epochs = ["epoch000", "epoch111"];

/** Which numbers a delivery holds: pieces with gaps between them, as a batch that others overtook. */
const delivery = fc.record({
  kind: fc.constant("deliver" as const),
  device: fc.constantFrom(...devices),
  epoch: fc.constantFrom(...epochs),
  start: fc.nat(120),
  pieces: fc.array(fc.record({ gap: fc.nat(6), count: fc.integer({ min: 1, max: 15 }) }), { minLength: 1, maxLength: 5 }),
  times: fc.integer({ min: 1, max: 3 }),
});
/** close: in order. crash: the site goes on with the files as they lie on disk after so many turns of the event loop, as after kill -9. */
const step = fc.oneof(
  { weight: 8, arbitrary: delivery },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("close" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("crash" as const), turns: fc.nat(3) }) },
);

const numbersOf = ({ start, pieces }: { start: number; pieces: readonly { gap: number; count: number }[] }): number[] => {
  const numbers: number[] = [];
  let at = start;
  for (const { gap, count } of pieces) {
    at += gap;
    for (let n = 0; n < count; n++) numbers.push(at++);
    at++;
  }
  return numbers;
};

const batchOf = (device: string, epoch: string, numbers: readonly number[]) =>
  encodeBatch({ boot: BOOT, oldest: 0, events: numbers.flatMap((seq) => makeEvents(device, epoch, seq, 1)) });

const open = (path: string): { store: Store; ingest: Ingest } => {
  const store = openStore(path);
  const disk = {
    room: () => undefined,
    failed: (error: Error) => {
      throw error;
    },
  };
  return { store, ingest: createIngest({ store, nowMs: () => 1, disk, stored: () => {}, taken: () => {}, deadLetter: () => () => {} }) };
};

const key = ({ device, epoch, seq }: Pick<SensorEvent, "device" | "epoch" | "seq">) => `${device}:${epoch}:${seq}`;

test("each number that was acknowledged is in the log once, as it was sent, and none that never came", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
      const dir = mkdtempSync(join(tmpdir(), "pkbrk-once-"));
      let life = 0;
      const path = () => join(dir, `site-${life}.db`);
      let { store, ingest } = open(path());
      const dead: Store[] = [];
      const acknowledged = new Set<string>();
      const sent = new Set<string>();
      let flying: Promise<void>[] = [];
      try {
        for (const one of steps) {
          if (one.kind === "deliver") {
            const numbers = numbersOf(one);
            for (const seq of numbers) sent.add(key({ ...one, seq }));
            const batch = batchOf(one.device, one.epoch, numbers);
            const now = life;
            for (let n = 0; n < one.times; n++)
              flying.push(
                ingest.events(one.device, batch).then(() => {
                  // A process that is dead acknowledges nothing.
                  if (now === life) for (const seq of numbers) acknowledged.add(key({ ...one, seq }));
                }),
              );
            continue;
          }
          if (one.kind === "close") {
            await Promise.all(flying);
            store[Symbol.dispose]();
          } else {
            for (let turn = 0; turn < one.turns; turn++) await new Promise((resolve) => setImmediate(resolve));
            const before = path();
            life++;
            for (const end of ["", "-wal"]) if (existsSync(before + end)) copyFileSync(before + end, path() + end);
            dead.push(store);
          }
          flying = [];
          ({ store, ingest } = open(path()));
        }
        await Promise.all(flying);
        const inLog = readBatches(store, 0, 1e6).flatMap((row) => decodeBatch(row.batch).events);
        const times = new Map<string, number>();
        for (const event of inLog) {
          times.set(key(event), (times.get(key(event)) ?? 0) + 1);
          expect(event).toEqual(makeEvents(event.device, event.epoch, event.seq, 1)[0]);
        }
        expect([...times.values()].every((n) => n === 1)).toBe(true);
        for (const id of acknowledged) expect(times.has(id)).toBe(true);
        for (const id of times.keys()) expect(sent.has(id)).toBe(true);
        expect(logTotals(store).events).toBe(inLog.length);
        expect(devices.reduce((sum, device) => sum + coverage(store, device).stored, 0)).toBe(inLog.length);
      } finally {
        for (const one of [...dead, store]) one[Symbol.dispose]();
        rmSync(dir, { recursive: true, force: true });
      }
    }),
    { numRuns: 60 },
  );
}, 60_000);
