// Which sequence numbers of each (device, epoch) the broker has ever stored, as intervals, and what it knows to be lost. Outlives the log itself.
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const receivedMigrations: Migrations = [
  `
  CREATE TABLE received (
    device TEXT NOT NULL,
    epoch TEXT NOT NULL,
    first INTEGER NOT NULL,
    next INTEGER NOT NULL,
    PRIMARY KEY (device, epoch, first)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE epochs (
    device TEXT NOT NULL,
    epoch TEXT NOT NULL,
    boot TEXT NOT NULL DEFAULT '',
    firstMs INTEGER NOT NULL,
    lastMs INTEGER NOT NULL,
    -- Events stored, as sequence numbers received for the first time.
    stored INTEGER NOT NULL DEFAULT 0,
    -- Below this the device holds nothing more: what is missing there is lost.
    floor INTEGER NOT NULL DEFAULT 0,
    -- The highest end of the epoch a heartbeat named; 0 before one did.
    next INTEGER NOT NULL DEFAULT 0,
    lostKernel INTEGER NOT NULL DEFAULT 0,
    lostShed INTEGER NOT NULL DEFAULT 0,
    lostBuffer INTEGER NOT NULL DEFAULT 0,
    holes INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (device, epoch)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- Sums of the epochs that were forgotten, so that a device's coverage does not change with it.
  CREATE TABLE epochs_forgotten (device TEXT PRIMARY KEY, stored INTEGER NOT NULL, lost INTEGER NOT NULL) STRICT;
  CREATE INDEX epochs_by_age ON epochs (device, lastMs);
  `,
  `
  -- Rows of the epoch in \`received\`.
  ALTER TABLE epochs ADD COLUMN intervals INTEGER NOT NULL DEFAULT 0;
  UPDATE epochs SET intervals = (SELECT COUNT(*) FROM received r WHERE r.device = epochs.device AND r.epoch = epochs.epoch);
  `,
  `
  -- Numbers the device cannot vouch for after a loss of power: lost, or stored, or never used. Holes they explain are counted, as a bound.
  ALTER TABLE epochs ADD COLUMN lostAtMost INTEGER NOT NULL DEFAULT 0;
  `,
];

/** Most epochs kept of one device. An agent makes one a start; a stolen device that invents them must not make every look-up slow. */
const MAX_EPOCHS = 512;
/** Most intervals kept of one device. Events that overtake leave a gap each, and at most half of a full buffer can; a stolen device could leave one with every number. */
const MAX_INTERVALS = 1 << 18;

/** Numbers of one epoch with so many gaps that keeping them would fill the disk. No agent counts like that. */
export class TooScattered extends Error {
  override name = "TooScattered";
}

/** [first seq, count], as in a batch header. */
export type Run = readonly [number, number];
/** Lost events of an epoch. An eviction on the device leaves a hole here too: the two are counted once. */
const LOST = "lostKernel + lostShed + MAX(lostBuffer, holes)";
/** A device may claim any loss, in every epoch: sums stop here, where they are still exact in JSON. An overflow would hide the whole site's devices. */
const MAX_SUM = String(Number.MAX_SAFE_INTEGER);
type Interval = { readonly first: number; readonly next: number };

/** Rows read at once: nearly always there are one or two, and an iterator costs five times as much. */
const PAGE = 4;
const selectBelow = `SELECT first, next FROM received WHERE device = ? AND epoch = ? AND first <= ? ORDER BY first DESC LIMIT ${PAGE}`;

/** Intervals that touch or overlap [first, next], highest first. */
function touching(store: Store, device: string, epoch: string, run: Interval): Interval[] {
  const found: Interval[] = [];
  for (let highest = run.next; ; highest = found.at(-1)!.first - 1) {
    const rows = store.db.query<Interval, [string, string, number]>(selectBelow).all(device, epoch, highest);
    for (const row of rows) {
      // Intervals never overlap, so the first one that ends too early ends the search.
      if (row.next < run.first) return found;
      found.push(row);
    }
    if (rows.length < PAGE) return found;
  }
}

/** Most epochs whose last interval is remembered: one for each device that is connected, and room. */
const MAX_REMEMBERED = 10_000;

