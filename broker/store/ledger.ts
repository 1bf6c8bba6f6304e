// The loss ledger: for each device and hour, what became of everything the device caused. docs/ledger.md explains each term.
import type { LedgerHour, LedgerTerms } from "@picket/protocol/ledger";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

const MAX = String(Number.MAX_SAFE_INTEGER);
const capped = (sum: string) => `CAST(MIN(${sum}, ${MAX}) AS INTEGER)`;

export const ledgerMigrations: Migrations = [
  `
  CREATE TABLE ledger_hours (
    device TEXT NOT NULL,
    -- Hours since 1970; 0 holds what is older than the ledger.
    hour INTEGER NOT NULL,
    stored INTEGER NOT NULL DEFAULT 0,
    kernel INTEGER NOT NULL DEFAULT 0,
    shed INTEGER NOT NULL DEFAULT 0,
    evicted INTEGER NOT NULL DEFAULT 0,
    power INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0,
    unexplained INTEGER NOT NULL DEFAULT 0,
    waiting INTEGER NOT NULL DEFAULT 0,
    -- Of kernel and shed: told after hours of silence and spread over them, until an event says when it was.
    guessedKernel INTEGER NOT NULL DEFAULT 0,
    guessedShed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (device, hour)
  ) STRICT, WITHOUT ROWID;
  -- The sums of ledger_hours, written with them, and what turns a device's times into the site's.
  CREATE TABLE ledger_devices (
    device TEXT PRIMARY KEY,
    stored INTEGER NOT NULL DEFAULT 0,
    kernel INTEGER NOT NULL DEFAULT 0,
    shed INTEGER NOT NULL DEFAULT 0,
    evicted INTEGER NOT NULL DEFAULT 0,
    power INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0,
    unexplained INTEGER NOT NULL DEFAULT 0,
    waiting INTEGER NOT NULL DEFAULT 0,
    -- Of evicted: with hits, and results of orders.
    evictedHit INTEGER NOT NULL DEFAULT 0,
    evictedResult INTEGER NOT NULL DEFAULT 0,
    firstMs INTEGER NOT NULL DEFAULT 0,
    reportedMs INTEGER NOT NULL DEFAULT 0,
    boot TEXT NOT NULL DEFAULT '',
    bootedMs INTEGER NOT NULL DEFAULT 0,
    offsetMs INTEGER NOT NULL DEFAULT 0,
    -- Told by events and not yet by an alert.
    freshKernel INTEGER NOT NULL DEFAULT 0,
    freshShed INTEGER NOT NULL DEFAULT 0,
    -- Loss told in the alert of the current hour.
    told TEXT NOT NULL DEFAULT ''
  ) STRICT, WITHOUT ROWID;
  -- What of each epoch is in the ledger. numbered = stored + explained + what waits.
  CREATE TABLE ledger_epochs (
    device TEXT NOT NULL,
    epoch TEXT NOT NULL,
    numbered INTEGER NOT NULL DEFAULT 0,
    stored INTEGER NOT NULL DEFAULT 0,
    evicted INTEGER NOT NULL DEFAULT 0,
    power INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0,
    unexplained INTEGER NOT NULL DEFAULT 0,
    kernel INTEGER NOT NULL DEFAULT 0,
    shed INTEGER NOT NULL DEFAULT 0,
    -- Of the two before: what events told, which may be before a heartbeat does, or instead of it.
    eventsKernel INTEGER NOT NULL DEFAULT 0,
    eventsShed INTEGER NOT NULL DEFAULT 0,
    -- Of what the buffer evicted in this run, as told: with hits, and results.
    hits INTEGER NOT NULL DEFAULT 0,
    results INTEGER NOT NULL DEFAULT 0,
    -- Missing without a report, for the first time then: a report may follow.
    suspect INTEGER NOT NULL DEFAULT 0,
    suspectMs INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (device, epoch)
  ) STRICT, WITHOUT ROWID;
  -- Numbers that are neither stored nor lost, by the hour they were given out.
  CREATE TABLE ledger_waiting (
    device TEXT NOT NULL,
    epoch TEXT NOT NULL,
    hour INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (device, epoch, hour)
  ) STRICT, WITHOUT ROWID;
  -- Batches of the log below this are in the ledger.
  CREATE TABLE ledger_cursor (one INTEGER PRIMARY KEY CHECK (one = 1), offset INTEGER NOT NULL) STRICT;
  INSERT INTO ledger_cursor VALUES (1, COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'log'), 0) + 1);

  -- A site that is older than its ledger: all there was goes to hour 0.
  INSERT INTO ledger_epochs (device, epoch, numbered, stored, kernel, shed, evicted, unexplained)
    SELECT device, epoch, MAX(next, floor, COALESCE((SELECT MAX(r.next) FROM received r WHERE r.device = e.device AND r.epoch = e.epoch), 0)),
      stored, lostKernel, lostShed, lostBuffer, MAX(0, holes - lostBuffer) FROM epochs e;
  UPDATE ledger_epochs SET numbered = MAX(numbered, stored + evicted + unexplained);
  INSERT INTO ledger_waiting SELECT device, epoch, 0, numbered - stored - evicted - unexplained FROM ledger_epochs
    WHERE numbered > stored + evicted + unexplained;
  INSERT INTO ledger_hours (device, hour, stored, kernel, shed, evicted, unexplained, waiting)
    SELECT device, 0, ${capped("TOTAL(stored)")}, ${capped("TOTAL(kernel)")}, ${capped("TOTAL(shed)")}, ${capped("TOTAL(evicted)")},
      ${capped("TOTAL(unexplained)")}, ${capped("TOTAL(numbered - stored - evicted - unexplained)")} FROM ledger_epochs GROUP BY device;
  INSERT INTO ledger_hours (device, hour, stored, unexplained) SELECT device, 0, stored, lost FROM epochs_forgotten WHERE true
    ON CONFLICT DO UPDATE SET stored = stored + excluded.stored, unexplained = MIN(unexplained + excluded.unexplained, ${MAX});
  INSERT INTO ledger_devices (device, stored, kernel, shed, evicted, unexplained, waiting)
    SELECT device, stored, kernel, shed, evicted, unexplained, waiting FROM ledger_hours;
  `,
];

