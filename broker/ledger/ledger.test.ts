import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeBatch } from "@picket/protocol/batch";
import type { SensorEvent } from "@picket/protocol/event";
import type { OnlineStatus } from "@picket/protocol/status";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createIngest } from "../ingest/ingest.ts";
import type { Store } from "../store/database.ts";
import { addDevice } from "../store/devices.ts";
import { coverageOf, ledgerHours, ledgerTotals, terms } from "../store/ledger.ts";
import { coverage, forgetEpochs, reportEpochs } from "../store/received.ts";
import { openStore } from "../store/schema.ts";
import { BOOT, makeStatus } from "../testing/site.ts";
import { Ledger } from "./ledger.ts";

const HOUR = 3600_000;
const START = 500_000 * HOUR;
const device = "gw-1";

/** A site with one device, whose every step the test takes itself. */
function setup(store: Store) {
  const clock = { nowMs: START };
  const site = { ledger: new Ledger(store) };
  addDevice(store, device, START);
  const ingest = createIngest({
    ...{ store, nowMs: () => clock.nowMs, disk: { room: () => undefined, failed: () => {} }, taken: () => {} },
    stored: (batch) => site.ledger.stored(batch),
    deadLetter: (of, _reason, _topic, payload) => {
      site.ledger.refused(of, payload, clock.nowMs);
      return () => {};
    },
  });
  const beat = async (epoch: string, changes: Partial<OnlineStatus> = {}) => {
    const status = makeStatus(epoch, { timeMs: clock.nowMs, uptimeS: (clock.nowMs - START) / 1000 + 3600, ...changes });
    return store.commitSoon(() => {
      reportEpochs(store, { ...status, device, held: status.epochs, nowMs: clock.nowMs });
      return site.ledger.heartbeat(device, status, clock.nowMs);
    });
  };
  const batch = (epoch: string, first: number, timesMs: readonly number[], of: { oldest?: number; boot?: string; lost?: number } = {}) =>
    Buffer.from(encodeBatch({ boot: of.boot ?? BOOT, oldest: of.oldest ?? 0, events: eventsAt(epoch, first, timesMs, of.lost) }));
  const send = async (...of: Parameters<typeof batch>) => ingest.events(device, batch(...of));
  const totals = () => {
    const { ratio: _, evictedHit: _hit, evictedResult: _result, ...rest } = ledgerTotals(store, device);
    return rest;
  };
  const hours = () => Object.fromEntries(ledgerHours(store, device, 0).map((hour) => [(hour.hourMs - START) / HOUR, hour]));
  return { clock, site, ingest, beat, batch, send, totals, hours };
}

/** With `lost`, the first event tells of so many dropped in the kernel. */
const eventsAt = (epoch: string, first: number, timesMs: readonly number[], lost?: number): SensorEvent[] =>
  timesMs.map((timeMs, at) => ({
    ...{ v: 1 as const, device, epoch, seq: first + at, timeMs },
    ...(at === 0 && lost !== undefined
      ? { type: "sensor.lost" as const, body: { collector: "file", count: lost, where: "kernel" as const } }
      : { type: "log.line" as const, body: { source: "test", message: 'says "timeMs":99999999999999 and \\"timeMs\\":1' } }),
  }));
const at = (timeMs: number, count: number) => Array.from({ length: count }, () => timeMs);

const zero = { caused: 0, stored: 0, kernel: 0, shed: 0, evicted: 0, power: 0, refused: 0, unexplained: 0, waiting: 0 };

/** What must hold whatever happened. */
function mustAddUp(store: Store) {
  const all = ledgerTotals(store, device);
  const hours = ledgerHours(store, device, 0);
  for (const term of [...terms, "caused" as const])
    expect(
      hours.reduce((sum, hour) => sum + hour[term], 0),
      term,
    ).toBe(all[term]);
  for (const row of [all, ...hours]) {
    expect(row.caused).toBe(row.stored + row.kernel + row.shed + row.evicted + row.power + row.refused + row.unexplained + row.waiting);
    for (const term of terms) expect(row[term]).toBeGreaterThanOrEqual(0);
  }
  const waiting = store.db.query<{ n: number }, []>("SELECT COALESCE(SUM(count), 0) AS n FROM ledger_waiting").get()!.n;
  expect(waiting).toBe(all.waiting);
  for (const one of ["guessedKernel", "guessedShed"] as const)
    expect(store.db.query(`SELECT 1 FROM ledger_hours WHERE ${one} < 0 OR ${one} > ${one.slice(7).toLowerCase()}`).get()).toBeNull();
}

