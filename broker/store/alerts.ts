// Alerts: what was detected and what operators decided, in separate columns, so that neither overwrites the other.
import { type Alert, type AlertRecurrence, type AlertStatus, type Detection, type Severity, severities } from "@picket/protocol/alert";
import { type Judged, type Judgement, judged, judgedColumns, judgedOf, reopened, setJudged, whyReopen } from "./alert-life.ts";
import type { Store } from "./database.ts";
import { addToIncident, alertReopened, decide, incidentFor, meet } from "./incidents.ts";
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
  `
  ALTER TABLE alerts ADD COLUMN verdict TEXT;
  ALTER TABLE alerts ADD COLUMN history TEXT NOT NULL DEFAULT '[]';
  CREATE INDEX alerts_by_group ON alerts (device, "group");
  `,
  `
  -- An alert that was there before incidents were is one of its own.
  ALTER TABLE alerts ADD COLUMN incident TEXT;
  ALTER TABLE alerts ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
  UPDATE alerts SET incident = id, count = COALESCE(json_extract(detection, '$.count'), 1);
  CREATE INDEX alerts_by_incident ON alerts (incident, count);
  `,
];

type Row = { detection: string; incident: string } & Judged;
const columns = `detection, incident, ${judgedColumns}`;

const toAlert = (row: Row): Alert => ({ ...(JSON.parse(row.detection) as Detection), incident: row.incident, ...judgedOf(row) });

export type Upserted = "created" | "grown" | "unchanged";

/** Stores what was detected here, and queues it for the sinks and the mesh, when it is new or has a higher revision; call inside a transaction. */
export function upsertAlert(store: Store, detection: Detection, group: string, nowMs: number): Upserted {
  const before = store.db
    .query<{ revision: number; status: AlertStatus; incident: string }, [string]>(
      "SELECT revision, status, incident FROM alerts WHERE id = ?",
    )
    .get(detection.id);
  if (before && before.revision >= detection.revision) return "unchanged";
  const closed = before?.status === "closed" ? ownAlert(store, detection.id) : undefined;
  const why = closed && whyReopen(closed, detection);
  if (closed && why !== undefined) {
    setOwnAlert(store, detection.id, reopened(closed, why, nowMs));
    alertReopened(store, before!.incident, why, nowMs);
  }
  const incident = before?.incident ?? incidentFor(store, detection, nowMs);
  const status = before ? undefined : meet(store, incident, detection, nowMs);
  addToIncident(store, incident, detection, nowMs);
  store.db
    .query(
      `INSERT INTO alerts (id, device, engine, severity, revision, lastMs, changedMs, "group", detection, incident, count)
       VALUES ($id, $device, $engine, $severity, $revision, $lastMs, $nowMs, $group, $detection, $incident, $count)
       ON CONFLICT (id) DO UPDATE SET severity = excluded.severity, revision = excluded.revision, lastMs = excluded.lastMs,
         changedMs = excluded.changedMs, detection = excluded.detection, count = excluded.count`,
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
      incident,
      count: detection.count,
    });
  if (status === "closed") closeLikeIncident(store, detection.id, nowMs);
  if (!before) giveWay(store, detection.id);
  enqueue(store.db, ownAlert(store, detection.id)!, nowMs);
  shareAlert(store, { ...detection, incident }, nowMs);
  return before ? "grown" : "created";
}

/** More of what an operator called a false positive: no new work for anybody. */
function closeLikeIncident(store: Store, id: string, nowMs: number): void {
  const closed = judged(ownAlert(store, id)!, { status: "closed", verdict: "false_positive" }, { operator: "picket", nowMs });
  setOwnAlert(store, id, closed);
}

/** Alerts of an incident, oldest first. */
export const alertsOf = (store: Store, incident: string, limit: number): Alert[] =>
  store.db
    .query<Row, [string, number]>(
      `SELECT ${columns} FROM alerts WHERE incident = ? ORDER BY json_extract(detection, '$.firstMs'), id LIMIT ?`,
    )
    .all(incident, limit)
    .map(toAlert);

/** The incidents of these alerts. */
export const incidentsOf = (store: Store, ids: readonly string[]): string[] =>
  store.db
    .query<{ incident: string }, [string]>("SELECT DISTINCT incident FROM alerts WHERE id IN (SELECT value FROM json_each(?))")
    .all(JSON.stringify(ids))
    .map(({ incident }) => incident);

/** An alert of this site, or one of another that came through the mesh. */
export const getAlert = (store: Store, id: string): Alert | undefined => ownAlert(store, id) ?? getMeshAlert(store, id);

const setOwnAlert = (store: Store, id: string, of: Judged): void => {
  store.db.query(`UPDATE alerts SET ${setJudged} WHERE id = $id`).run({ ...of, id });
};

function ownAlert(store: Store, id: string): Alert | undefined {
  const row = store.db.query<Row, [string]>(`SELECT ${columns} FROM alerts WHERE id = ?`).get(id);
  return row ? toAlert(row) : undefined;
}

