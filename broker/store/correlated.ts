// What the detector's Sigma correlations remember: their windows may be longer than what it reads again. It keeps none itself.
import type { Correlated } from "@picket/protocol/feed";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const correlatedMigrations: Migrations = [
  `
  CREATE TABLE correlated (
    -- 0: of the main cursor and of devices that are read apart; else of a lane after an outage, which has its own.
    lane INTEGER NOT NULL,
    device TEXT NOT NULL,
    rule TEXT NOT NULL,
    "group" TEXT NOT NULL,
    n INTEGER NOT NULL,
    receivedMs INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (lane, device, rule, "group")
  ) STRICT, WITHOUT ROWID;
  `,
];

/** Keeps what changed, and lets go of what has no body; call in the transaction that moves the cursor. `lane`: 0 is the main one. */
export function saveCorrelated(store: Store, lane: number, rows: readonly Correlated[]): void {
  const save = store.db.query(
    `INSERT INTO correlated VALUES ($lane, $device, $rule, $group, $n, $receivedMs, $body)
     ON CONFLICT DO UPDATE SET n = excluded.n, receivedMs = excluded.receivedMs, body = excluded.body`,
  );
  const remove = store.db.query(`DELETE FROM correlated WHERE lane = $lane AND device = $device AND rule = $rule AND "group" = $group`);
  for (const { device, rule, group, n, receivedMs, body } of rows) {
    if (body === "") remove.run({ lane, device, rule, group });
    else save.run({ lane, device, rule, group, n, receivedMs, body });
  }
}

/** Everything that a lane remembers, of one device or all, in pages in key order; `after` is the last row of the page before. */
export const readCorrelated = (
  store: Store,
  of: { lane: number; device: string | undefined; after: Correlated | undefined; limit: number },
): Correlated[] =>
  store.db
    .query<Correlated, Record<string, string | number | null>>(
      `SELECT device, rule, "group", n, receivedMs, body FROM correlated
       WHERE lane = $lane AND ($device IS NULL OR device = $device) AND (device, rule, "group") > ($d, $r, $g)
       ORDER BY device, rule, "group" LIMIT $limit`,
    )
    .all({
      ...{ lane: of.lane, device: of.device ?? null, limit: of.limit },
      ...{ d: of.after?.device ?? of.device ?? "", r: of.after?.rule ?? "", g: of.after?.group ?? "" },
    });

/** What a lane after an outage begins with: what was known at the cursor. */
export const copyCorrelated = (store: Store, lane: number): void => {
  store.db.query(`INSERT INTO correlated SELECT ?, device, rule, "group", n, receivedMs, body FROM correlated WHERE lane = 0`).run(lane);
};

export const dropCorrelated = (store: Store, lane: number): void => {
  store.db.query("DELETE FROM correlated WHERE lane = ?").run(lane);
};
