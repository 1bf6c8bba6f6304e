// Lists of indicators, each a generation that never changes once it is in force; what devices met of them; and how far the log was searched for what is new.

import type { Detection } from "@picket/protocol/alert";
import {
  type IocManifest,
  type IocMet,
  MESH_PREFIX,
  type PastSearch,
  packIocs,
  readIocGroup,
  type StoredIoc,
  unpackIocs,
} from "@picket/protocol/ioc";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const iocMigrations: Migrations = [
  `
  -- AUTOINCREMENT: a generation is never used twice. The one in force of a source is the one with state 'on'; 'open' is being imported.
  CREATE TABLE ioc_generations (
    generation INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'on')),
    startedMs INTEGER NOT NULL,
    touchedMs INTEGER NOT NULL,
    by TEXT NOT NULL,
    format TEXT NOT NULL,
    chunks INTEGER NOT NULL DEFAULT 0,
    indicators INTEGER NOT NULL DEFAULT 0,
    -- Rows given, and of them those refused: a repeated call is known by them.
    given INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0,
    -- Indicators that were in no generation of the source before.
    fresh INTEGER NOT NULL DEFAULT 0,
    byKind TEXT NOT NULL DEFAULT '{}',
    -- When the last of it expires, seconds; 0: never.
    lastS INTEGER NOT NULL DEFAULT 1,
    -- What a list of the mesh was made from.
    stamp TEXT
  ) STRICT;
  CREATE UNIQUE INDEX ioc_in_force ON ioc_generations (source) WHERE state = 'on';
  CREATE TABLE ioc_chunks (generation INTEGER NOT NULL, at INTEGER NOT NULL, rows BLOB NOT NULL, PRIMARY KEY (generation, at)) STRICT;
  CREATE TABLE ioc_failures (source TEXT PRIMARY KEY, atMs INTEGER NOT NULL, why TEXT NOT NULL) STRICT;
  -- What devices met, by the list that was named in the alert.
  CREATE TABLE ioc_met (
    source TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, device TEXT NOT NULL,
    firstMs INTEGER NOT NULL, lastMs INTEGER NOT NULL, alert TEXT NOT NULL,
    PRIMARY KEY (source, kind, value, device)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX ioc_met_by_time ON ioc_met (lastMs);
  -- Generations whose new indicators the stored log was not searched for, and the search that goes on or was the last.
  CREATE TABLE ioc_unsearched (generation INTEGER PRIMARY KEY, source TEXT NOT NULL, notBeforeMs INTEGER NOT NULL) STRICT;
  CREATE TABLE ioc_searches (
    job INTEGER PRIMARY KEY AUTOINCREMENT,
    generations TEXT NOT NULL,
    sources TEXT NOT NULL,
    start INTEGER NOT NULL, cursor INTEGER NOT NULL, "end" INTEGER NOT NULL,
    sinceMs INTEGER NOT NULL, startedMs INTEGER NOT NULL, doneMs INTEGER,
    events INTEGER NOT NULL, read INTEGER NOT NULL DEFAULT 0, alerts INTEGER NOT NULL DEFAULT 0, "left" INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  -- Alerts a search made: it is the only one that makes them grow.
  CREATE TABLE ioc_past_alerts (job INTEGER NOT NULL, id TEXT NOT NULL, PRIMARY KEY (job, id)) STRICT, WITHOUT ROWID;
  CREATE INDEX alerts_of_iocs ON alerts (device, "group") WHERE engine = 'ioc';
  `,
];

export type Generation = {
  readonly generation: number;
  readonly source: string;
  readonly state: "open" | "on";
  readonly startedMs: number;
  readonly touchedMs: number;
  readonly by: string;
  readonly format: string;
  readonly chunks: number;
  readonly indicators: number;
  readonly given: number;
  readonly refused: number;
  readonly fresh: number;
  /** JSON: kind -> count. */
  readonly byKind: string;
  readonly lastS: number;
  readonly stamp: string | null;
};