/** A batch that is on disk, as ingest tells of it. */
export type StoredBatch = {
  readonly offset: number;
  readonly device: string;
  readonly epoch: string;
  readonly boot: string;
  /** What was new of it: [first seq, count]. */
  readonly runs: readonly (readonly [number, number])[];
  readonly receivedMs: number;
  /** When its first event was caused, by the device's clock; undefined when nobody looked. */
  readonly firstMs: number | undefined;
  /** The earliest and the latest time in it, by the device's clock, where somebody looked. */
  readonly spanMs?: readonly [number, number] | undefined;
  /** False when no event of it tells of loss. */
  readonly mayTellLoss: boolean;
  readonly payload: Uint8Array;
};

export const terms = ["stored", "kernel", "shed", "evicted", "power", "refused", "unexplained", "waiting"] as const;
export type Term = (typeof terms)[number];
/** What changes in one hour. */
export type Entry = { [K in Term | "guessedKernel" | "guessedShed"]?: number };
/** What changes, by hour. */
export type Book = Map<number, Entry>;

export type LedgerDevice = Record<Term | "evictedHit" | "evictedResult", number> & {
  /** When the site first heard of the device in a heartbeat, and last; its clock. */
  readonly firstMs: number;
  readonly reportedMs: number;
  readonly boot: string;
  /** When this boot began, and by how much the device's clock is ahead, by the site's clock. */
  readonly bootedMs: number;
  readonly offsetMs: number;
  readonly told: string;
  readonly freshKernel: number;
  readonly freshShed: number;
};

export type LedgerEpoch = {
  readonly epoch: string;
  numbered: number;
  stored: number;
  evicted: number;
  power: number;
  refused: number;
  unexplained: number;
  kernel: number;
  shed: number;
  eventsKernel: number;
  eventsShed: number;
  hits: number;
  results: number;
  suspect: number;
  suspectMs: number;
};

export const ledgerDevice = (store: Store, device: string): LedgerDevice | undefined =>
  store.db.query<LedgerDevice, [string]>("SELECT * FROM ledger_devices WHERE device = ?").get(device) ?? undefined;

/** Clocks of all devices, to begin with. */
export const ledgerClocks = (store: Store) =>
  store.db
    .query<{ device: string } & Pick<LedgerDevice, "boot" | "bootedMs" | "offsetMs" | "firstMs">, []>(
      "SELECT device, boot, bootedMs, offsetMs, firstMs FROM ledger_devices WHERE boot <> ''",
    )
    .all();

export function saveReport(
  store: Store,
  device: string,
  of: Pick<LedgerDevice, "boot" | "bootedMs" | "offsetMs"> & { nowMs: number },
): void {
  store.db
    .query(
      `INSERT INTO ledger_devices (device, firstMs, reportedMs, boot, bootedMs, offsetMs) VALUES ($device, $nowMs, $nowMs, $boot, $bootedMs, $offsetMs)
       ON CONFLICT DO UPDATE SET firstMs = CASE WHEN firstMs = 0 THEN excluded.firstMs ELSE firstMs END, reportedMs = excluded.reportedMs,
         boot = excluded.boot, bootedMs = excluded.bootedMs, offsetMs = excluded.offsetMs`,
    )
    .run({ device, ...of });
}