test("what a connected device causes stands under the hour it was caused in, and each loss under its term", async () => {
  using store = openStore(":memory:");
  const { clock, site, beat, send, totals, hours } = setup(store);
  await beat("epoch000", { produced: 10, epochs: [["epoch000", 0, 10]] });
  expect(totals()).toEqual({ ...zero, caused: 10, waiting: 10 });
  await send("epoch000", 0, at(START, 8));
  await site.ledger.flush();
  expect(totals()).toEqual({ ...zero, caused: 10, stored: 8, waiting: 2 });
  clock.nowMs += HOUR;
  const lost = { kernel: 5, shed: 3, buffer: 4 };
  const bufferLost = { by: { plain: 3, hit: 1, result: 0 }, epochs: [["epoch000", 4, 0] as [string, number, number]] };
  await beat("epoch000", { produced: 20, epochs: [["epoch000", 20, 20]], lost, bufferLost });
  await send("epoch000", 12, at(clock.nowMs, 8), { oldest: 20 });
  await site.ledger.flush();
  expect(totals()).toEqual({ ...zero, caused: 28, stored: 16, kernel: 5, shed: 3, evicted: 4 });
  expect(hours()).toMatchObject({ 0: { stored: 8, evicted: 4 }, 1: { stored: 8 } });
  expect(ledgerTotals(store, device)).toMatchObject({ evictedHit: 1, evictedResult: 0 });
  mustAddUp(store);
});

test("what came a day late corrects the hours it belongs to, to the event", async () => {
  using store = openStore(":memory:");
  const { clock, site, beat, send, totals, hours } = setup(store);
  await beat("epoch000");
  // Off line for 24 hours: 10 events in each of the first 12, 90 in the last, 40 dropped in the kernel in hour 6.
  clock.nowMs = START + 24 * HOUR - 1;
  const epochs: [string, number, number][] = [["epoch000", 0, 210]];
  await beat("epoch000", { produced: 210, epochs, lost: { kernel: 40, shed: 0, buffer: 0 } });
  expect(totals()).toEqual({ ...zero, caused: 250, kernel: 40, waiting: 210 });
  expect(Object.keys(hours())).toHaveLength(24);
  mustAddUp(store);
  for (let hour = 0; hour < 12; hour++) await send("epoch000", hour * 10, at(START + hour * HOUR + 5, 10), hour === 6 ? { lost: 40 } : {});
  await send("epoch000", 120, at(START + 23 * HOUR + 5, 90));
  await site.ledger.flush();
  expect(totals()).toEqual({ ...zero, caused: 250, kernel: 40, stored: 210 });
  const found = hours();
  for (let hour = 0; hour < 12; hour++) expect(found[hour]).toMatchObject({ stored: 10, kernel: hour === 6 ? 40 : 0, waiting: 0 });
  for (let hour = 12; hour < 23; hour++) expect(found[hour]).toBeUndefined();
  expect(found[23]).toMatchObject({ stored: 90, ratio: 1 });
  mustAddUp(store);
});

test("one batch over an hour's end is told apart by its events", async () => {
  using store = openStore(":memory:");
  const { clock, site, beat, send, hours } = setup(store);
  await beat("epoch000");
  clock.nowMs = START + HOUR + 10;
  await send("epoch000", 0, [...at(START + HOUR - 5, 3), ...at(START + HOUR + 5, 2)]);
  await site.ledger.flush();
  expect(hours()).toMatchObject({ 0: { stored: 3 }, 1: { stored: 2 } });
});

test("where the device's clock lies, the site's counts", async () => {
  using store = openStore(":memory:");
  const { clock, site, beat, send, hours } = setup(store);
  // Three hours slow; then a boot without a clock, which began two hours ago; then one from the future.
  clock.nowMs = START + 10 * HOUR;
  await beat("epoch000", { timeMs: clock.nowMs - 3 * HOUR });
  await send("epoch000", 0, at(clock.nowMs - 4 * HOUR, 2));
  const boot = "22222222-2222-4333-8444-555555555555";
  await beat("epoch111", { boot, timeMs: clock.nowMs, uptimeS: 7200 });
  await send("epoch111", 0, at(5_000, 3), { boot });
  await send("epoch111", 3, at(clock.nowMs + 50 * HOUR, 4), { boot });
  await site.ledger.flush();
  expect(hours()).toMatchObject({ 9: { stored: 2 }, 8: { stored: 3 }, 10: { stored: 4 } });
});

