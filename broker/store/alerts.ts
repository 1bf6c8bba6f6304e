// Alerts: what was detected and what operators decided, in separate columns, so that neither overwrites the other.
import { type Alert, type AlertStatus, type Detection, type Severity, severities } from "@picket/protocol/alert";
import type { Store } from "./database.ts";
import { shareAlert } from "./mesh-log.ts";
import { getMeshAlert, giveWay, listMeshAlerts, setMeshAlert } from "./mesh-received.ts";
import type { Migrations } from "./migration.ts";
import { enqueue } from "./sink-queue.ts";

export const alertsMigrations: Migrations = [
  `
  CREATE TABLE alerts (
    id TEXT PRIMARY KEY,
    device TEXT NOT NULL,
    engine TEXT NOT NULL,
    severity TEXT NOT NULL,
    revision INTEGER NOT NULL,
    lastMs INTEGER NOT NULL,
    -- The broker's clock: lastMs is the device's, which may be wrong by years.
    changedMs INTEGER NOT NULL,
    "group" TEXT NOT NULL,
    detection TEXT NOT NULL,
    -- Written by operators only.
    status TEXT NOT NULL DEFAULT 'open',
    assignee TEXT,
    notes TEXT NOT NULL DEFAULT '[]'
  ) STRICT;
  CREATE INDEX alerts_by_time ON alerts (lastMs);
  CREATE INDEX alerts_by_change ON alerts (changedMs);
  CREATE INDEX alerts_by_device ON alerts (device, status);
  CREATE INDEX alerts_by_status ON alerts (status, severity);
  `,
  `
  -- What retention let go since the site was made.
  CREATE TABLE alerts_let_go (one INTEGER PRIMARY KEY CHECK (one = 1), count INTEGER NOT NULL) STRICT;
  INSERT INTO alerts_let_go VALUES (1, 0);
  CREATE INDEX alerts_closed ON alerts (changedMs) WHERE status = 'closed';
  `,
];

type Row = { detection: string; status: AlertStatus; assignee: string | null; notes: string };
const columns = "detection, status, assignee, notes";

function toAlert(row: Row): Alert {
  const detection = JSON.parse(row.detection) as Detection;
  return {
    ...detection,
    status: row.status,
    ...(row.assignee === null ? {} : { assignee: row.assignee }),
    notes: JSON.parse(row.notes) as Alert["notes"],
  };
}

export type Upserted = "created" | "grown" | "unchanged";

/** Stores what was detected here, and queues it for the sinks and the mesh, when it is new or has a higher revision; call inside a transaction. */
export function upsertAlert(store: Store, detection: Detection, group: string, nowMs: number): Upserted {
  const before = store.db.query<{ revision: number }, [string]>("SELECT revision FROM alerts WHERE id = ?").get(detection.id);
  if (before && before.revision >= detection.revision) return "unchanged";
  store.db
    .query(
      `INSERT INTO alerts (id, device, engine, severity, revision, lastMs, changedMs, "group", detection)
       VALUES ($id, $device, $engine, $severity, $revision, $lastMs, $nowMs, $group, $detection)
       ON CONFLICT (id) DO UPDATE SET severity = excluded.severity, revision = excluded.revision, lastMs = excluded.lastMs, changedMs = excluded.changedMs, detection = excluded.detection`,
    )
    .run({
      id: detection.id,
      device: detection.device,
      engine: detection.rule.engine,
      severity: detection.severity,
      revision: detection.revision,
      lastMs: detection.lastMs,
      nowMs,
      group,
      detection: JSON.stringify(detection),
    });
  if (!before) giveWay(store, detection.id);
  enqueue(store.db, ownAlert(store, detection.id)!, nowMs);
  shareAlert(store, detection, nowMs);
  return before ? "grown" : "created";
}

/** An alert of this site, or one of another that came through the mesh. */
export const getAlert = (store: Store, id: string): Alert | undefined => ownAlert(store, id) ?? getMeshAlert(store, id);

function ownAlert(store: Store, id: string): Alert | undefined {
  const row = store.db.query<Row, [string]>(`SELECT ${columns} FROM alerts WHERE id = ?`).get(id);
  return row ? toAlert(row) : undefined;
}

export type AlertQuery = {
  /** This and above. */
  /** This and above. */
  readonly severity?: Severity | undefined;
  readonly technique?: string | undefined;
  readonly device?: string | undefined;
  readonly status?: AlertStatus | undefined;
  /** Alerts that grew at this time or later. */
  readonly sinceMs?: number | undefined;
  /** Of this site, of others, or (default) both. */
  readonly origin?: "all" | "own" | "mesh" | undefined;
  readonly limit: number;
};

/**
 * Alerts, those that grew last first. A technique also finds its sub-techniques (T1059 finds T1059.004). Of all, at most half are those of other
 * sites while there are enough of this one: no peer's flood hides what happened here.
 */