export function openGeneration(
  store: Store,
  of: { source: string; by: string; format: string; nowMs: number; stamp?: string },
): Generation {
  const { source, by, format, nowMs, stamp } = of;
  return store.db
    .query<Generation, (string | number | null)[]>(
      "INSERT INTO ioc_generations (source, state, startedMs, touchedMs, by, format, stamp) VALUES (?, 'open', ?, ?, ?, ?, ?) RETURNING *",
    )
    .get(source, nowMs, nowMs, by, format, stamp ?? null)!;
}

export const getGeneration = (store: Store, generation: number): Generation | undefined =>
  store.db.query<Generation, [number]>("SELECT * FROM ioc_generations WHERE generation = ?").get(generation) ?? undefined;

export const listGenerations = (store: Store, state: "open" | "on"): Generation[] =>
  store.db.query<Generation, [string]>("SELECT * FROM ioc_generations WHERE state = ? ORDER BY source").all(state);

export const generationOf = (store: Store, source: string): Generation | undefined =>
  store.db.query<Generation, [string]>("SELECT * FROM ioc_generations WHERE source = ? AND state = 'on'").get(source) ?? undefined;

/** Adds rows to an open generation; call inside a transaction. */
export function addChunk(
  store: Store,
  of: Generation,
  rows: readonly StoredIoc[],
  { refused, fresh, nowMs }: { refused: number; fresh: number; nowMs: number },
): void {
  const counts = JSON.parse(of.byKind) as Record<string, number>;
  for (const { kind } of rows) counts[kind] = (counts[kind] ?? 0) + 1;
  const never = of.lastS === 0 || rows.some(({ expiresS }) => expiresS === 0);
  const lastS = never ? 0 : rows.reduce((last, { expiresS }) => Math.max(last, expiresS), of.lastS);
  if (rows.length > 0) store.db.query("INSERT INTO ioc_chunks VALUES (?, ?, ?)").run(of.generation, of.chunks, packIocs(rows));
  store.db
    .query(
      `UPDATE ioc_generations SET chunks = chunks + $chunks, indicators = indicators + $rows, given = given + $given, refused = refused + $refused,
         fresh = fresh + $fresh, byKind = $byKind, lastS = $lastS, touchedMs = $nowMs WHERE generation = $generation`,
    )
    .run({
      ...{ chunks: rows.length > 0 ? 1 : 0, rows: rows.length, given: rows.length + refused, refused, fresh },
      ...{ byKind: JSON.stringify(counts), lastS, nowMs, generation: of.generation },
    });
}

export const readChunk = (store: Store, generation: number, at: number): Uint8Array | undefined =>
  store.db.query<{ rows: Uint8Array }, [number, number]>("SELECT rows FROM ioc_chunks WHERE generation = ? AND at = ?").get(generation, at)
    ?.rows;

export function readRows(store: Store, generation: number, at: number): StoredIoc[] {
  const chunk = readChunk(store, generation, at);
  return chunk ? unpackIocs(chunk) : [];
}

/** Puts an open generation in force in place of the one before; call inside a transaction. What is new of it is to be searched for from `notBeforeMs` on. */
export function putInForce(store: Store, of: Generation, notBeforeMs: number): void {
  const before = generationOf(store, of.source);
  if (before) dropGeneration(store, before.generation);
  store.db.query("UPDATE ioc_generations SET state = 'on' WHERE generation = ?").run(of.generation);
  store.db.query("DELETE FROM ioc_failures WHERE source = ?").run(of.source);
  // What the generation before was not searched for is searched for as this one's.
  const waits = store.db
    .query("UPDATE ioc_unsearched SET notBeforeMs = MIN(notBeforeMs, ?) WHERE source = ?")
    .run(notBeforeMs, of.source).changes;
  if (of.fresh > 0 || waits > 0)
    store.db.query("INSERT OR IGNORE INTO ioc_unsearched VALUES (?, ?, ?)").run(of.generation, of.source, notBeforeMs);
}

export function dropGeneration(store: Store, generation: number): void {
  store.db.query("DELETE FROM ioc_chunks WHERE generation = ?").run(generation);
  store.db.query("DELETE FROM ioc_generations WHERE generation = ?").run(generation);
}

