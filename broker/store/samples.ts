// Files by hash for the whole site: which devices have them, whether their bytes are here, and what the file rules said of them.
import type { SampleVerdict, Sighting } from "@picket/protocol/feed";
import { pidOfMemory } from "@picket/protocol/memory";
import type { SampleShown } from "@picket/protocol/sample-routes";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const samplesMigrations: Migrations = [
  `
  CREATE TABLE samples (
    sha256 TEXT PRIMARY KEY,
    -- wanted: a device is to send it. arrived: here, not scanned. scanned: has a verdict. gone, too-big: nobody can or may send it.
    state TEXT NOT NULL,
    -- Of the file in the spool; NULL where there is none.
    size INTEGER,
    -- The verdict, and the rules it came from.
    pack TEXT,
    matches TEXT,
    error TEXT,
    bad INTEGER NOT NULL DEFAULT 0,
    -- How often a detector was given it and said nothing.
    attempts INTEGER NOT NULL DEFAULT 0,
    changedMs INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX samples_here ON samples (state, changedMs, size) WHERE size IS NOT NULL;
  CREATE INDEX samples_wanted ON samples (state) WHERE state = 'wanted';
  CREATE TABLE sightings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    path TEXT NOT NULL,
    executed INTEGER NOT NULL,
    -- Higher ones are asked for first.
    rank INTEGER NOT NULL,
    event TEXT NOT NULL,
    timeMs INTEGER NOT NULL,
    process TEXT,
    -- This device may be asked for the file.
    open INTEGER NOT NULL,
    -- The file is bad, and the detector has not decided the alerts of this device.
    pending INTEGER NOT NULL,
    UNIQUE (device, sha256)
  ) STRICT;
  CREATE INDEX sightings_by_hash ON sightings (sha256);
  CREATE INDEX sightings_open ON sightings (device, rank DESC, id) WHERE open = 1;
  CREATE INDEX sightings_pending ON sightings (id) WHERE pending = 1;
  CREATE TABLE sample_site (one INTEGER PRIMARY KEY CHECK (one = 1), pack TEXT, mismatched INTEGER NOT NULL, forgotten INTEGER NOT NULL) STRICT;
  INSERT INTO sample_site VALUES (1, NULL, 0, 0);
  `,
  // Dumps of the memory of processes, which do not stay.
  "CREATE INDEX sightings_memory ON sightings (sha256) WHERE path GLOB '/proc/[0-9]*/mem'",
];

/** Files remembered of one device. Past it the oldest go and are counted: a device that invents hashes forgets its own, and nobody else's. */
const MAX_OF_DEVICE = 20_000;
const FORGET = 1000;
/** A file that ends the detector this often is not scanned again. */
const MAX_ATTEMPTS = 3;
const NEWS = 32;

type SampleRow = { state: string; size: number | null; pack: string | null; bad: number };

/** The rules files are judged by now; undefined: there is no scanner, and nobody is asked for files. */
export const samplePack = (store: Store): string | undefined =>
  store.db.query<{ pack: string | null }, []>("SELECT pack FROM sample_site").get()?.pack ?? undefined;

/** Other rules than before: what is still here is to be scanned again. */
export function setSamplePack(store: Store, pack: string | undefined): void {
  store.db.query("UPDATE sample_site SET pack = ?").run(pack ?? null);
  if (pack !== undefined)
    store.db
      .query("UPDATE samples SET state = 'arrived', attempts = 0 WHERE size IS NOT NULL AND state = 'scanned' AND pack IS NOT ?")
      .run(pack);
}