export function listAlerts(store: Store, query: AlertQuery): Alert[] {
  const { origin = "all", limit } = query;
  const given = {
    severities: query.severity === undefined ? null : JSON.stringify(severities.slice(severities.indexOf(query.severity))),
    technique: query.technique ?? null,
    device: query.device ?? null,
    status: query.status ?? null,
    sinceMs: query.sinceMs ?? null,
    limit,
  };
  const own = origin === "mesh" ? [] : listOwn(store, given);
  if (origin === "own") return own;
  const mesh = listMeshAlerts(store, { ...given, limit: Math.max(limit - own.length, origin === "mesh" ? limit : Math.floor(limit / 2)) });
  const kept = own.slice(0, Math.max(limit - mesh.length, 0));
  return [...kept, ...mesh].sort((a, b) => b.lastMs - a.lastMs || (a.id < b.id ? -1 : 1));
}

function listOwn(store: Store, given: Parameters<typeof listMeshAlerts>[1]): Alert[] {
  return store.db
    .query<Row, Record<string, string | number | null>>(
      `SELECT ${columns} FROM alerts
       WHERE ($severities IS NULL OR severity IN (SELECT value FROM json_each($severities))) AND ($device IS NULL OR device = $device)
         AND ($status IS NULL OR status = $status) AND ($sinceMs IS NULL OR lastMs >= $sinceMs)
         AND ($technique IS NULL OR EXISTS (SELECT 1 FROM json_each(detection, '$.attack.techniques') t
           WHERE t.value = $technique OR substr(t.value, 1, length($technique) + 1) = $technique || '.'))
       ORDER BY lastMs DESC, id LIMIT $limit`,
    )
    .all(given)
    .map(toAlert);
}

/** What an operator decides, for this site: no other hears of it. Fields left out stay; the newest 200 notes are kept. Returns the alert, or undefined when there is none. */
export function judgeAlert(
  store: Store,
  id: string,
  judgement: { status?: AlertStatus | undefined; assignee?: string | undefined; note?: string | undefined },
  by: { operator: string; nowMs: number },
): Alert | undefined {
  return store.commitNow(() => {
    const alert = getAlert(store, id);
    if (!alert) return undefined;
    const notes = judgement.note
      ? [...alert.notes, { timeMs: by.nowMs, operator: by.operator, text: judgement.note }].slice(-200)
      : alert.notes;
    const status = judgement.status ?? alert.status;
    const assignee = judgement.assignee ?? alert.assignee ?? null;
    if (alert.origin) setMeshAlert(store, id, { status, assignee, notes: JSON.stringify(notes) });
    else
      store.db.query("UPDATE alerts SET status = ?, assignee = ?, notes = ? WHERE id = ?").run(status, assignee, JSON.stringify(notes), id);
    return getAlert(store, id);
  });
}

/** The detector's own alerts that may still grow: stored or grown at `sinceMs` or later. The latest when there are more than `limit`. */
export const growingAlerts = (store: Store, sinceMs: number, limit: number): { detection: Detection; group: string }[] =>
  store.db
    .query<{ detection: string; group: string }, [number, number]>(
      `SELECT detection, "group" FROM alerts WHERE engine <> 'broker' AND changedMs >= ? ORDER BY changedMs DESC LIMIT ?`,
    )
    .all(sinceMs, limit)
    .map((row) => ({ detection: JSON.parse(row.detection) as Detection, group: row.group }));

/**
 * Lets go of closed alerts that last grew before `beforeMs`, and of the oldest closed ones while there are more than `keepCount` in all.
 * Alerts that nobody closed stay, whatever their age and number. Returns how many went, at most `limit`.
 */
export function trimAlerts(store: Store, of: { beforeMs: number; keepCount: number; limit: number }): number {
  const { db } = store;
  const n = countAlerts(store);
  const oldest = db.query(
    "DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE status = 'closed' AND changedMs < $beforeMs ORDER BY changedMs LIMIT $limit)",
  );
  let gone = oldest.run({ beforeMs: of.beforeMs, limit: of.limit }).changes;
  const excess = Math.min(n - gone - of.keepCount, of.limit - gone);
  if (excess > 0) gone += oldest.run({ beforeMs: Number.MAX_SAFE_INTEGER, limit: excess }).changes;
  if (gone > 0) db.query("UPDATE alerts_let_go SET count = count + ?").run(gone);
  return gone;
}

/** Alerts of this site that are kept, whatever their status. */
export const countAlerts = (store: Store): number => store.db.query<{ n: number }, []>("SELECT COUNT(*) AS n FROM alerts").get()!.n;

/** Open alerts, in all and by severity. */
export function alertCounts(store: Store): Record<"open" | Severity, number> {
  const counts = { open: 0, low: 0, medium: 0, high: 0, critical: 0 };
  const rows = store.db
    .query<{ severity: Severity; n: number }, []>("SELECT severity, COUNT(*) AS n FROM alerts WHERE status = 'open' GROUP BY severity")
    .all();
  for (const { severity, n } of rows) {
    counts[severity] = n;
    counts.open += n;
  }
  return counts;
}