/** Removes a list; what was met of it stays. Call inside a transaction. False when there is none. */
export function removeSource(store: Store, source: string): boolean {
  const of = generationOf(store, source);
  if (of) dropGeneration(store, of.generation);
  const failed = store.db.query("DELETE FROM ioc_failures WHERE source = ?").run(source).changes > 0;
  store.db.query("DELETE FROM ioc_unsearched WHERE source = ?").run(source);
  return of !== undefined || failed;
}

export const noteFailure = (store: Store, source: string, atMs: number, why: string): void => {
  store.db.query("INSERT OR REPLACE INTO ioc_failures VALUES (?, ?, ?)").run(source, atMs, why.slice(0, 300));
};

export const listFailures = (store: Store): { source: string; atMs: number; why: string }[] =>
  store.db.query<{ source: string; atMs: number; why: string }, []>("SELECT source, atMs, why FROM ioc_failures").all();

/** What the detector is to match with. */
export const iocManifest = (store: Store): IocManifest =>
  listGenerations(store, "on").map(({ generation, source, chunks, indicators }) => ({ generation, source, chunks, indicators }));

/** Notes what an alert of a list says was met; call in the transaction that stores the alert. */
export function noteMet(store: Store, detection: Detection, group: string): void {
  if (detection.rule.engine !== "ioc") return;
  const met = readIocGroup(group);
  if (!met) return;
  for (const source of (detection.rule.author ?? "").split(", ")) {
    store.db
      .query(
        `INSERT INTO ioc_met VALUES ($source, $kind, $value, $device, $firstMs, $lastMs, $alert)
         ON CONFLICT DO UPDATE SET firstMs = MIN(firstMs, excluded.firstMs), lastMs = MAX(lastMs, excluded.lastMs), alert = excluded.alert`,
      )
      .run({ ...met, source, device: detection.device, firstMs: detection.firstMs, lastMs: detection.lastMs, alert: detection.id });
  }
}

/** What was met, the latest first. */
export const listMet = (
  store: Store,
  of: { source?: string | undefined; value?: string | undefined; sinceMs?: number | undefined; limit: number },
): IocMet[] =>
  store.db
    .query<IocMet, Record<string, string | number | null>>(
      `SELECT source, kind, value, device, firstMs, lastMs, alert FROM ioc_met
       WHERE ($source IS NULL OR source = $source) AND ($value IS NULL OR value = $value) AND ($sinceMs IS NULL OR lastMs >= $sinceMs)
       ORDER BY lastMs DESC, device LIMIT $limit`,
    )
    .all({ source: of.source ?? null, value: of.value ?? null, sinceMs: of.sinceMs ?? null, limit: of.limit });

export const metOf = (store: Store, source: string, sinceMs = 0): { indicators: number; devices: number; lastMs: number | null } =>
  store.db
    .query<{ indicators: number; devices: number; lastMs: number | null }, [string, number]>(
      "SELECT COUNT(DISTINCT kind || ' ' || value) AS indicators, COUNT(DISTINCT device) AS devices, MAX(lastMs) AS lastMs FROM ioc_met WHERE source = ? AND lastMs >= ?",
    )
    .get(source, sinceMs)!;

/** Most rows of what was met: the oldest go. */
const MAX_MET = 100_000;

export function trimMet(store: Store): void {
  const edge = store.db
    .query<{ lastMs: number }, [number]>("SELECT lastMs FROM ioc_met ORDER BY lastMs DESC LIMIT 1 OFFSET ?")
    .get(MAX_MET);
  if (edge) store.db.query("DELETE FROM ioc_met WHERE lastMs <= ?").run(edge.lastMs);
}

export const isOfMesh = (source: string): boolean => source.startsWith(MESH_PREFIX);

/** For an export of what a search says. */
export const pastOf = (search: {
  doneMs: number | null;
  startedMs: number;
  sinceMs: number;
  read: number;
  events: number;
  alerts: number;
  left: number;
}): PastSearch => ({
  state: search.doneMs === null ? "reading" : "done",
  ...{
    read: search.read,
    events: search.events,
    alerts: search.alerts,
    left: search.left,
    sinceMs: search.sinceMs,
    startedMs: search.startedMs,
  },
  ...(search.doneMs === null ? {} : { doneMs: search.doneMs }),
});
