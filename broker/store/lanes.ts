// Where the detector reads besides its main cursor: what lies behind after an outage, and devices that hold up the others.
import type { Seen } from "@picket/protocol/feed";
import { copyCorrelated, dropCorrelated } from "./correlated.ts";
import type { Store } from "./database.ts";
import { trimMarks } from "./detector.ts";
import type { Migrations } from "./migration.ts";

export const laneMigrations: Migrations = [
  `
  CREATE TABLE lanes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Of one device from cursor on, or (NULL) of all up to end.
    device TEXT UNIQUE,
    start INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    "end" INTEGER,
    seam INTEGER NOT NULL
  ) STRICT;
  -- How often things were seen, as a lane after an outage knows it: the main one goes on counting at the same time.
  CREATE TABLE lane_seen (
    lane INTEGER NOT NULL,
    device TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (lane, device, kind, key)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE seam (one INTEGER PRIMARY KEY CHECK (one = 1), "offset" INTEGER NOT NULL) STRICT;
  INSERT INTO seam VALUES (1, 0);
  `,
];

export type Lane = {
  readonly id: number;
  /** Set: it reads what this device sent, from `start` on. */
  readonly device: string | null;
  /** Offset of the first batch that is this lane's to decide. */
  readonly start: number;
  readonly cursor: number;
  /** Set: it reads what all sent, up to here, and is then gone. */
  readonly end: number | null;
  /** Alerts begun before this offset do not grow in it. */
  readonly seam: number;
};

export const listLanes = (store: Store): Lane[] =>
  store.db.query<Lane, []>(`SELECT id, device, start, cursor, "end", seam FROM lanes ORDER BY id`).all();

/** Offset before which no alert of the main cursor began: it jumped there. */
export const seamOf = (store: Store): number => store.db.query<{ offset: number }, []>(`SELECT "offset" FROM seam`).get()!.offset;

/** Leaves everything in [cursor, at) to a lane of its own, and moves the cursor to `at`. Call in a transaction. */
export function addSeam(store: Store, cursor: number, at: number): void {
  const { id } = store.db
    .query<{ id: number }, [number, number, number, number]>(
      `INSERT INTO lanes (device, start, cursor, "end", seam) VALUES (NULL, ?, ?, ?, ?) RETURNING id`,
    )
    .get(cursor, cursor, at, seamOf(store))!;
  store.db.query("INSERT INTO lane_seen SELECT ?, device, kind, key, count FROM seen").run(id);
  copyCorrelated(store, id);
  // Incidents go on where their events are; what comes behind the seam begins its own.
  store.db.query("UPDATE incidents SET lane = ? WHERE lane = 0 AND seenMs IS NOT NULL").run(id);
  store.db.query(`UPDATE seam SET "offset" = ?`).run(at);
  store.db.query("UPDATE detector SET cursor = ?").run(at);
}

/** From offset `start` on, this device is read apart. Call in the transaction that moves the main cursor on. */
export const setAside = (store: Store, device: string, start: number): void => {
  store.db
    .query(`INSERT OR IGNORE INTO lanes (device, start, cursor, "end", seam) VALUES (?, ?, ?, NULL, ?)`)
    .run(device, start, start, seamOf(store));
};

export const advanceLane = (store: Store, id: number, of: { next: number; read: number; refused: number }): void => {
  store.db.query("UPDATE lanes SET cursor = MAX(cursor, ?) WHERE id = ?").run(of.next, id);
  store.db.query("UPDATE detector SET read = read + ?, refused = refused + ?").run(of.read, of.refused);
};

export const removeLane = (store: Store, id: number): void => {
  store.db.query("DELETE FROM lane_seen WHERE lane = ?").run(id);
  dropCorrelated(store, id);
  store.db.query("DELETE FROM lanes WHERE id = ?").run(id);
};

/** The lowest offset that is still to be read of all devices. */
export const unreadFrom = (store: Store): number =>
  store.db
    .query<{ n: number }, []>(
      "SELECT MIN(cursor) AS n FROM (SELECT cursor FROM detector UNION ALL SELECT cursor FROM lanes WHERE device IS NULL)",
    )
    .get()!.n;

