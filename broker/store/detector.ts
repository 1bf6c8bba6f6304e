// The detector's state of record: its cursor, and how often it saw what. It keeps none itself.
import { MARK_KIND, MAX_KEPT_MARKS, type Seen } from "@picket/protocol/feed";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const detectorMigrations: Migrations = [
  `
  CREATE TABLE detector (one INTEGER PRIMARY KEY CHECK (one = 1), cursor INTEGER NOT NULL, read INTEGER NOT NULL, refused INTEGER NOT NULL) STRICT;
  INSERT INTO detector VALUES (1, 1, 0, 0);
  CREATE TABLE seen (
    device TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    count INTEGER NOT NULL,
    touched INTEGER NOT NULL,
    PRIMARY KEY (device, kind, key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX seen_by_touch ON seen (touched);
  `,
];

/** Most keys remembered. Past it the ones not touched for longest go: a device that invents names cannot fill the disk. */
const MAX_SEEN = 200_000;

export type DetectorState = { readonly cursor: number; readonly read: number; readonly refused: number };

export const detectorState = (store: Store): DetectorState =>
  store.db.query<DetectorState, []>("SELECT cursor, read, refused FROM detector").get()!;

/** Moves the cursor; call in the transaction that stores the alerts. It never goes back. */
export const advanceCursor = (store: Store, of: { next: number; read: number; refused: number }): void => {
  store.db.query("UPDATE detector SET cursor = MAX(cursor, $next), read = read + $read, refused = refused + $refused").run(of);
};

/** Remembers counts. They are totals: a lower one never replaces a higher. `touched` orders them by age. */
export function saveSeen(store: Store, seen: readonly Seen[], touched: number): void {
  const save = store.db.query(
    `INSERT INTO seen VALUES ($device, $kind, $key, $count, $touched)
     ON CONFLICT DO UPDATE SET count = MAX(count, excluded.count), touched = excluded.touched`,
  );
  for (const { device, kind, key, count } of seen) save.run({ device, kind, key, count, touched });
  trimMarks(store, "seen", seen);
}

/** Lets the oldest marks go of devices that made new ones. `of`: a table, or a part of one. */
export function trimMarks(store: Store, table: "seen" | "lane_seen", made: readonly Seen[], lane = 0): void {
  const of = table === "seen" ? "0 = $lane" : "lane = $lane";
  const is = `${of} AND device = $device AND kind = $kind AND substr(key, 1, length($name)) = $name`;
  const trim = store.db.query(
    `DELETE FROM ${table} WHERE ${is} AND key NOT IN (SELECT key FROM ${table} WHERE ${is} ORDER BY count DESC, key DESC LIMIT ${MAX_KEPT_MARKS})`,
  );
  const names = new Map<string, { device: string; name: string }>();
  for (const { device, kind, key } of made) {
    const name = key.slice(0, key.indexOf(",") + 1);
    if (kind === MARK_KIND) names.set(`${device} ${name}`, { device, name });
  }
  for (const { device, name } of names.values()) trim.run({ lane, device, kind: MARK_KIND, name });
}

/** Forgets what was not seen for longest when there is too much. Returns how many went. */
export function trimSeen(store: Store): number {
  const { n } = store.db.query<{ n: number }, []>("SELECT COUNT(*) AS n FROM seen").get()!;
  if (n <= MAX_SEEN) return 0;
  return store.db
    .query("DELETE FROM seen WHERE (device, kind, key) IN (SELECT device, kind, key FROM seen ORDER BY touched LIMIT ?)")
    .run(n - MAX_SEEN).changes;
}

/** Everything seen, in pages in key order; `after` is the last row of the page before. */
export const readSeen = (store: Store, after: Seen | undefined, limit: number): Seen[] =>
  store.db
    .query<Seen, [string, string, string, number]>(
      "SELECT device, kind, key, count FROM seen WHERE (device, kind, key) > (?, ?, ?) ORDER BY device, kind, key LIMIT ?",
    )
    .all(after?.device ?? "", after?.kind ?? "", after?.key ?? "", limit);
