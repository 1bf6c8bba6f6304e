// The log of batches as they came, the sequence numbers received, and what could not be stored.

import type { Store, Tally } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const logMigrations: Migrations = [
  `
  -- AUTOINCREMENT: an offset is never used twice, not even after retention emptied the table.
  CREATE TABLE log (
    offset INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    epoch TEXT NOT NULL,
    firstSeq INTEGER NOT NULL,
    nextSeq INTEGER NOT NULL,
    receivedMs INTEGER NOT NULL,
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    batch BLOB NOT NULL
  ) STRICT;
  CREATE INDEX log_by_device ON log (device, offset);
  CREATE INDEX log_by_time ON log (receivedMs);
  CREATE INDEX log_by_seq ON log (device, epoch, firstSeq);
  CREATE TABLE log_totals (one INTEGER PRIMARY KEY CHECK (one = 1), batches INTEGER NOT NULL, events INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
  INSERT INTO log_totals VALUES (1, 0, 0, 0);
  CREATE TRIGGER log_added AFTER INSERT ON log BEGIN
    UPDATE log_totals SET batches = batches + 1, events = events + new.count, bytes = bytes + new.bytes;
  END;
  CREATE TRIGGER log_removed AFTER DELETE ON log BEGIN
    UPDATE log_totals SET batches = batches - 1, events = events - old.count, bytes = bytes - old.bytes;
  END;
  CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    receivedMs INTEGER NOT NULL,
    topic TEXT NOT NULL,
    reason TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    payload BLOB NOT NULL
  ) STRICT;
  `,
  `
  -- The totals are kept by the code, once for each commit.
  DROP TRIGGER log_added;
  DROP TRIGGER log_removed;
  -- What retention let go, and of it what the detector had not read.
  CREATE TABLE log_let_go (one INTEGER PRIMARY KEY CHECK (one = 1), events INTEGER NOT NULL, unread INTEGER NOT NULL) STRICT;
  INSERT INTO log_let_go VALUES (1, 0, 0);
  `,
];

const totals: Tally = {
  size: 3,
  write: (store, [batches, events, bytes]) =>
    store.db.query("UPDATE log_totals SET batches = batches + ?, events = events + ?, bytes = bytes + ?").run(batches!, events!, bytes!),
};

export type LogRow = { readonly offset: number; readonly device: string; readonly receivedMs: number; readonly batch: Uint8Array };
export type LogTotals = { readonly batches: number; readonly events: number; readonly bytes: number; readonly nextOffset: number };

/** Adds a batch; call inside `commitSoon`. Returns its offset. */
export function appendBatch(
  store: Store,
  of: { device: string; epoch: string; firstSeq: number; nextSeq: number; receivedMs: number; count: number; batch: Uint8Array },
): number {
  const result = store.db
    .query(
      "INSERT INTO log (device, epoch, firstSeq, nextSeq, receivedMs, count, bytes, batch) VALUES ($device, $epoch, $firstSeq, $nextSeq, $receivedMs, $count, $bytes, $batch)",
    )
    .run({ ...of, bytes: of.batch.byteLength });
  store.add(totals, [1, of.count, of.batch.byteLength]);
  return Number(result.lastInsertRowid);
}

/** Batches from `offset` on, oldest first. */
export const readBatches = (store: Store, offset: number, limit: number): LogRow[] =>
  store.db
    .query<LogRow, [number, number]>("SELECT offset, device, receivedMs, batch FROM log WHERE offset >= ? ORDER BY offset LIMIT ?")
    .all(offset, limit);

/** Batches of one device from `offset` on, oldest first. */
export const readBatchesOf = (store: Store, device: string, offset: number, limit: number): LogRow[] =>
  store.db
    .query<LogRow, [string, number, number]>(
      "SELECT offset, device, receivedMs, batch FROM log WHERE device = ? AND offset >= ? ORDER BY offset LIMIT ?",
    )
    .all(device, offset, limit);

/** Batches that may hold one event, by its id's parts. */
export const batchesWith = (store: Store, of: { device: string; epoch: string; seq: number }): LogRow[] =>
  store.db
    .query<LogRow, [string, string, number, number]>(
      "SELECT offset, device, receivedMs, batch FROM log WHERE device = ? AND epoch = ? AND firstSeq <= ? AND nextSeq > ? ORDER BY firstSeq DESC LIMIT 8",
    )
    .all(of.device, of.epoch, of.seq, of.seq);

/** The first offset received at `sinceMs` or later; the next free one when there is none. */
export function offsetSince(store: Store, sinceMs: number): number {
  const row = store.db
    .query<{ offset: number | null }, [number]>("SELECT MIN(offset) AS offset FROM log WHERE receivedMs >= ?")
    .get(sinceMs);
  return row?.offset ?? nextOffset(store);
}