export type AlertQuery = {
  /** This and above. */
  readonly severity?: Severity | undefined;
  readonly technique?: string | undefined;
  readonly device?: string | undefined;
  readonly rule?: string | undefined;
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
    rule: query.rule ?? null,
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
         AND ($rule IS NULL OR json_extract(detection, '$.rule.id') = $rule)
         AND ($status IS NULL OR status = $status) AND ($sinceMs IS NULL OR lastMs >= $sinceMs)
         AND ($technique IS NULL OR EXISTS (SELECT 1 FROM json_each(detection, '$.attack.techniques') t
           WHERE t.value = $technique OR substr(t.value, 1, length($technique) + 1) = $technique || '.'))
       ORDER BY lastMs DESC, id LIMIT $limit`,
    )
    .all(given)
    .map(toAlert);
}

type By = { readonly operator: string; readonly nowMs: number };

/** What an operator decides, for this site: no other hears of it. Returns the alert, or undefined when there is none. */
export const judgeAlert = (store: Store, id: string, judgement: Judgement, by: By): Alert | undefined =>
  store.commitNow(() => {
    const alert = getAlert(store, id);
    if (!alert) return undefined;
    const decided = judged(alert, judgement, by);
    if (alert.origin) setMeshAlert(store, id, decided);
    else {
      setOwnAlert(store, id, decided);
      follow(store, alert.incident, by);
    }
    return getAlert(store, id);
  });

/** An incident all of whose alerts are closed is closed; it was no false positive while one of them was none. One with an alert that is open again is open. */
function follow(store: Store, incident: string | undefined, by: By): void {
  if (incident === undefined) return;
  const { open, real, judged } = store.db
    .query<{ open: number; real: number; judged: number }, [string]>(
      `SELECT COUNT(CASE WHEN status <> 'closed' THEN 1 END) AS open, COUNT(CASE verdict WHEN 'true_positive' THEN 1 END) AS real,
         COUNT(verdict) AS judged FROM alerts WHERE incident = ?`,
    )
    .get(incident)!;
  const verdict = real > 0 ? "true_positive" : judged > 0 ? "false_positive" : undefined;
  if (open === 0) decide(store, incident, { status: "closed", verdict }, by);
  else alertReopened(store, incident, "an alert of it was opened again", by.nowMs);
}

/** What an operator decides about all alerts of an incident. Those that are closed stay so, unless they are opened. Returns the ids of those that changed. Call inside a transaction. */
export function judgeAlertsOf(store: Store, incident: string, judgement: Judgement, by: By): string[] {
  const { status, verdict, assignee } = judgement;
  const changed: string[] = [];
  for (const alert of alertsOf(store, incident, Number.MAX_SAFE_INTEGER)) {
    const turns = status !== undefined && alert.status !== status && (status === "open" || alert.status !== "closed");
    const takes = assignee !== undefined && (turns ? status : alert.status) !== "closed" && alert.assignee !== assignee;
    if (!turns && !takes) continue;
    const own = { ...(turns ? { status, verdict } : {}), ...(takes ? { assignee } : {}) };
    setOwnAlert(store, alert.id, judged(alert, own, by));
    changed.push(alert.id);
  }
  return changed;
}

/** An exception was made from this alert: it is closed as a false positive, unless an operator has said what it was. Call inside a transaction. */
export function noteExcepted(store: Store, id: string, by: By & { id: number }): void {
  const alert = ownAlert(store, id);
  if (!alert) return;
  const closes = alert.status === "closed" ? {} : ({ status: "closed", verdict: "false_positive" } as const);
  setOwnAlert(store, id, judged(alert, { ...closes, exception: by.id }, by));
  follow(store, alert.incident, by);
}

/** The same rule and subject on the same device, in all alerts that are kept. Undefined for an alert that is not of this site. */
export function recurrenceOf(store: Store, id: string): AlertRecurrence | undefined {
  const row = store.db
    .query<AlertRecurrence, [string]>(
      `SELECT COUNT(*) AS alerts, SUM(json_extract(a.detection, '$.count')) AS count, MIN(json_extract(a.detection, '$.firstMs')) AS firstMs,
         MAX(a.lastMs) AS lastMs, COUNT(CASE a.verdict WHEN 'true_positive' THEN 1 END) AS true_positive,
         COUNT(CASE a.verdict WHEN 'false_positive' THEN 1 END) AS false_positive
       FROM alerts o JOIN alerts a ON a.device = o.device AND a."group" = o."group"
         AND json_extract(a.detection, '$.rule.id') = json_extract(o.detection, '$.rule.id')
       WHERE o.id = ?`,
    )
    .get(id);
  return row && row.alerts > 0 ? row : undefined;
}

/** The detector's own alerts that may still grow: stored or grown at `sinceMs` or later. The latest when there are more than `limit`. */
export const growingAlerts = (store: Store, sinceMs: number, limit: number): { detection: Detection; group: string }[] =>
  store.db
    .query<{ detection: string; group: string; incident: string }, [number, number]>(
      `SELECT detection, "group", incident FROM alerts WHERE engine <> 'broker' AND changedMs >= ? ORDER BY changedMs DESC LIMIT ?`,
    )
    .all(sinceMs, limit)
    .map((row) => ({ detection: { ...(JSON.parse(row.detection) as Detection), incident: row.incident }, group: row.group }));

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