test("what the agent counts late is not called unexplained, and what nobody ever counts is", async () => {
  using store = openStore(":memory:");
  const { clock, site, beat, send, totals } = setup(store);
  await send("epoch000", 0, at(START, 5));
  await site.ledger.flush();
  const held: [string, number, number][] = [["epoch000", 9, 9]];
  const news = await beat("epoch000", { produced: 9, epochs: held });
  expect(news).toMatchObject({ fresh: 0 });
  clock.nowMs += 15_000;
  const bufferLost = { by: { plain: 3, hit: 0, result: 0 }, epochs: [["epoch000", 3, 0] as [string, number, number]] };
  await beat("epoch000", { produced: 9, epochs: held, bufferLost });
  expect(totals()).toMatchObject({ evicted: 3, unexplained: 1 });
  await beat("epoch000", { produced: 9, epochs: held, bufferLost: { ...bufferLost, epochs: [["epoch000", 4, 0]] } });
  expect(totals()).toMatchObject({ evicted: 4, unexplained: 0 });
  mustAddUp(store);
});

test("what was given up and comes after all is stored, and lost no more", async () => {
  using store = openStore(":memory:");
  const { clock, site, beat, send, totals } = setup(store);
  const held: [string, number, number][] = [["epoch000", 9, 9]];
  for (let n = 0; n < 3; n++, clock.nowMs += 15_000) await beat("epoch000", { produced: 9, epochs: held });
  expect(totals()).toEqual({ ...zero, caused: 9, unexplained: 9 });
  await send("epoch000", 2, at(START, 4));
  await site.ledger.flush();
  expect(totals()).toEqual({ ...zero, caused: 9, stored: 4, unexplained: 5 });
  mustAddUp(store);
});

test("after a loss of power what is missing is lost with it, at most as much as the device says", async () => {
  using store = openStore(":memory:");
  const { clock, site, beat, send, totals } = setup(store);
  await send("epoch000", 0, at(START, 10));
  await site.ledger.flush();
  const epochs: [string, number, number][] = [
    ["epoch000", 50, 50],
    ["epoch111", 0, 0],
  ];
  const bufferLost = { by: { plain: 0, hit: 0, result: 0 }, epochs: [["epoch000", 0, 30] as [string, number, number]] };
  for (let n = 0; n < 2; n++, clock.nowMs += 15_000) await beat("epoch111", { epochs, bufferLost });
  expect(totals()).toEqual({ ...zero, caused: 50, stored: 10, power: 30, unexplained: 10 });
});

test("a refused batch is refused once, also when it comes again, and is nobody's unexplained hole", async () => {
  using store = openStore(":memory:");
  const { clock, site, ingest, beat, batch, send, totals } = setup(store);
  await beat("epoch000", { produced: 10, epochs: [["epoch000", 0, 10]] });
  const broken = batch("epoch000", 0, at(START, 4));
  broken[broken.length - 3]! ^= 0xff;
  await ingest.events(device, broken);
  await ingest.events(device, broken);
  await ingest.events(device, Buffer.from("no header at all"));
  await send("epoch000", 4, at(START, 6));
  await site.ledger.flush();
  for (let n = 0; n < 3; n++, clock.nowMs += 15_000) await beat("epoch000", { produced: 10, epochs: [["epoch000", 10, 10]] });
  expect(totals()).toEqual({ ...zero, caused: 10, stored: 6, refused: 4 });
  mustAddUp(store);
});

test("a crash before the ledger was written: it is entered from the log, once", async () => {
  using store = openStore(":memory:");
  const { clock, site, beat, send, totals, hours } = setup(store);
  await beat("epoch000");
  await send("epoch000", 0, at(START, 5));
  await site.ledger.flush();
  clock.nowMs += 3 * HOUR;
  await send("epoch000", 5, at(START + HOUR, 7));
  // Killed here: what was not flushed is gone with the process.
  site.ledger = new Ledger(store);
  await site.ledger.recover();
  await site.ledger.recover();
  expect(totals()).toEqual({ ...zero, caused: 12, stored: 12 });
  expect(hours()).toMatchObject({ 0: { stored: 5 }, 1: { stored: 7 } });
  mustAddUp(store);
});