/** Loss an event told of: the next heartbeat raises the alert. */
export const addFresh = (store: Store, device: string, kernel: number, shed: number): void => {
  store.db
    .query(`UPDATE ledger_devices SET freshKernel = MIN(freshKernel + ?, ${MAX}), freshShed = MIN(freshShed + ?, ${MAX}) WHERE device = ?`)
    .run(kernel, shed, device);
};

export const saveTold = (store: Store, device: string, told: string): void => {
  store.db.query("UPDATE ledger_devices SET told = ?, freshKernel = 0, freshShed = 0 WHERE device = ?").run(told, device);
};

export const ledgerEpoch = (store: Store, device: string, epoch: string): LedgerEpoch | undefined =>
  store.db.query<LedgerEpoch, [string, string]>("SELECT * FROM ledger_epochs WHERE device = ? AND epoch = ?").get(device, epoch) ??
  undefined;

const epochColumns =
  "numbered, stored, evicted, power, refused, unexplained, kernel, shed, eventsKernel, eventsShed, hits, results, suspect, suspectMs";
export function saveEpoch(store: Store, device: string, row: LedgerEpoch): void {
  store.db
    .query(
      `INSERT OR REPLACE INTO ledger_epochs (device, epoch, ${epochColumns}) VALUES ($device, $epoch, $${epochColumns.replaceAll(", ", ", $")})`,
    )
    .run({ ...row, device });
}

/** Hours in which numbers of an epoch wait, oldest first. */
export const waitingOf = (store: Store, device: string, epoch: string): { hour: number; count: number }[] =>
  store.db
    .query<{ hour: number; count: number }, [string, string]>(
      "SELECT hour, count FROM ledger_waiting WHERE device = ? AND epoch = ? ORDER BY hour",
    )
    .all(device, epoch);

export function saveWaiting(store: Store, device: string, epoch: string, hour: number, count: number): void {
  if (count > 0) store.db.query("INSERT OR REPLACE INTO ledger_waiting VALUES (?, ?, ?, ?)").run(device, epoch, hour, count);
  else store.db.query("DELETE FROM ledger_waiting WHERE device = ? AND epoch = ? AND hour = ?").run(device, epoch, hour);
}

/** Hours of a device that hold something of a column, oldest first. */
export const hoursWith = (store: Store, device: string, what: keyof Entry): { hour: number; count: number }[] =>
  store.db
    .query<{ hour: number; count: number }, [string]>(
      `SELECT hour, ${what} AS count FROM ledger_hours WHERE device = ? AND ${what} > 0 ORDER BY hour`,
    )
    .all(device);

const columns = [...terms, "guessedKernel", "guessedShed"] as const;
const insertHour = `INSERT INTO ledger_hours (device, hour, ${columns.join(", ")}) VALUES ($device, $hour, $${columns.join(", $")})
  ON CONFLICT DO UPDATE SET ${columns.map((name) => `${name} = ${name} + excluded.${name}`).join(", ")}`;
const insertDevice = `INSERT INTO ledger_devices (device, ${terms.join(", ")}) VALUES ($device, $${terms.join(", $")})
  ON CONFLICT DO UPDATE SET ${terms.map((name) => `${name} = ${name} + excluded.${name}`).join(", ")}`;
const nothing = Object.fromEntries(columns.map((name) => [name, 0])) as Record<keyof Entry, number>;

/** Adds a book to the hours and to their sums: the only way into either. */
export function writeBook(store: Store, device: string, book: Book): void {
  const sums = Object.fromEntries(terms.map((name) => [name, 0])) as Record<Term, number>;
  for (const [hour, entry] of book) {
    store.db.query(insertHour).run({ ...nothing, ...entry, device, hour });
    for (const name of terms) sums[name] += entry[name] ?? 0;
  }
  if (book.size > 0) store.db.query(insertDevice).run({ ...sums, device });
}

export const addUrgentEvicted = (store: Store, device: string, hits: number, results: number): void => {
  store.db
    .query(
      `UPDATE ledger_devices SET evictedHit = MIN(evictedHit + ?, ${MAX}), evictedResult = MIN(evictedResult + ?, ${MAX}) WHERE device = ?`,
    )
    .run(hits, results, device);
};

export const ledgerCursor = (store: Store): number =>
  store.db.query<{ offset: number }, []>("SELECT offset FROM ledger_cursor").get()!.offset;
export const saveCursor = (store: Store, offset: number): void => {
  store.db.query("UPDATE ledger_cursor SET offset = ?").run(offset);
};

