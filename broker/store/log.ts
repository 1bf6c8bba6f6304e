// The log of batches as they came, the sequence numbers received, and what could not be stored.

import type { Store } from "./database.ts";
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
];

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

/** How many batches the detector has not decided. */
export const batchesFrom = (store: Store, offset: number): number =>
  store.db.query<{ n: number }, [number]>("SELECT COUNT(*) AS n FROM log WHERE offset >= ?").get(offset)!.n;

/**
 * Removes old batches: those received before `beforeMs`, and the oldest while the log is larger than `keepBytes`.
 * At most `limit` rows at once, so that ingest never waits long. Returns how many went.
 */
export function trimLog(store: Store, of: { beforeMs: number; keepBytes: number; limit: number }): number {
  const old = store.db
    .query("DELETE FROM log WHERE offset IN (SELECT offset FROM log WHERE receivedMs < ? ORDER BY receivedMs LIMIT ?)")
    .run(of.beforeMs, of.limit).changes;
  const excess = logTotals(store).bytes - of.keepBytes;
  if (excess <= 0) return old;
  // Retention deletes from the front only, so the running sum needs just the rows that may go.
  const oldest = store.db
    .query<{ offset: number; bytes: number }, [number]>("SELECT offset, bytes FROM log ORDER BY offset LIMIT ?")
    .all(of.limit);
  let freed = 0;
  let upTo: number | undefined;
  for (const row of oldest) {
    if (freed >= excess) break;
    freed += row.bytes;
    upTo = row.offset;
  }
  if (upTo === undefined) return old;
  return old + store.db.query("DELETE FROM log WHERE offset <= ?").run(upTo).changes;
}

/** Most dead letters kept, and bytes kept of each: enough to see what was wrong. */
const MAX_DEAD_LETTERS = 1000;
const MAX_DEAD_BYTES = 16 << 10;

export type DeadLetter = { readonly device: string; readonly receivedMs: number; readonly topic: string; readonly reason: string };

/** Keeps what can never be stored; call inside `commitSoon`. */
export function addDeadLetter(store: Store, of: DeadLetter & { payload: Uint8Array }): void {
  store.db
    .query(
      "INSERT INTO dead_letters (device, receivedMs, topic, reason, bytes, payload) VALUES ($device, $receivedMs, $topic, $reason, $bytes, $payload)",
    )
    .run({ ...of, reason: of.reason.slice(0, 500), bytes: of.payload.byteLength, payload: of.payload.slice(0, MAX_DEAD_BYTES) });
  store.db.query("DELETE FROM dead_letters WHERE id <= (SELECT MAX(id) FROM dead_letters) - ?").run(MAX_DEAD_LETTERS);
}

/** How many there ever were. */
export const countDeadLetters = (store: Store): number =>
  store.db.query<{ seq: number }, []>("SELECT seq FROM sqlite_sequence WHERE name = 'dead_letters'").get()?.seq ?? 0;

/** The latest dead letters, newest first. */
export const listDeadLetters = (store: Store, limit: number): (DeadLetter & { readonly bytes: number })[] =>
  store.db
    .query<DeadLetter & { bytes: number }, [number]>(
      "SELECT device, receivedMs, topic, reason, bytes FROM dead_letters ORDER BY id DESC LIMIT ?",
    )
    .all(limit);