test("a disk that refuses the ledger loses nothing of it", async () => {
  using store = openStore(":memory:");
  const { site, send, totals } = setup(store);
  await send("epoch000", 0, at(START, 5));
  store.db.run("PRAGMA query_only = 1");
  const refused = site.ledger.flush();
  await expect(refused).rejects.toThrow(/readonly/);
  store.db.run("PRAGMA query_only = 0");
  await send("epoch000", 5, at(START, 2));
  await site.ledger.flush();
  expect(totals()).toEqual({ ...zero, caused: 7, stored: 7 });
});

test("a device that claims everything keeps sums exact, and other devices apart", async () => {
  using store = openStore(":memory:");
  const { clock, site, beat, send, totals } = setup(store);
  const most = Number.MAX_SAFE_INTEGER;
  await send("epoch000", 0, at(START, 5));
  await site.ledger.flush();
  for (let n = 0; n < 5; n++, clock.nowMs += 15_000)
    await beat(`epoch00${n}`, {
      ...{ produced: most, uptimeS: most, timeMs: most, lost: { kernel: most, shed: most, buffer: most } },
      epochs: [[`epoch00${n}`, most, most]],
      bufferLost: { by: { plain: most, hit: most, result: most }, epochs: [[`epoch00${n}`, most, most]] },
    });
  await send("epoch000", most - 3, at(0, 2));
  await site.ledger.flush();
  // As many numbers as five runs can have, and what one report can tell of, twice in each.
  expect(totals().caused).toBeGreaterThan(5 * 2 ** 36);
  expect(totals().caused).toBeLessThan(20 * 2 ** 40);
  mustAddUp(store);
});

test("hours older than the ledger become one sum, and what waits of a forgotten epoch is unexplained", async () => {
  using store = openStore(":memory:");
  const { clock, site, beat, send, totals, hours } = setup(store);
  await beat("epoch000", { produced: 9, epochs: [["epoch000", 0, 9]] });
  await send("epoch000", 0, at(START, 4));
  await site.ledger.flush();
  clock.nowMs = START + 500 * 24 * HOUR;
  const before = totals();
  await site.ledger.trim(clock.nowMs);
  expect(totals()).toEqual(before);
  expect(Object.keys(hours())).toEqual([String(-START / HOUR)]);
  mustAddUp(store);
  forgetEpochs(store, clock.nowMs);
  await site.ledger.trim(clock.nowMs);
  expect(totals()).toEqual({ ...zero, caused: 9, stored: 4, unexplained: 5 });
  mustAddUp(store);
});

test("a site that is older than its ledger begins with what it knew", async () => {
  const dir = mkdtempSync(join(tmpdir(), "pkledger-"));
  try {
    const path = join(dir, "site.db");
    {
      using store = openStore(path);
      const { beat, send } = setup(store);
      await send("epoch000", 0, at(START, 10));
      await send("epoch000", 15, at(START, 5), { oldest: 15 });
      await beat("epoch000", { epochs: [["epoch000", 18, 30]], lost: { kernel: 7, shed: 1, buffer: 2 } });
      for (const table of ["hours", "devices", "epochs", "waiting", "cursor"]) store.db.run(`DROP TABLE ledger_${table}`);
      store.db.run("DELETE FROM schema_version WHERE part = 'ledger'");
    }
    using store = openStore(path);
    const { stored, lost, ratio } = coverage(store, device);
    expect(coverageOf(store, device)).toEqual({ stored, lost, ratio });
    expect(ledgerTotals(store, device)).toMatchObject({ stored: 15, kernel: 7, shed: 1, evicted: 2, unexplained: 3, waiting: 10 });
    mustAddUp(store);
    await new Ledger(store).recover();
    expect(coverageOf(store, device)).toEqual({ stored, lost, ratio });
  } finally {
    rmSync(dir, { recursive: true });
  }
});

type Step =
  | { readonly kind: "cause" | "drop" | "evict" | "vanish" | "send" | "refuse" | "hours"; readonly n: number }
  | { readonly kind: "beat" | "again" | "restart" | "crash" };
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constantFrom("cause", "send"), n: fc.integer({ min: 1, max: 60 }) }),
  fc.record({ kind: fc.constantFrom("drop", "evict", "vanish", "refuse", "hours"), n: fc.integer({ min: 1, max: 9 }) }),
  fc.record({ kind: fc.constantFrom("beat", "again", "restart", "crash") }),
);