/** The highest interval of an epoch, remembered: an epoch that goes on, as nearly all do, needs no look at the table. */
const highest = (store: Store, device: string, epoch: string) =>
  store.remembered.get(`received ${device} ${epoch}`) as Interval | undefined;

function rememberHighest(store: Store, device: string, epoch: string, interval: Interval | undefined): void {
  const name = `received ${device} ${epoch}`;
  if (!interval) store.remembered.delete(name);
  else {
    if (store.remembered.size >= MAX_REMEMBERED) store.remembered.clear();
    store.remembered.set(name, interval);
  }
}

/** The parts of `runs` that were never stored. Empty: the batch is a repetition. */
export function unknownRuns(store: Store, device: string, epoch: string, runs: readonly Run[]): Run[] {
  const last = highest(store, device, epoch);
  if (last && runs[0] && runs[0][0] >= last.next) return [...runs];
  const unknown: Run[] = [];
  for (const [first, count] of runs) {
    let at = first;
    for (const have of touching(store, device, epoch, { first, next: first + count }).reverse()) {
      if (have.first > at) unknown.push([at, Math.min(have.first, first + count) - at]);
      at = Math.max(at, have.next);
    }
    if (at < first + count) unknown.push([at, first + count - at]);
  }
  return unknown.filter(([, count]) => count > 0);
}

/** Marks runs as stored; call in the transaction that stores them. `oldest` is the header's: the device holds nothing below. Throws `TooScattered`. */
export function markReceived(
  store: Store,
  of: { device: string; epoch: string; boot: string; runs: readonly Run[]; oldest: number; nowMs: number },
): void {
  const { device, epoch } = of;
  let added = 0;
  let intervals = 0;
  for (const run of of.runs) {
    intervals += join(store, device, epoch, run);
    added += run[1];
  }
  const known = store.db
    .query(
      `UPDATE epochs SET boot = $boot, lastMs = $nowMs, stored = stored + $added, floor = MAX(floor, $oldest), intervals = intervals + $intervals
       WHERE device = $device AND epoch = $epoch`,
    )
    .run({ device, epoch, boot: of.boot, nowMs: of.nowMs, added, oldest: of.oldest, intervals }).changes;
  if (known === 0) {
    store.db
      .query(
        `INSERT INTO epochs (device, epoch, boot, firstMs, lastMs, stored, floor, intervals)
         VALUES ($device, $epoch, $boot, $nowMs, $nowMs, $added, $oldest, $intervals)`,
      )
      .run({ device, epoch, boot: of.boot, nowMs: of.nowMs, added, oldest: of.oldest, intervals });
    boundEpochs(store, device);
  }
  if (intervals > 0) boundIntervals(store, device, epoch);
}

/** Adds a run to what is there. Returns by how much the number of intervals grew. */
function join(store: Store, device: string, epoch: string, [start, count]: Run): number {
  const next = start + count;
  const last = highest(store, device, epoch);
  if (last && start >= last.next) {
    const joins = start === last.next;
    if (joins)
      store.db.query("UPDATE received SET next = ? WHERE device = ? AND epoch = ? AND first = ?").run(next, device, epoch, last.first);
    else store.db.query("INSERT INTO received VALUES (?, ?, ?, ?)").run(device, epoch, start, next);
    rememberHighest(store, device, epoch, { first: joins ? last.first : start, next });
    return joins ? 0 : 1;
  }
  const grown = insert(store, device, epoch, start, next);
  const top = store.db
    .query<Interval, [string, string]>("SELECT first, next FROM received WHERE device = ? AND epoch = ? ORDER BY first DESC LIMIT 1")
    .get(device, epoch);
  rememberHighest(store, device, epoch, top ?? undefined);
  return grown;
}

function insert(store: Store, device: string, epoch: string, start: number, next: number): number {
  const have = touching(store, device, epoch, { first: start, next });
  const [lowest] = have.slice(-1);
  if (lowest && lowest.first <= start) {
    // The usual case, an epoch that goes on: one row changes in place.
    for (const { first } of have.slice(0, -1)) remove(store, device, epoch, first);
    store.db
      .query("UPDATE received SET next = ? WHERE device = ? AND epoch = ? AND first = ?")
      .run(Math.max(next, have[0]!.next), device, epoch, lowest.first);
    return 1 - have.length;
  }
  for (const { first } of have) remove(store, device, epoch, first);
  store.db.query("INSERT INTO received VALUES (?, ?, ?, ?)").run(device, epoch, start, Math.max(next, have[0]?.next ?? 0));
  return 1 - have.length;
}

