// What came from other sites, apart from what is ours: no item of the mesh can change, hide or count among the site's own alerts.
import type { Alert, AlertStatus, Detection } from "@picket/protocol/alert";
import type { Ioc, SharedVerdict } from "@picket/protocol/mesh";
import { uuid5 } from "@picket/protocol/uuid5";
import { type Judged, judgedColumns, judgedOf, setJudged } from "./alert-life.ts";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

/** `caHash` tells two sites of one name apart. `via` is the peer it came through. */
export type From = { readonly origin: string; readonly caHash: string; readonly via: string; readonly receivedMs: number };

export const meshReceivedMigrations: Migrations = [
  `
  CREATE TABLE mesh_alerts (
    origin TEXT NOT NULL,
    caHash TEXT NOT NULL,
    id TEXT NOT NULL,
    -- The id it has at this site: its own, or another where somebody else's alert has that one already.
    shown TEXT NOT NULL UNIQUE,
    via TEXT NOT NULL,
    receivedMs INTEGER NOT NULL,
    device TEXT NOT NULL,
    severity TEXT NOT NULL,
    revision INTEGER NOT NULL,
    lastMs INTEGER NOT NULL,
    detection TEXT NOT NULL,
    -- Decided by operators of this site, for this site.
    status TEXT NOT NULL DEFAULT 'open',
    assignee TEXT,
    notes TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (origin, caHash, id)
  ) STRICT;
  CREATE INDEX mesh_alerts_by_time ON mesh_alerts (lastMs);
  CREATE INDEX mesh_alerts_by_via ON mesh_alerts (via, receivedMs);
  CREATE TABLE mesh_verdicts (
    origin TEXT NOT NULL, caHash TEXT NOT NULL, sha256 TEXT NOT NULL, via TEXT NOT NULL, receivedMs INTEGER NOT NULL,
    verdict TEXT NOT NULL, rules TEXT NOT NULL, judgedMs INTEGER NOT NULL,
    PRIMARY KEY (sha256, origin, caHash)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX mesh_verdicts_by_via ON mesh_verdicts (via, receivedMs);
  CREATE TABLE mesh_iocs (
    origin TEXT NOT NULL, caHash TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, via TEXT NOT NULL, receivedMs INTEGER NOT NULL,
    confidence INTEGER NOT NULL, expiresMs INTEGER NOT NULL, source TEXT NOT NULL, sharedMs INTEGER NOT NULL,
    PRIMARY KEY (kind, value, origin, caHash)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX mesh_iocs_by_via ON mesh_iocs (via, receivedMs);
  `,
  `
  ALTER TABLE mesh_alerts ADD COLUMN verdict TEXT;
  ALTER TABLE mesh_alerts ADD COLUMN history TEXT NOT NULL DEFAULT '[]';
  `,
];

/** Most rows of each kind that came through one peer: one that floods displaces only what it brought itself. */
export const MAX_PER_PEER = { mesh_alerts: 10_000, mesh_verdicts: 50_000, mesh_iocs: 50_000 } as const;
type Table = keyof typeof MAX_PER_PEER;

type Row = {
  origin: string;
  via: string;
  shown: string;
  receivedMs: number;
  detection: string;
  isPeer: number;
} & Judged;
const select = `SELECT origin, via, shown, receivedMs, detection, ${judgedColumns},
  EXISTS (SELECT 1 FROM mesh_peers p WHERE p.site = m.origin AND p.caHash = m.caHash) AS isPeer FROM mesh_alerts m`;

function toAlert(row: Row): Alert {
  const detection = JSON.parse(row.detection) as Detection;
  return {
    ...detection,
    id: row.shown,
    origin: { site: row.origin, via: row.via, trust: row.isPeer ? "peer" : "vouched", receivedMs: row.receivedMs },
    ...judgedOf(row),
  };
}

/** The id of an alert whose own id is taken here. */
const otherId = (from: Pick<From, "origin" | "caHash">, id: string) => uuid5("mesh", from.origin, from.caHash, id);