test("whatever happens in whatever order: it adds up at every step, and in the end each event is found under what became of it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      using store = openStore(":memory:");
      const { clock, site, ingest, beat, batch, totals, hours } = setup(store);
      type One = { readonly epoch: string; readonly seq: number; readonly timeMs: number; readonly lost?: number };
      const truth = { stored: 0, kernel: 0, evicted: 0, refused: 0, unexplained: 0 };
      const storedIn = new Map<number, number>();
      let held: One[] = [];
      let run = 0;
      const epochOf = (of: number) => `epoch${String(of).padStart(3, "0")}`;
      const next = [0];
      const evicted = [0];
      const kernel = [0];
      let last = Buffer.alloc(0);
      const report = () => {
        const epochs = next.map((end, of): [string, number, number] => [
          epochOf(of),
          Math.min(end, ...held.filter(({ epoch }) => epoch === epochOf(of)).map(({ seq }) => seq)),
          end,
        ]);
        const by = { plain: evicted.reduce((a, b) => a + b, 0), hit: 0, result: 0 };
        const bufferLost = { by, epochs: evicted.map((count, of): [string, number, number] => [epochOf(of), count, 0]) };
        return beat(epochOf(run), { produced: next[run]!, lost: { kernel: kernel[run]!, shed: 0, buffer: 0 }, epochs, bufferLost });
      };
      /** The oldest that are of one epoch, at most so many. */
      const take = (n: number): One[] => {
        // What tells of loss is the last that a device lets go of: here it never does, and goes alone.
        const first = held[0]!;
        const end = held.findIndex(({ epoch, lost }) => epoch !== first.epoch || lost !== undefined);
        const taken = held.slice(0, first.lost === undefined ? Math.min(n, end < 0 ? n : end) : 1);
        held = held.slice(taken.length);
        return taken;
      };
      const pack = (ones: readonly One[]) =>
        batch(
          ones[0]!.epoch,
          ones[0]!.seq,
          ones.map(({ timeMs }) => timeMs),
          { oldest: ones[0]!.seq, ...(ones[0]!.lost === undefined ? {} : { lost: ones[0]!.lost }) },
        );
      const send = async (ones: readonly One[]) => {
        last = pack(ones);
        await ingest.events(device, last);
        truth.stored += ones.length;
        for (const { timeMs } of ones)
          storedIn.set(Math.floor((timeMs - START) / HOUR), (storedIn.get(Math.floor((timeMs - START) / HOUR)) ?? 0) + 1);
      };
      const contiguous = (ones: readonly One[]) => ones.filter(({ seq }, index) => seq === ones[0]!.seq + index);
      for (const one of [{ kind: "beat" } as const, ...steps]) {
        clock.nowMs += 1000;
        const some = held.length > 0 && held[0]!.lost === undefined;
        if (one.kind === "cause")
          for (let n = 0; n < one.n; n++) held.push({ epoch: epochOf(run), seq: next[run]!++, timeMs: clock.nowMs });
        else if (one.kind === "drop") {
          kernel[run]! += one.n;
          truth.kernel += one.n;
          held.push({ epoch: epochOf(run), seq: next[run]!++, timeMs: clock.nowMs, lost: one.n });
        } else if (one.kind === "hours") clock.nowMs += one.n * HOUR;
        else if (one.kind === "evict" && some) {
          const gone = take(one.n);
          evicted[next.findIndex((_, of) => epochOf(of) === gone[0]!.epoch)]! += gone.length;
          truth.evicted += gone.length;
        } else if (one.kind === "vanish" && some) truth.unexplained += take(one.n).length;
        else if (one.kind === "send" && held.length > 0) await send(contiguous(take(one.n)));
        else if (one.kind === "refuse" && some) {
          // A refusal before the site has heard of an epoch cannot be told from an invented one.
          await report();
          const ones = take(one.n);
          const broken = pack(ones);
          broken[broken.length - 3]! ^= 0xff;
          await ingest.events(device, broken);
          truth.refused += ones.length;
        } else if (one.kind === "again" && last.length > 0) await ingest.events(device, last);
        else if (one.kind === "beat") await report();
        else if (one.kind === "restart") {
          run++;
          for (const of of [next, evicted, kernel]) of.push(0);
        } else if (one.kind === "crash") {
          site.ledger = new Ledger(store);
          await site.ledger.recover();
        }
        mustAddUp(store);
      }
      // Back on line: all is sent, and told.
      await report();
      while (held.length > 0) await send(take(50));
      for (let n = 0; n < 3; n++, clock.nowMs += 15_000) await report();
      await site.ledger.flush();
      mustAddUp(store);
      const caused = next.reduce((a, b) => a + b, 0) + truth.kernel;
      expect(totals()).toEqual({ ...zero, ...truth, caused });
      const found = Object.entries(hours()).flatMap(([hour, { stored }]) => (stored > 0 ? [[Number(hour), stored]] : []));
      expect(new Map(found as [number, number][])).toEqual(storedIn);
    }),
    { numRuns: 60 },
  );
});