const remove = (store: Store, device: string, epoch: string, first: number) =>
  store.db.query("DELETE FROM received WHERE device = ? AND epoch = ? AND first = ?").run(device, epoch, first);

/** What a heartbeat says of the epochs a device still holds, and of its losses in the current one. */
export type EpochReport = {
  readonly device: string;
  readonly epoch: string;
  readonly boot: string;
  readonly lost: { readonly kernel: number; readonly shed: number; readonly buffer: number };
  readonly held: readonly (readonly [epoch: string, oldest: number, next: number])[];
  /** Of the losses of the buffer, how many were numbered in which epoch; absent from agents that do not tell. */
  readonly bufferLost?: { readonly epochs: readonly (readonly [epoch: string, lost: number, atMost: number])[] } | undefined;
  readonly nowMs: number;
};

/** Takes a heartbeat in and judges holes anew; call inside `commitSoon`. Returns the device's coverage. */
export function reportEpochs(store: Store, report: EpochReport): Coverage {
  const known = store.db.query<{ epoch: string }, [string]>("SELECT epoch FROM epochs WHERE device = ?").all(report.device);
  const held = new Map(report.held.map(([epoch, oldest, next]) => [epoch, { oldest, next }]));
  for (const [epoch, { oldest, next }] of held) raiseFloor(store, report, epoch, oldest, next);
  for (const { epoch } of known) {
    // Gone from the device's buffer and finished: everything it ever numbered there was acknowledged or evicted.
    if (!held.has(epoch) && epoch !== report.epoch)
      store.db.query("UPDATE epochs SET floor = MAX(floor, next) WHERE device = ? AND epoch = ?").run(report.device, epoch);
  }
  store.db
    .query(
      `INSERT INTO epochs (device, epoch, boot, firstMs, lastMs, lostKernel, lostShed, lostBuffer) VALUES ($device, $epoch, $boot, $nowMs, $nowMs, $kernel, $shed, $buffer)
       ON CONFLICT DO UPDATE SET lastMs = excluded.lastMs, lostKernel = MAX(lostKernel, excluded.lostKernel),
         lostShed = MAX(lostShed, excluded.lostShed), lostBuffer = MAX(lostBuffer, excluded.lostBuffer)`,
    )
    .run({
      device: report.device,
      epoch: report.epoch,
      boot: report.boot,
      nowMs: report.nowMs,
      ...report.lost,
      // What this run evicted of an earlier one is a hole there: here it would count twice.
      ...(report.bufferLost && { buffer: 0 }),
    });
  for (const [epoch, lost, atMost] of report.bufferLost?.epochs ?? [])
    store.db
      .query("UPDATE epochs SET lostBuffer = MAX(lostBuffer, ?), lostAtMost = MAX(lostAtMost, ?) WHERE device = ? AND epoch = ?")
      .run(lost, atMost, report.device, epoch);
  boundEpochs(store, report.device);
  judgeHoles(store, report.device);
  return coverage(store, report.device);
}

function raiseFloor(store: Store, report: EpochReport, epoch: string, oldest: number, next: number): void {
  store.db
    .query(
      `INSERT INTO epochs (device, epoch, firstMs, lastMs, floor, next) VALUES ($device, $epoch, $nowMs, $nowMs, $oldest, $next)
       ON CONFLICT DO UPDATE SET floor = MAX(floor, excluded.floor), next = MAX(next, excluded.next)`,
    )
    .run({ device: report.device, epoch, nowMs: report.nowMs, oldest, next });
}

function judgeHoles(store: Store, device: string): void {
  store.db
    .query(
      `UPDATE epochs SET holes = MAX(0, floor - (
         SELECT COALESCE(SUM(MIN(next, epochs.floor) - first), 0) FROM received
         WHERE received.device = epochs.device AND received.epoch = epochs.epoch AND first < epochs.floor))
       WHERE device = ? AND floor > 0`,
    )
    .run(device);
}