/** Stores an alert of another site; call inside a transaction. Returns the id it is shown under, or undefined when nothing is new. */
export function putMeshAlert(store: Store, from: From, detection: Detection): { shown: string; created: boolean } | undefined {
  const before = store.db
    .query<{ revision: number; shown: string }, [string, string, string]>(
      "SELECT revision, shown FROM mesh_alerts WHERE origin = ? AND caHash = ? AND id = ?",
    )
    .get(from.origin, from.caHash, detection.id);
  if (before && before.revision >= detection.revision) return undefined;
  // A clock that is ahead must not keep an alert on top of every list for years.
  const sane = { ...detection, firstMs: Math.min(detection.firstMs, from.receivedMs), lastMs: Math.min(detection.lastMs, from.receivedMs) };
  sane.timeMs = Math.min(detection.timeMs, from.receivedMs);
  const { device, severity, revision, lastMs } = sane;
  if (before) {
    store.db
      .query(
        "UPDATE mesh_alerts SET device = ?, severity = ?, revision = ?, lastMs = ?, detection = ? WHERE origin = ? AND caHash = ? AND id = ?",
      )
      .run(device, severity, revision, lastMs, JSON.stringify(sane), from.origin, from.caHash, detection.id);
    return { shown: before.shown, created: false };
  }
  const taken = store.db
    .query("SELECT 1 FROM alerts WHERE id = $id UNION ALL SELECT 1 FROM mesh_alerts WHERE shown = $id")
    .get({ id: detection.id });
  const shown = taken ? otherId(from, detection.id) : detection.id;
  store.db
    .query(
      `INSERT INTO mesh_alerts (origin, caHash, id, shown, via, receivedMs, device, severity, revision, lastMs, detection)
       VALUES ($origin, $caHash, $id, $shown, $via, $receivedMs, $device, $severity, $revision, $lastMs, $detection)`,
    )
    .run({ ...from, id: detection.id, shown, device, severity, revision, lastMs, detection: JSON.stringify(sane) });
  return { shown, created: true };
}

/** An alert of this site takes its id, whoever had it: call when one is created, inside its transaction. */
export function giveWay(store: Store, id: string): void {
  const row = store.db
    .query<{ origin: string; caHash: string; id: string }, [string]>("SELECT origin, caHash, id FROM mesh_alerts WHERE shown = ?")
    .get(id);
  if (row) store.db.query("UPDATE mesh_alerts SET shown = ? WHERE shown = ?").run(otherId(row, row.id), id);
}

export function getMeshAlert(store: Store, shown: string): Alert | undefined {
  const row = store.db.query<Row, [string]>(`${select} WHERE shown = ?`).get(shown);
  return row ? toAlert(row) : undefined;
}

export type MeshAlertQuery = {
  /** JSON array, or null for any. */
  readonly severities: string | null;
  readonly technique: string | null;
  readonly device: string | null;
  readonly rule: string | null;
  readonly status: AlertStatus | null;
  readonly sinceMs: number | null;
  readonly limit: number;
};

/** Alerts of other sites, those that grew last first. */
export const listMeshAlerts = (store: Store, query: MeshAlertQuery): Alert[] =>
  store.db
    .query<Row, MeshAlertQuery>(
      `${select}
       WHERE ($severities IS NULL OR severity IN (SELECT value FROM json_each($severities))) AND ($device IS NULL OR device = $device)
         AND ($rule IS NULL OR json_extract(detection, '$.rule.id') = $rule)
         AND ($status IS NULL OR status = $status) AND ($sinceMs IS NULL OR lastMs >= $sinceMs)
         AND ($technique IS NULL OR EXISTS (SELECT 1 FROM json_each(detection, '$.attack.techniques') t
           WHERE t.value = $technique OR substr(t.value, 1, length($technique) + 1) = $technique || '.'))
       ORDER BY lastMs DESC, shown LIMIT $limit`,
    )
    .all(query)
    .map(toAlert);

/** What operators of this site decide about another's alert. It stays here. Call inside a transaction. */
export const setMeshAlert = (store: Store, shown: string, of: Judged): void => {
  store.db.query(`UPDATE mesh_alerts SET ${setJudged} WHERE shown = $shown`).run({ ...of, shown });
};

/** Call inside a transaction. False when the same or a later judgement of this site is known. */
export const putVerdict = (store: Store, from: From, verdict: SharedVerdict): boolean =>
  store.db
    .query(
      `INSERT INTO mesh_verdicts VALUES ($origin, $caHash, $sha256, $via, $receivedMs, $verdict, $rules, $judgedMs)
       ON CONFLICT DO UPDATE SET via = excluded.via, receivedMs = excluded.receivedMs, verdict = excluded.verdict,
         rules = excluded.rules, judgedMs = excluded.judgedMs WHERE excluded.judgedMs > judgedMs`,
    )
    .run({ ...from, ...verdict, rules: JSON.stringify(verdict.rules) }).changes > 0;