/** When the batch at `offset`, or the first after it, was received. */
export const receivedAt = (store: Store, offset: number): number | undefined =>
  store.db.query<{ receivedMs: number }, [number]>("SELECT receivedMs FROM log WHERE offset >= ? ORDER BY offset LIMIT 1").get(offset)
    ?.receivedMs;

/** The offset the next batch will have. */
export const nextOffset = (store: Store): number =>
  (store.db.query<{ seq: number }, []>("SELECT seq FROM sqlite_sequence WHERE name = 'log'").get()?.seq ?? 0) + 1;

export function logTotals(store: Store): LogTotals {
  const row = store.db.query<Omit<LogTotals, "nextOffset">, []>("SELECT batches, events, bytes FROM log_totals").get()!;
  return { ...row, nextOffset: nextOffset(store) };
}

/** Events in the batches of [from, to). */
export const eventsBetween = (store: Store, from: number, to: number): number =>
  store.db.query<{ n: number | null }, [number, number]>("SELECT SUM(count) AS n FROM log WHERE offset >= ? AND offset < ?").get(from, to)!
    .n ?? 0;

/** Offsets [from, to) of what was received at `sinceMs` or later, of one device or of all, and how much that is. */
export function logRange(store: Store, of: { sinceMs: number | undefined; device: string | undefined }) {
  const [from, to] = [of.sinceMs === undefined ? 0 : offsetSince(store, of.sinceMs), nextOffset(store)];
  const row = store.db
    .query<{ batches: number; events: number | null }, Record<string, string | number | null>>(
      "SELECT COUNT(*) AS batches, SUM(count) AS events FROM log WHERE offset >= $from AND offset < $to AND ($device IS NULL OR device = $device)",
    )
    .get({ from, to, device: of.device ?? null })!;
  return { from, to, batches: row.batches, events: row.events ?? 0 };
}

/** What a batch takes beside its own bytes: its row, its indexes, and on average half a page at its end. */
export const ROW_BYTES = 512;

export type LetGo = {
  /** Batches that went. */
  readonly batches: number;
  readonly events: number;
  /** Events of them that the detector had not read. */
  readonly unread: number;
};

/**
 * Removes old batches: those received before `beforeMs`, and the oldest while the log is larger than `keepBytes`.
 * At most `limit` rows at once, so that ingest never waits long. `unreadFrom` is the detector's cursor. Call inside a transaction of its own.
 */
export function trimLog(store: Store, of: { beforeMs: number; keepBytes: number; limit: number; unreadFrom: number }): LetGo {
  type Row = { offset: number; count: number; bytes: number };
  const gone = store.db
    .query<Row, [number, number]>("SELECT offset, count, bytes FROM log WHERE receivedMs < ? ORDER BY receivedMs LIMIT ?")
    .all(of.beforeMs, of.limit);
  const chosen = new Set(gone.map(({ offset }) => offset));
  const before = logTotals(store);
  const cost = (row: { bytes: number }) => row.bytes + ROW_BYTES;
  let excess = before.bytes + before.batches * ROW_BYTES - of.keepBytes - gone.reduce((total, row) => total + cost(row), 0);
  if (excess > 0) {
    const oldest = store.db.query<Row, [number]>("SELECT offset, count, bytes FROM log ORDER BY offset LIMIT ?").all(of.limit);
    for (const row of oldest) {
      if (excess <= 0) break;
      if (chosen.has(row.offset)) continue;
      gone.push(row);
      excess -= cost(row);
    }
  }
  const remove = store.db.query("DELETE FROM log WHERE offset = ?");
  for (const { offset } of gone) remove.run(offset);
  const events = sum(gone, "count");
  const late = gone.filter(({ offset }) => offset >= of.unreadFrom);
  const unread = sum(late, "count");
  if (gone.length > 0) {
    store.add(totals, [-gone.length, -events, -sum(gone, "bytes")]);
    store.db.query("UPDATE log_let_go SET events = events + ?, unread = unread + ?").run(events, unread);
  }
  return { batches: gone.length, events, unread };
}

const sum = <K extends string>(rows: readonly Readonly<Record<K, number>>[], key: K) => rows.reduce((total, row) => total + row[key], 0);

/** Events that retention let go since the site was made, and of them those the detector had not read. */
export const logLetGo = (store: Store): { events: number; unread: number } =>
  store.db.query<{ events: number; unread: number }, []>("SELECT events, unread FROM log_let_go").get()!;