const lossOf = (row: Record<Term, number>) => row.kernel + row.shed + row.evicted + row.power + row.refused + row.unexplained;
const toTerms = (row: Record<Term, number>): LedgerTerms => {
  const { stored, kernel, shed, evicted, power, refused, unexplained, waiting } = row;
  const lost = lossOf(row);
  return {
    ...{ caused: stored + lost + waiting, stored, kernel, shed, evicted, power, refused, unexplained, waiting },
    ...(stored + lost > 0 ? { ratio: stored / (stored + lost) } : {}),
  };
};

/** A device's sums. All zero where nothing was heard of it. */
export function ledgerTotals(store: Store, device: string): LedgerTerms & { evictedHit: number; evictedResult: number } {
  const row = ledgerDevice(store, device);
  if (!row) return { ...toTerms(nothing), evictedHit: 0, evictedResult: 0 };
  return { ...toTerms(row), evictedHit: row.evictedHit, evictedResult: row.evictedResult };
}

/** A device's hours from `sinceMs` on in which there was anything, oldest first. */
export const ledgerHours = (store: Store, device: string, sinceMs: number): LedgerHour[] =>
  store.db
    .query<{ hour: number } & Record<Term, number>, [string, number]>(
      "SELECT * FROM ledger_hours WHERE device = ? AND hour >= ? ORDER BY hour",
    )
    .all(device, Math.floor(sinceMs / 3600_000))
    .map((row) => ({ hourMs: row.hour * 3600_000, ...toTerms(row) }))
    .filter(({ caused }) => caused > 0);

/** What `picket devices` says of all loss: the same figures as the ledger's. */
export function coverageOf(store: Store, device: string): { stored: number; lost: number; ratio: number } {
  const { stored, caused, waiting, ratio } = ledgerTotals(store, device);
  return { stored, lost: caused - stored - waiting, ratio: ratio ?? 1 };
}

/** Folds hours before `beforeMs` into hour 0. Returns how many. */
export function trimLedger(store: Store, beforeMs: number, limit: number): number {
  const before = Math.floor(beforeMs / 3600_000);
  const rows = store.db
    .query<{ device: string; hour: number } & Required<Entry>, [number, number]>(
      "SELECT * FROM ledger_hours WHERE hour > 0 AND hour < ? LIMIT ?",
    )
    .all(before, limit);
  for (const { device, hour, ...entry } of rows) {
    store.db.query("DELETE FROM ledger_hours WHERE device = ? AND hour = ?").run(device, hour);
    store.db.query(insertHour).run({ ...nothing, ...entry, device, hour: 0 });
  }
  if (rows.length > 0) {
    const old = store.db
      .query<{ device: string; epoch: string; count: number }, [number]>(
        "SELECT device, epoch, SUM(count) AS count FROM ledger_waiting WHERE hour < ? GROUP BY device, epoch",
      )
      .all(before);
    store.db.query("DELETE FROM ledger_waiting WHERE hour < ?").run(before);
    for (const { device, epoch, count } of old) saveWaiting(store, device, epoch, 0, count);
  }
  return rows.length;
}

/** Epochs the site has forgotten, at most so many: nobody will ever tell what became of what still waits of them. */
export const forgottenEpochs = (store: Store, limit: number): { device: string; epoch: string }[] =>
  store.db
    .query<{ device: string; epoch: string }, [number]>(
      "SELECT device, epoch FROM ledger_epochs l WHERE NOT EXISTS (SELECT 1 FROM epochs e WHERE e.device = l.device AND e.epoch = l.epoch) LIMIT ?",
    )
    .all(limit);
export const dropEpoch = (store: Store, device: string, epoch: string): void => {
  store.db.query("DELETE FROM ledger_epochs WHERE device = ? AND epoch = ?").run(device, epoch);
};

/** What heartbeats told of an epoch, where that is more than what is in the ledger. */
export type ToldEpoch = {
  readonly epoch: string;
  readonly end: number;
  readonly holes: number;
  readonly kernel: number;
  readonly shed: number;
  readonly evicted: number;
  readonly power: number;
};

/** Epochs of a device of which the ledger does not know all, oldest first. */
export const toldEpochs = (store: Store, device: string): ToldEpoch[] =>
  store.db
    .query<ToldEpoch, [string]>(
      `SELECT e.epoch, MAX(e.next, e.floor) AS end, e.holes, e.lostKernel AS kernel, e.lostShed AS shed, e.lostBuffer AS evicted, e.lostAtMost AS power
       FROM epochs e LEFT JOIN ledger_epochs l ON l.device = e.device AND l.epoch = e.epoch
       WHERE e.device = ? AND (l.epoch IS NULL OR MAX(e.next, e.floor) > l.numbered OR e.lostKernel > l.kernel OR e.lostShed > l.shed
         OR e.lostBuffer > l.evicted OR e.holes > l.evicted + l.power + l.refused + l.unexplained OR l.suspect > 0)
       ORDER BY e.firstMs, e.epoch`,
    )
    .all(device);