/** What other sites say of a file. */
export const verdictsOf = (store: Store, sha256: string): (SharedVerdict & { origin: string; via: string })[] =>
  store.db
    .query<Omit<SharedVerdict, "rules"> & { rules: string; origin: string; via: string }, [string]>(
      "SELECT sha256, verdict, rules, judgedMs, origin, via FROM mesh_verdicts WHERE sha256 = ?",
    )
    .all(sha256)
    .map((row) => ({ ...row, rules: JSON.parse(row.rules) as string[] }));

/** Call inside a transaction. False when the same or a later version is known. */
export const putIoc = (store: Store, from: From, ioc: Ioc): boolean =>
  store.db
    .query(
      `INSERT INTO mesh_iocs VALUES ($origin, $caHash, $kind, $value, $via, $receivedMs, $confidence, $expiresMs, $source, $sharedMs)
       ON CONFLICT DO UPDATE SET via = excluded.via, receivedMs = excluded.receivedMs, confidence = excluded.confidence,
         expiresMs = excluded.expiresMs, source = excluded.source, sharedMs = excluded.sharedMs WHERE excluded.sharedMs > sharedMs`,
    )
    .run({ ...from, ...ioc }).changes > 0;

export type ReceivedIoc = Ioc & { readonly origin: string; readonly via: string };

/** Indicators that still hold, newest first. */
export const listIocs = (store: Store, nowMs: number, limit: number): ReceivedIoc[] =>
  store.db
    .query<ReceivedIoc, [number, number]>(
      `SELECT kind, value, confidence, expiresMs, source, sharedMs, origin, via FROM mesh_iocs WHERE expiresMs > ? ORDER BY sharedMs DESC, value LIMIT ?`,
    )
    .all(nowMs, limit);

/** Sites whose indicators hold, and what changes when one of them does. */
export const iocOrigins = (store: Store, nowMs: number): { origin: string; stamp: string }[] =>
  store.db
    .query<{ origin: string; stamp: string }, [number]>(
      `SELECT origin, COUNT(*) || ' ' || MAX(receivedMs) || ' ' || SUM(expiresMs % 1000003) AS stamp FROM mesh_iocs WHERE expiresMs > ?
       GROUP BY origin ORDER BY origin`,
    )
    .all(nowMs);

/** Indicators of one site that hold, in pages in a fixed order. */
export const iocsOf = (store: Store, origin: string, from: number, limit: number, nowMs: number): Ioc[] =>
  store.db
    .query<Ioc, [string, number, number, number]>(
      `SELECT kind, value, confidence, expiresMs, source, sharedMs FROM mesh_iocs WHERE origin = ? AND expiresMs > ?
       ORDER BY kind, value, caHash LIMIT ? OFFSET ?`,
    )
    .all(origin, nowMs, limit, from);

/** Whether a site's indicators come from a peer of ours, or from one that a peer vouches for. */
export const iocTrust = (store: Store, origin: string): "peer" | "vouched" =>
  store.db
    .query("SELECT 1 FROM mesh_iocs i JOIN mesh_peers p ON p.site = i.origin AND p.caHash = i.caHash WHERE i.origin = ? LIMIT 1")
    .get(origin)
    ? "peer"
    : "vouched";

/** Lets the oldest rows of each peer go beyond its share, and what has expired. Call inside a transaction. */
export function trimReceived(store: Store, nowMs: number): void {
  store.db.run("DELETE FROM mesh_iocs WHERE expiresMs < ?", [nowMs]);
  for (const [table, most] of Object.entries(MAX_PER_PEER) as [Table, number][]) {
    for (const { via } of store.db.query<{ via: string }, []>(`SELECT DISTINCT via FROM ${table}`).all()) {
      const edge = store.db
        .query<{ receivedMs: number }, [string, number]>(
          `SELECT receivedMs FROM ${table} WHERE via = ? ORDER BY receivedMs DESC LIMIT 1 OFFSET ?`,
        )
        .get(via, most);
      if (edge) store.db.query(`DELETE FROM ${table} WHERE via = ? AND receivedMs <= ?`).run(via, edge.receivedMs);
    }
  }
}