/** Remembers who has which file; call in the transaction that moves the cursor. */
export function saveSightings(store: Store, sightings: readonly Sighting[], nowMs: number): void {
  if (sightings.length === 0) return;
  const { db } = store;
  const pack = samplePack(store) ?? null;
  const find = db.query<SampleRow, [string]>("SELECT state, size, pack, bad FROM samples WHERE sha256 = ?");
  const want = db.query(
    "INSERT INTO samples (sha256, state, changedMs) VALUES (?, 'wanted', ?) ON CONFLICT DO UPDATE SET state = 'wanted'",
  );
  const add = db.query(
    `INSERT INTO sightings (device, sha256, path, executed, rank, event, timeMs, process, open, pending)
     VALUES ($device, $sha256, $path, $executed, $rank, $event, $timeMs, $process, $open, $pending)
     ON CONFLICT DO UPDATE SET open = excluded.open, executed = MAX(executed, excluded.executed), rank = MAX(rank, excluded.rank)`,
  );
  for (const { process, executed, ...sighting } of sightings) {
    const sample = find.get(sighting.sha256);
    const stale = sample?.state === "scanned" && sample.size === null && sample.pack !== pack;
    // That it is gone or too big is what other devices said: this one is asked itself.
    const wanted = !sample || sample.state === "wanted" || sample.state === "gone" || sample.state === "too-big" || stale;
    if (wanted && sample?.state !== "wanted") want.run(sighting.sha256, nowMs);
    add.run({
      ...sighting,
      executed: executed ? 1 : 0,
      rank: rankOf(sighting.path, executed),
      process: process ? JSON.stringify(process) : null,
      open: wanted ? 1 : 0,
      pending: sample?.bad ?? 0,
    });
  }
  for (const device of new Set(sightings.map((sighting) => sighting.device))) forgetOldest(store, device);
}

/** Where packages put their files. A device that is new has hundreds of them running, and intruders are seldom among them. */
const ofPackages = /^\/(?:usr|bin|sbin|lib|lib32|lib64|opt|snap|nix)\/(?!local\/)/;

/** Memory first: somebody waits for it, and the device does not keep it for long. */
const rankOf = (path: string, executed: boolean) => (pidOfMemory(path) !== undefined ? 3 : ofPackages.test(path) ? (executed ? 0 : 1) : 2);

function forgetOldest(store: Store, device: string): void {
  const { db } = store;
  const { n } = db.query<{ n: number }, [string]>("SELECT COUNT(*) AS n FROM sightings WHERE device = ?").get(device)!;
  if (n <= MAX_OF_DEVICE) return;
  const gone = db
    .query<{ sha256: string }, [string, number]>(
      "DELETE FROM sightings WHERE id IN (SELECT id FROM sightings WHERE device = ? ORDER BY id LIMIT ?) RETURNING sha256",
    )
    .all(device, n - MAX_OF_DEVICE + FORGET);
  const orphan = db.query(
    "DELETE FROM samples WHERE sha256 = ? AND size IS NULL AND bad = 0 AND NOT EXISTS (SELECT 1 FROM sightings g WHERE g.sha256 = samples.sha256)",
  );
  for (const { sha256 } of gone) orphan.run(sha256);
  db.query("UPDATE sample_site SET forgotten = forgotten + ?").run(gone.length);
}

/** Hashes this device may be asked for: what is most worth it first, else in the order they were seen. */
export const wantedOf = (store: Store, device: string, limit: number): string[] =>
  store.db
    .query<{ sha256: string }, [string, number]>(
      "SELECT sha256 FROM sightings WHERE device = ? AND open = 1 ORDER BY rank DESC, id LIMIT ?",
    )
    .all(device, limit)
    .map(({ sha256 }) => sha256);

/** The whole file is in the spool, on disk. */
export function sampleArrived(store: Store, sha256: string, size: number, nowMs: number): void {
  store.db.query("UPDATE samples SET state = 'arrived', size = ?, attempts = 0, changedMs = ? WHERE sha256 = ?").run(size, nowMs, sha256);
  store.db.query("UPDATE sightings SET open = 0 WHERE sha256 = ? AND open = 1").run(sha256);
}

/** This device cannot give it. Others that have it are asked; when there is none, that is what is known of the file. */
export function sampleRefused(store: Store, sha256: string, device: string, why: "gone" | "too-big"): void {
  store.db.query("UPDATE sightings SET open = 0 WHERE device = ? AND sha256 = ?").run(device, sha256);
  store.db
    .query(
      `UPDATE samples SET state = ? WHERE sha256 = ? AND state = 'wanted'
       AND NOT EXISTS (SELECT 1 FROM sightings g WHERE g.sha256 = samples.sha256 AND g.open = 1)`,
    )
    .run(why, sha256);
}