/**
 * Events of a device: stored, and known to be lost. `unexplained` were numbered by the device but neither arrived nor were reported lost.
 * `atMost`, a part of `lost`, is a bound: after a loss of power the device does not know how far it had counted.
 */
export type Coverage = {
  readonly stored: number;
  readonly lost: number;
  readonly ratio: number;
  readonly unexplained: number;
  readonly atMost: number;
};

export function coverage(store: Store, device: string): Coverage {
  const row = store.db
    .query<{ stored: number; lost: number; unexplained: number; atMost: number }, { device: string }>(
      `SELECT MIN(TOTAL(stored), ${MAX_SUM}) AS stored, MIN(TOTAL(lost), ${MAX_SUM}) AS lost, MIN(TOTAL(unexplained), ${MAX_SUM}) AS unexplained,
         MIN(TOTAL(atMost), ${MAX_SUM}) AS atMost FROM (
         SELECT stored, ${LOST} AS lost, MAX(0, holes - lostBuffer - lostAtMost) AS unexplained, MIN(lostAtMost, MAX(0, holes - lostBuffer)) AS atMost
           FROM epochs WHERE device = $device
         UNION ALL SELECT stored, lost, 0, 0 FROM epochs_forgotten WHERE device = $device)`,
    )
    .get({ device })!;
  const all = row.stored + row.lost;
  return { ...row, ratio: all === 0 ? 1 : row.stored / all };
}

/** Forgets epochs nothing was heard of since `beforeMs`; their sums stay. Returns how many. */
export const forgetEpochs = (store: Store, beforeMs: number): number =>
  forget(store, store.db.query<Epoch, [number]>("SELECT device, epoch FROM epochs WHERE lastMs < ?").all(beforeMs));

type Epoch = { readonly device: string; readonly epoch: string };

/** Keeps the number of a device's epochs bounded: those heard of longest ago go. */
function boundEpochs(store: Store, device: string): void {
  const count = store.db.query<{ n: number }, [string]>("SELECT COUNT(*) AS n FROM epochs WHERE device = ?").get(device)!.n;
  if (count <= MAX_EPOCHS) return;
  const oldest = "SELECT device, epoch FROM epochs WHERE device = ? ORDER BY lastMs LIMIT ?";
  forget(store, store.db.query<Epoch, [string, number]>(oldest).all(device, count - MAX_EPOCHS));
}

/** Keeps a device's intervals bounded: other epochs go first, those heard of longest ago before others. Throws `TooScattered` when that is not enough. */
function boundIntervals(store: Store, device: string, current: string): void {
  const sum = store.db.query<{ n: number }, [string]>("SELECT SUM(intervals) AS n FROM epochs WHERE device = ?");
  const oldest = store.db.query<Epoch, [string, string]>(
    "SELECT device, epoch FROM epochs WHERE device = ? AND epoch <> ? AND intervals > 0 ORDER BY lastMs LIMIT 1",
  );
  while (sum.get(device)!.n > MAX_INTERVALS) {
    const other = oldest.get(device, current);
    if (!other) throw new TooScattered(`more than ${MAX_INTERVALS} gaps between the numbers of epoch ${current}`);
    forget(store, [other]);
  }
}

function forget(store: Store, epochs: readonly Epoch[]): number {
  for (const { device, epoch } of epochs) {
    rememberHighest(store, device, epoch, undefined);
    store.db
      .query(
        `INSERT INTO epochs_forgotten SELECT device, stored, MIN(${LOST}, ${MAX_SUM}) FROM epochs WHERE device = ? AND epoch = ?
         ON CONFLICT DO UPDATE SET stored = stored + excluded.stored, lost = MIN(lost + excluded.lost, ${MAX_SUM})`,
      )
      .run(device, epoch);
    store.db.query("DELETE FROM received WHERE device = ? AND epoch = ?").run(device, epoch);
    store.db.query("DELETE FROM epochs WHERE device = ? AND epoch = ?").run(device, epoch);
  }
  return epochs.length;
}
