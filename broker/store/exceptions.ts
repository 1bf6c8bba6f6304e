// Exceptions: what operators excepted, from which batch of the log to which, by whom and why, and how often each was used. None is ever changed or comes back.
import type { Exception, ExceptionRequest, HeldException } from "@picket/protocol/exception";
import type { ExceptionUse } from "@picket/protocol/feed";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const exceptionMigrations: Migrations = [
  `
  CREATE TABLE exceptions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Rises at every change of any of them: a detector is told what it has not heard of.
    version INTEGER NOT NULL UNIQUE,
    rule TEXT NOT NULL,
    "where" TEXT NOT NULL,
    devices TEXT NOT NULL,
    reason TEXT NOT NULL,
    operator TEXT NOT NULL,
    alert TEXT,
    createdMs INTEGER NOT NULL,
    expiresMs INTEGER NOT NULL,
    -- Offsets of the log: it holds for batches from the one on, before the other.
    fromOffset INTEGER NOT NULL,
    endOffset INTEGER,
    endedMs INTEGER,
    endedBy TEXT,
    used INTEGER NOT NULL DEFAULT 0,
    lastUsedMs INTEGER
  ) STRICT;
  `,
];

/** Ended ones that are kept for those who ask who hid what, and for how long after their end. */
const MAX_ENDED = 2000;
const KEEP_MS = 400 * 86_400_000;

type Row = {
  id: number;
  rule: string;
  where: string;
  devices: string;
  reason: string;
  operator: string;
  alert: string | null;
  createdMs: number;
  expiresMs: number;
  fromOffset: number;
  endOffset: number | null;
  endedMs: number | null;
  endedBy: string | null;
  used: number;
  lastUsedMs: number | null;
};

function toException(row: Row, nowMs: number): Exception {
  const { id, rule, reason, operator, createdMs, expiresMs, used } = row;
  return {
    ...{ id, rule, reason, operator, createdMs, expiresMs, used },
    where: JSON.parse(row.where) as Exception["where"],
    devices: JSON.parse(row.devices) as string[],
    state: row.endOffset !== null ? "removed" : expiresMs <= nowMs ? "expired" : "holds",
    ...(row.endedMs === null ? {} : { endedMs: row.endedMs }),
    ...(row.endedBy === null ? {} : { endedBy: row.endedBy }),
    ...(row.alert === null ? {} : { alert: row.alert }),
    ...(row.lastUsedMs === null ? {} : { lastUsedMs: row.lastUsedMs }),
  };
}

/** Rises with every change; 0 while there never was one. */
export const exceptionsVersion = (store: Store): number =>
  store.db.query<{ version: number | null }, []>("SELECT MAX(version) AS version FROM exceptions").get()!.version ?? 0;

export const countHolding = (store: Store, nowMs: number): number =>
  store.db.query<{ n: number }, [number]>("SELECT COUNT(*) AS n FROM exceptions WHERE endOffset IS NULL AND expiresMs > ?").get(nowMs)!.n;

/** Call inside a transaction. It holds for batches from `fromOffset` on, which must be where the log ends now. No two are made at the same time. */
export function addException(
  store: Store,
  of: Omit<ExceptionRequest, "ttlS"> & { ttlS: number; operator: string; nowMs: number; fromOffset: number },
): Exception {
  const { db } = store;
  const { last } = db.query<{ last: number | null }, []>("SELECT MAX(createdMs) AS last FROM exceptions").get()!;
  const createdMs = last !== null && last >= of.nowMs && last < of.nowMs + 60_000 ? last + 1 : of.nowMs;
  const { lastInsertRowid } = db
    .query(
      `INSERT INTO exceptions (version, rule, "where", devices, reason, operator, alert, createdMs, expiresMs, fromOffset)
       VALUES ($version, $rule, $where, $devices, $reason, $operator, $alert, $createdMs, $expiresMs, $fromOffset)`,
    )
    .run({
      version: exceptionsVersion(store) + 1,
      rule: of.rule,
      where: JSON.stringify(of.where),
      devices: JSON.stringify(of.devices),
      reason: of.reason,
      operator: of.operator,
      alert: of.alert ?? null,
      createdMs,
      expiresMs: of.nowMs + of.ttlS * 1000,
      fromOffset: of.fromOffset,
    });
  return getException(store, Number(lastInsertRowid), of.nowMs)!;
}

/** Ends one that holds; call inside a transaction. One that has ended stays as it is. Undefined when there is none. */
export function endException(store: Store, id: number, of: { operator: string; nowMs: number; endOffset: number }): Exception | undefined {
  store.db
    .query(
      "UPDATE exceptions SET version = ?, endOffset = ?, endedMs = ?, endedBy = ? WHERE id = ? AND endOffset IS NULL AND expiresMs > ?",
    )
    .run(exceptionsVersion(store) + 1, of.endOffset, of.nowMs, of.operator, id, of.nowMs);
  return getException(store, id, of.nowMs);
}

export function getException(store: Store, id: number, nowMs: number): Exception | undefined {
  const row = store.db.query<Row, [number]>("SELECT * FROM exceptions WHERE id = ?").get(id);
  return row ? toException(row, nowMs) : undefined;
}

/** Those that hold or ended at `sinceMs` or later, the newest first. */
export const listExceptions = (store: Store, of: { sinceMs: number; nowMs: number }): Exception[] =>
  store.db
    .query<Row, { sinceMs: number }>("SELECT * FROM exceptions WHERE coalesce(endedMs, expiresMs) >= $sinceMs ORDER BY id DESC")
    .all({ sinceMs: of.sinceMs })
    .map((row) => toException(row, of.nowMs));

/** What changed after `version` and can matter for batches from `offset` on, received at `receivedMs` or later. */
export const heldSince = (store: Store, of: { version: number; offset: number; receivedMs: number }): HeldException[] =>
  store.db
    .query<Row, { version: number; offset: number; receivedMs: number }>(
      "SELECT * FROM exceptions WHERE version > $version AND (endOffset IS NULL OR endOffset > $offset) AND expiresMs > $receivedMs ORDER BY id",
    )
    .all(of)
    .map((row) => ({
      id: row.id,
      rule: row.rule,
      where: JSON.parse(row.where) as HeldException["where"],
      devices: JSON.parse(row.devices) as string[],
      expiresMs: row.expiresMs,
      from: row.fromOffset,
      end: row.endOffset,
    }));

/** Adds what a commit says; call in its transaction. */
export function noteUses(store: Store, uses: readonly ExceptionUse[]): void {
  const add = store.db.query(
    "UPDATE exceptions SET used = used + $count, lastUsedMs = MAX(coalesce(lastUsedMs, 0), $lastMs) WHERE id = $id",
  );
  for (const { id, count, lastMs } of uses) add.run({ id, count, lastMs });
}

/** Forgets what ended long ago; call inside a transaction. */
export function trimExceptions(store: Store, nowMs: number): void {
  // The last change stays: a version must never be given twice.
  store.db
    .query(
      `DELETE FROM exceptions WHERE version < (SELECT MAX(version) FROM exceptions) AND (coalesce(endedMs, expiresMs) < $oldMs OR id IN (
         SELECT id FROM exceptions WHERE coalesce(endedMs, expiresMs) < $nowMs ORDER BY coalesce(endedMs, expiresMs) DESC LIMIT -1 OFFSET ${MAX_ENDED}))`,
    )
    .run({ oldMs: nowMs - KEEP_MS, nowMs });
}