export const countMismatch = (store: Store): void => {
  store.db.query("UPDATE sample_site SET mismatched = mismatched + 1").run();
};

/** The oldest file to be scanned; those that other rules have judged before come last. */
export const nextToScan = (store: Store): { sha256: string; size: number } | undefined =>
  store.db
    .query<{ sha256: string; size: number }, []>(
      "SELECT sha256, size FROM samples WHERE size IS NOT NULL AND state = 'arrived' ORDER BY pack IS NOT NULL, changedMs LIMIT 1",
    )
    .get() ?? undefined;

/** Counts that a detector is given this file. False when it ended too many of them: then it counts as scanned, with an error. */
export function tryToScan(store: Store, sha256: string, pack: string): boolean {
  const row = store.db
    .query<{ attempts: number }, [string]>("UPDATE samples SET attempts = attempts + 1 WHERE sha256 = ? RETURNING attempts")
    .get(sha256);
  if ((row?.attempts ?? 0) <= MAX_ATTEMPTS) return true;
  saveVerdicts(store, [{ sha256, pack, matches: [], error: `the detector ended ${MAX_ATTEMPTS} times on this file` }]);
  return false;
}

/** Keeps verdicts by hash, for the whole site. The alerts of every device that has a bad file are then pending. */
export function saveVerdicts(store: Store, verdicts: readonly SampleVerdict[]): void {
  const { db } = store;
  for (const { sha256, pack, matches, error } of verdicts) {
    const bad = matches.length > 0 ? 1 : 0;
    const found = db
      .query("UPDATE samples SET state = 'scanned', pack = $pack, matches = $matches, error = $error, bad = $bad WHERE sha256 = $sha256")
      .run({ sha256, pack, matches: JSON.stringify(matches), error: error ?? null, bad });
    if (found.changes > 0) db.query("UPDATE sightings SET pending = ? WHERE sha256 = ? AND pending <> ?").run(bad, sha256, bad);
  }
}

/** What is known of a file, on this site. */
export function verdictOf(store: Store, sha256: string): SampleVerdict | undefined {
  const row = store.db
    .query<{ pack: string | null; matches: string | null; error: string | null }, [string]>(
      "SELECT pack, matches, error FROM samples WHERE sha256 = ?",
    )
    .get(sha256);
  if (!row?.pack) return undefined;
  const { pack, matches, error } = row;
  return { sha256, pack, matches: matches === null ? [] : JSON.parse(matches), ...(error === null ? {} : { error }) };
}

/** A bad file, and devices that have it and no alert yet. */
export function nextNews(store: Store): { verdict: SampleVerdict; sightings: Sighting[] } | undefined {
  const first = store.db.query<{ sha256: string }, []>("SELECT sha256 FROM sightings WHERE pending = 1 ORDER BY id LIMIT 1").get();
  const verdict = first && verdictOf(store, first.sha256);
  if (!verdict) return undefined;
  type Row = Omit<Sighting, "executed" | "process"> & { executed: number; process: string | null };
  const rows = store.db
    .query<Row, [string, number]>(
      "SELECT device, sha256, path, executed, event, timeMs, process FROM sightings WHERE sha256 = ? AND pending = 1 ORDER BY id LIMIT ?",
    )
    .all(first.sha256, NEWS);
  const sightings = rows.map(({ executed, process, ...row }) => ({
    ...row,
    executed: executed === 1,
    ...(process === null ? {} : { process: JSON.parse(process) as NonNullable<Sighting["process"]> }),
  }));
  return { verdict, sightings };
}

/** The alerts of these are stored in the same transaction. Under a verdict that was replaced meanwhile they are decided again. */
export function markJudged(store: Store, judged: readonly { device: string; sha256: string; pack: string }[]): void {
  const mark = store.db.query(
    "UPDATE sightings SET pending = 0 WHERE device = $device AND sha256 = $sha256 AND EXISTS (SELECT 1 FROM samples s WHERE s.sha256 = $sha256 AND s.pack = $pack)",
  );
  for (const one of judged) mark.run(one);
}