/** Gives devices back to the main cursor that are as far as it is. Not while there is a lane of all devices, which would read theirs too. */
export function rejoin(store: Store, cursor: number): void {
  const lanes = listLanes(store);
  if (lanes.some(({ device }) => device === null)) return;
  for (const { id, device, cursor: own } of lanes) {
    const [from, to] = [Math.min(cursor, own), Math.max(cursor, own)];
    const between = store.db
      .query<{ offset: number }, [string, number, number]>("SELECT offset FROM log WHERE device = ? AND offset >= ? AND offset < ? LIMIT 1")
      .get(device!, from, to);
    if (!between) removeLane(store, id);
  }
}

/** Remembers counts of a lane. They are totals: a lower one never replaces a higher. */
export function saveLaneSeen(store: Store, lane: number, seen: readonly Seen[]): void {
  const save = store.db.query(
    "INSERT INTO lane_seen VALUES ($lane, $device, $kind, $key, $count) ON CONFLICT DO UPDATE SET count = MAX(count, excluded.count)",
  );
  for (const { device, kind, key, count } of seen) save.run({ lane, device, kind, key, count });
  trimMarks(store, "lane_seen", seen, lane);
}

/** Everything a lane of all devices has seen, in pages in key order; `after` is the last row of the page before. */
export const readLaneSeen = (store: Store, lane: number, after: Seen | undefined, limit: number): Seen[] =>
  store.db
    .query<Seen, [number, string, string, string, number]>(
      "SELECT device, kind, key, count FROM lane_seen WHERE lane = ? AND (device, kind, key) > (?, ?, ?) ORDER BY device, kind, key LIMIT ?",
    )
    .all(lane, after?.device ?? "", after?.kind ?? "", after?.key ?? "", limit);

export type Lag = {
  readonly batches: number;
  readonly events: number;
  /** Since the oldest of them was received; 0 when there is none. */
  readonly seconds: number;
};

const lagBetween = (store: Store, from: number, to: number, nowMs: number, device?: string | null): Lag => {
  const row = store.db
    .query<{ batches: number; events: number | null; sinceMs: number | null }, Record<string, string | number | null>>(
      `SELECT COUNT(*) AS batches, SUM(count) AS events, MIN(receivedMs) AS sinceMs FROM log
       WHERE offset >= $from AND offset < $to AND ($device IS NULL OR device = $device)`,
    )
    .get({ from, to, device: device ?? null })!;
  const { batches, events, sinceMs } = row;
  return { batches, events: events ?? 0, seconds: sinceMs === null ? 0 : Math.max(0, Math.round((nowMs - sinceMs) / 1000)) };
};

/** How far the detector is behind: with what arrives now, and, in all, with what is caught up on the side. Devices that are read apart count on the side. */
export function detectorLag(store: Store, nowMs: number): { live: Lag; aside: Lag } {
  const { cursor } = store.db.query<{ cursor: number }, []>("SELECT cursor FROM detector").get()!;
  const END = Number.MAX_SAFE_INTEGER;
  const lanes = listLanes(store);
  const parts = lanes.map((lane) => lagBetween(store, lane.cursor, lane.end ?? END, nowMs, lane.device));
  const all = lagBetween(store, cursor, END, nowMs);
  // What the main cursor passes by is not its own.
  const apart = lanes.flatMap(({ device }) => (device === null ? [] : [lagBetween(store, cursor, END, nowMs, device)]));
  const sum = (of: readonly Lag[], key: "batches" | "events") => of.reduce((total, one) => total + one[key], 0);
  const batches = all.batches - sum(apart, "batches");
  return {
    live: { batches, events: all.events - sum(apart, "events"), seconds: batches === 0 ? 0 : all.seconds },
    aside: { batches: sum(parts, "batches"), events: sum(parts, "events"), seconds: Math.max(0, ...parts.map(({ seconds }) => seconds)) },
  };
}