test("the hours of a year, each told again and again by one device, are looked up once a flush", async () => {
  using store = openStore(":memory:");
  const { clock, site, beat, send, totals } = setup(store);
  const YEAR = 19;
  const uptimeS = 400 * 86_400;
  await beat("epoch000", { uptimeS });
  const inHours = (first: number) => Array.from({ length: 500 }, (_, at) => START - (first + at) * HOUR + 1);
  for (let at = 0; at < YEAR; at++) await send("epoch000", at * 500, inHours(at * 500));
  await site.ledger.flush();
  mustAddUp(store);
  // Loss it guessed, told again event by event; and numbers it had given up, which arrive after all, each in another hour.
  const end = YEAR * 1000;
  await beat("epoch000", {
    ...{ uptimeS, produced: end, epochs: [["epoch000", end, end]], lost: { kernel: 1000, shed: 0, buffer: YEAR * 500 } },
    bufferLost: { by: { plain: YEAR * 500, hit: 0, result: 0 }, epochs: [["epoch000", YEAR * 500, 0]] },
  });
  expect(totals()).toMatchObject({ stored: YEAR * 500, kernel: 1000, evicted: YEAR * 500, waiting: 0 });
  clock.nowMs += 1000;
  for (let at = 0; at < YEAR; at++) await send("epoch000", (YEAR + at) * 500, inHours(at * 500), { lost: 50 });
  const query = store.db.query.bind(store.db);
  let lookups = 0;
  store.db.query = ((sql: string) => {
    if (sql.startsWith("SELECT hour")) lookups++;
    return query(sql);
  }) as typeof store.db.query;
  await site.ledger.flush();
  // It was once for each hour and message, with all hours sorted each time: the broker stood still for 22 s.
  expect(lookups).toBeLessThan(10);
  expect(totals()).toMatchObject({ stored: YEAR * 1000, kernel: 1000, evicted: 0, waiting: 0 });
  mustAddUp(store);
}, 60_000);

test("a thousand epochs that were made up and forgotten are given up in pieces, and all of them", async () => {
  using store = openStore(":memory:");
  const { site, send, clock } = setup(store);
  for (let at = 0; at < 1000; at++) await send(`e${String(at).padStart(7, "0")}`, 5, [START]);
  await site.ledger.flush();
  const count = () => store.db.query<{ n: number }, []>("SELECT COUNT(*) AS n FROM ledger_epochs").get()!.n;
  expect(count()).toBe(1000);
  await site.ledger.trim(clock.nowMs);
  expect(count()).toBe(512);
  mustAddUp(store);
}, 60_000);

test("what a thief claims in a device's name does not make its later losses silent", async () => {
  using store = openStore(":memory:");
  const { clock, beat, totals } = setup(store);
  const most = Number.MAX_SAFE_INTEGER;
  await beat("thief000", { epochs: [["thief000", 0, most]] });
  await beat("thief001", { epochs: [["thief001", 0, most]], lost: { kernel: most, shed: most, buffer: 0 } });
  mustAddUp(store);
  // The device again, after the thief, whose runs it knows nothing of: its own loss is told, now and later.
  const honest = { produced: 70, epochs: [["honest00", 70, 70]] as [string, number, number][], lost: { kernel: 500, shed: 0, buffer: 0 } };
  for (let n = 0; n < 5; n++, clock.nowMs += 15_000) await beat("honest00", honest);
  expect(totals()).toMatchObject({ kernel: 2 ** 40 + 500, unexplained: 2 * 2 ** 36 + 70, waiting: 0 });
  clock.nowMs += HOUR;
  expect(await beat("honest00", { ...honest, lost: { ...honest.lost, kernel: 600 } })).toMatchObject({
    kernel: 100,
    unexplained: 0,
    fresh: 100,
  });
  mustAddUp(store);
});