/** Everything that should be in the spool. */
export const samplesHere = (store: Store): string[] =>
  store.db
    .query<{ sha256: string }, []>("SELECT sha256 FROM samples WHERE size IS NOT NULL")
    .all()
    .map(({ sha256 }) => sha256);

/** The scanned file that came first; it may leave the spool. */
export const oldestScanned = (store: Store): string | undefined =>
  store.db
    .query<{ sha256: string }, []>("SELECT sha256 FROM samples WHERE size IS NOT NULL AND state = 'scanned' ORDER BY changedMs LIMIT 1")
    .get()?.sha256;

/** The memory of processes that has been scanned, or that nobody scanned since `beforeMs`: it is to leave the spool. What is a file on some device too stays. */
export const memoryToForget = (store: Store, beforeMs: number): string[] =>
  store.db
    .query<{ sha256: string }, [number]>(
      `SELECT DISTINCT s.sha256 FROM sightings g JOIN samples s ON s.sha256 = g.sha256
       WHERE g.path GLOB '/proc/[0-9]*/mem' AND s.size IS NOT NULL AND (s.state = 'scanned' OR s.changedMs < ?)
       AND NOT EXISTS (SELECT 1 FROM sightings o WHERE o.sha256 = g.sha256 AND o.path NOT GLOB '/proc/[0-9]*/mem')`,
    )
    .all(beforeMs)
    .map(({ sha256 }) => sha256);

/** What an operator may know of a file or of memory by its hash. */
export function shownSample(store: Store, sha256: string): SampleShown {
  const row = store.db.query<{ state: SampleShown["state"] }, [string]>("SELECT state FROM samples WHERE sha256 = ?").get(sha256);
  const { matches = [], error } = verdictOf(store, sha256) ?? {};
  const scanning = samplePack(store) !== undefined;
  return { sha256, state: row?.state ?? "unknown", scanning, matches, ...(error === undefined ? {} : { error }) };
}

/** The file has left the spool. One that was not scanned is asked for again. */
export function sampleLeft(store: Store, sha256: string): void {
  const { changes } = store.db.query("UPDATE samples SET size = NULL, state = 'wanted' WHERE sha256 = ? AND state = 'arrived'").run(sha256);
  if (changes > 0) store.db.query("UPDATE sightings SET open = 1 WHERE sha256 = ?").run(sha256);
  else store.db.query("UPDATE samples SET size = NULL WHERE sha256 = ?").run(sha256);
}

export type SampleTotals = {
  /** Files in the spool and their bytes. */
  readonly files: number;
  readonly bytes: number;
  /** Of them, not scanned. */
  readonly waiting: number;
  readonly wanted: number;
  /** Transfers whose bytes were not those of the hash, and sightings let go because a device had too many; since the site was made. */
  readonly mismatched: number;
  readonly forgotten: number;
};

export const sampleTotals = (store: Store): SampleTotals =>
  store.db
    .query<SampleTotals, []>(
      `SELECT COUNT(*) AS files, COALESCE(SUM(size), 0) AS bytes, COALESCE(SUM(state = 'arrived'), 0) AS waiting,
         (SELECT COUNT(*) FROM samples WHERE state = 'wanted') AS wanted,
         (SELECT mismatched FROM sample_site) AS mismatched, (SELECT forgotten FROM sample_site) AS forgotten
       FROM samples WHERE size IS NOT NULL`,
    )
    .get()!;

/** Bytes in the spool, of all files and of those that were not scanned. */
export const spoolBytes = (store: Store): { all: number; waiting: number } =>
  store.db
    .query<{ all: number; waiting: number }, []>(
      `SELECT COALESCE(SUM(size), 0) AS "all", COALESCE(SUM(size * (state = 'arrived')), 0) AS waiting FROM samples WHERE size IS NOT NULL`,
    )
    .get()!;
