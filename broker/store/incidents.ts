// Incidents: what belongs together says the detector, what it comes to is added up here, in the commit that stores the alerts. What operators decide stands apart.
import { type Detection, type Severity, severities } from "@picket/protocol/alert";
import { isProtectedRule } from "@picket/protocol/exception";
import { type Incident, type IncidentReport, inKillChain, type OpenIncident, tellingOf } from "@picket/protocol/incident";
import { type Judged, type Judgement, judged, judgedColumns, judgedOf, setJudged } from "./alert-life.ts";
import type { Store } from "./database.ts";
import { linkedTo, saveMarks } from "./incident-links.ts";
import type { Migrations } from "./migration.ts";
import { forgetHeld } from "./sink-queue.ts";

export const incidentsMigrations: Migrations = [
  `
  CREATE TABLE incidents (
    id TEXT PRIMARY KEY,
    device TEXT NOT NULL,
    -- Whose reading of the log it grows in: 0 is the main cursor's, and that of devices that are read apart.
    lane INTEGER NOT NULL DEFAULT 0,
    severity TEXT NOT NULL,
    score INTEGER NOT NULL,
    title TEXT NOT NULL,
    -- Of the alert whose title it has: the lowest is the most telling.
    telling INTEGER NOT NULL,
    tactics TEXT NOT NULL,
    techniques TEXT NOT NULL,
    firstMs INTEGER NOT NULL,
    lastMs INTEGER NOT NULL,
    -- The broker's clock.
    changedMs INTEGER NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,
    story TEXT NOT NULL,
    tree TEXT NOT NULL DEFAULT '[]',
    -- What the detector goes on with, and when its last alert was received; NULL where it does not.
    open TEXT,
    seenMs INTEGER,
    -- Written by operators only.
    status TEXT NOT NULL DEFAULT 'open',
    verdict TEXT,
    assignee TEXT,
    notes TEXT NOT NULL DEFAULT '[]',
    history TEXT NOT NULL DEFAULT '[]'
  ) STRICT;
  CREATE INDEX incidents_by_status ON incidents (status, severity);
  CREATE INDEX incidents_by_change ON incidents (changedMs);
  CREATE INDEX incidents_by_seen ON incidents (seenMs) WHERE seenMs IS NOT NULL;
  CREATE INDEX incidents_by_device ON incidents (device, status);
  -- Where the alerts are now of an incident that was found to be part of another.
  CREATE TABLE incident_merged (id TEXT PRIMARY KEY, "into" TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX incident_merged_into ON incident_merged ("into");
  -- What there was before there were incidents: each alert is its own.
  INSERT INTO incidents (id, device, severity, score, title, telling, tactics, techniques, firstMs, lastMs, changedMs, story, tree, status, verdict, assignee)
    SELECT id, device, severity, COALESCE(json_extract(detection, '$.score'), 0), COALESCE(json_extract(detection, '$.rule.title'), ''), 99,
      COALESCE(json_extract(detection, '$.attack.tactics'), '[]'), COALESCE(json_extract(detection, '$.attack.techniques'), '[]'),
      COALESCE(json_extract(detection, '$.firstMs'), lastMs), lastMs, changedMs, json_array(COALESCE(json_extract(detection, '$.summary'), '')),
      COALESCE(json_extract(detection, '$.tree'), '[]'), status, verdict, assignee
    FROM alerts;
  `,
];

type Row = Judged & {
  readonly id: string;
  readonly device: string;
  readonly severity: Severity;
  readonly score: number;
  readonly title: string;
  readonly telling: number;
  readonly tactics: string;
  readonly techniques: string;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly changedMs: number;
  readonly revision: number;
  readonly story: string;
  readonly tree: string;
};
const columns = `id, device, severity, score, title, telling, tactics, techniques, firstMs, lastMs, changedMs, revision, story, tree, ${judgedColumns}`;

const MAX_TECHNIQUES = 64;
/** The agent that goes silent while an intrusion is going on belongs to it, when that was its last word. Milliseconds. */
const SILENCED_MS = 10 * 60_000;
const silencings: ReadonlySet<string> = new Set(["picket-broker-killed", "picket-broker-blind", "picket-broker-offline"]);

const rowOf = (store: Store, id: string): Row | undefined =>
  store.db.query<Row, [string]>(`SELECT ${columns} FROM incidents WHERE id = ?`).get(id) ?? undefined;

/** The incident that one has become. */
export const currentId = (store: Store, id: string): string =>
  store.db.query<{ into: string }, [string]>(`SELECT "into" FROM incident_merged WHERE id = ?`).get(id)?.into ?? id;

/** The incident an alert that is new here belongs to: what the detector says; else the one its device was silenced in; else it is its own. */
export function incidentFor(store: Store, detection: Detection, nowMs: number): string {
  if (detection.incident !== undefined) return currentId(store, detection.incident);
  if (!silencings.has(detection.rule.id)) return detection.id;
  const going = store.db
    .query<{ id: string }, [string, number]>(
      `SELECT id FROM incidents WHERE device = ? AND status <> 'closed' AND severity IN ('high', 'critical') AND seenMs >= ?
       ORDER BY seenMs DESC, id LIMIT 1`,
    )
    .get(detection.device, nowMs - SILENCED_MS);
  return going?.id ?? detection.id;
}

/** Adds an alert, new or grown, to its incident; call it in the transaction that stores the alert, before that. */
export function addToIncident(store: Store, id: string, detection: Detection, nowMs: number): void {
  const { rule, severity, score, attack, firstMs, lastMs, device, summary, tree } = detection;
  const telling = 10 * (severities.length - severities.indexOf(severity)) + tellingOf(rule.id);
  const before = rowOf(store, id);
  const union = (had: string | undefined, more: readonly string[]) => [
    ...new Set([...(had ? (JSON.parse(had) as string[]) : []), ...more]),
  ];
  const row = {
    id,
    device,
    severity: before && severities.indexOf(before.severity) > severities.indexOf(severity) ? before.severity : severity,
    score: Math.max(score, before?.score ?? 0),
    ...(before && before.telling <= telling ? { title: before.title, telling: before.telling } : { title: rule.title, telling }),
    tactics: JSON.stringify(inKillChain(union(before?.tactics, attack.tactics)).slice(0, 16)),
    techniques: JSON.stringify(union(before?.techniques, attack.techniques).slice(0, MAX_TECHNIQUES)),
    firstMs: Math.min(firstMs, before?.firstMs ?? firstMs),
    lastMs: Math.max(lastMs, before?.lastMs ?? lastMs),
    nowMs,
  };
  if (before)
    store.db
      .query(
        `UPDATE incidents SET severity = $severity, score = $score, title = $title, telling = $telling, tactics = $tactics, techniques = $techniques,
           firstMs = $firstMs, lastMs = $lastMs, changedMs = $nowMs, revision = revision + 1
           ${id === detection.id ? ", story = $story" : ""} WHERE id = $id AND device = $device`,
      )
      .run({ ...row, ...(id === detection.id ? { story: JSON.stringify([summary]) } : {}) });
  else
    store.db
      .query(
        `INSERT INTO incidents (id, device, severity, score, title, telling, tactics, techniques, firstMs, lastMs, changedMs, story, tree)
         VALUES ($id, $device, $severity, $score, $title, $telling, $tactics, $techniques, $firstMs, $lastMs, $nowMs, $story, $tree)`,
      )
      .run({ ...row, story: JSON.stringify([summary]), tree: JSON.stringify(tree) });
}

/** What the detector says of its incidents, after the alerts of the same commit. Returns those whose links changed besides. Call inside the transaction. */
export function saveReports(store: Store, reports: readonly IncidentReport[], lane: number, nowMs: number): Set<string> {
  const touched = new Set<string>();
  for (const { open, story, tree, marks } of reports) {
    for (const other of open.merged) if (merge(store, open.id, other, nowMs)) touched.add(open.id);
    const { changes } = store.db
      .query(
        `UPDATE incidents SET lane = $lane, open = $open, seenMs = $seenMs, tree = $tree, changedMs = $nowMs, revision = revision + 1
           ${story.length > 0 ? ", story = $story" : ""} WHERE id = $id`,
      )
      .run({
        ...{ id: open.id, lane, open: JSON.stringify(open), seenMs: open.seenMs, tree: JSON.stringify(tree), nowMs },
        ...(story.length > 0 ? { story: JSON.stringify(story) } : {}),
      });
    if (changes === 0) continue;
    touched.add(open.id);
    for (const linked of saveMarks(store, open, marks, nowMs)) touched.add(linked);
  }
  return touched;
}

/** Moves all of `other` into `id`; false when there is none. An operator's decision about either is kept: the more open status wins. */
function merge(store: Store, id: string, other: string, nowMs: number): boolean {
  const gone = rowOf(store, other);
  if (!gone || other === id) return false;
  const { db } = store;
  db.query("UPDATE alerts SET incident = ? WHERE incident = ?").run(id, other);
  db.query(`UPDATE incident_merged SET "into" = ? WHERE "into" = ?`).run(id, other);
  db.query("INSERT OR REPLACE INTO incident_merged VALUES (?, ?)").run(other, id);
  db.query("UPDATE OR REPLACE incident_marks SET incident = ? WHERE incident = ?").run(id, other);
  forgetHeld(db, other, nowMs);
  const kept = rowOf(store, id);
  if (!kept) {
    db.query("UPDATE incidents SET id = ? WHERE id = ?").run(id, other);
    return true;
  }
  db.query("DELETE FROM incidents WHERE id = ?").run(other);
  const order = ["open", "acknowledged", "closed"] as const;
  const open = order.indexOf(gone.status) < order.indexOf(kept.status) ? gone : kept;
  const joined = (a: string, b: string, most: number) =>
    JSON.stringify(
      [...(JSON.parse(a) as { timeMs: number }[]), ...(JSON.parse(b) as { timeMs: number }[])]
        .sort((x, y) => x.timeMs - y.timeMs)
        .slice(-most),
    );
  const { telling, title } = gone.telling < kept.telling ? gone : kept;
  const names = (key: "tactics" | "techniques") => [
    ...new Set([...(JSON.parse(kept[key]) as string[]), ...(JSON.parse(gone[key]) as string[])]),
  ];
  db.query(
    `UPDATE incidents SET ${setJudged}, severity = $severity, score = $score, title = $title, telling = $telling, tactics = $tactics,
       techniques = $techniques, firstMs = $firstMs, lastMs = $lastMs, changedMs = $nowMs WHERE id = $id`,
  ).run({
    id,
    status: open.status,
    verdict: open.verdict,
    assignee: kept.assignee ?? gone.assignee,
    notes: joined(kept.notes, gone.notes, 200),
    history: joined(kept.history, gone.history, 100),
    severity: severities.indexOf(gone.severity) > severities.indexOf(kept.severity) ? gone.severity : kept.severity,
    score: Math.max(kept.score, gone.score),
    title,
    telling,
    tactics: JSON.stringify(inKillChain(names("tactics")).slice(0, 16)),
    techniques: JSON.stringify(names("techniques").slice(0, MAX_TECHNIQUES)),
    firstMs: Math.min(kept.firstMs, gone.firstMs),
    lastMs: Math.max(kept.lastMs, gone.lastMs),
    nowMs,
  });
  return true;
}

function countsOf(store: Store, id: string): { alerts: number; events: number } {
  const { alerts, events } = store.db
    .query<{ alerts: number; events: number | null }, [string]>(
      "SELECT COUNT(*) AS alerts, TOTAL(count) AS events FROM alerts WHERE incident = ?",
    )
    .get(id)!;
  return { alerts, events: Math.min(events ?? 0, Number.MAX_SAFE_INTEGER) };
}

function toIncident(store: Store, site: string, row: Row): Incident {
  const {
    telling: _,
    status: _s,
    verdict: _v,
    assignee: _a,
    notes: _n,
    history: _h,
    tactics,
    techniques,
    story,
    tree,
    changedMs: _c,
    ...rest
  } = row;
  const merged = store.db
    .query<{ id: string }, [string]>(`SELECT id FROM incident_merged WHERE "into" = ? LIMIT 64`)
    .all(row.id)
    .map(({ id }) => id);
  return {
    ...rest,
    site,
    attack: { tactics: JSON.parse(tactics) as string[], techniques: JSON.parse(techniques) as string[] },
    ...countsOf(store, row.id),
    story: JSON.parse(story) as string[],
    tree: JSON.parse(tree) as Incident["tree"],
    linked: linkedTo(store, row.id),
    ...(merged.length > 0 ? { merged } : {}),
    ...judgedOf(row),
  };
}

/** One incident; the id of one that is part of another now finds that. */
export function getIncident(store: Store, site: string, id: string): Incident | undefined {
  const row = rowOf(store, currentId(store, id));
  return row && toIncident(store, site, row);
}

export type IncidentQuery = {
  /** This and above. */
  readonly severity?: Severity | undefined;
  readonly device?: string | undefined;
  readonly status?: Incident["status"] | undefined;
  /** Those whose last event was then or later. */
  readonly sinceMs?: number | undefined;
  readonly limit: number;
};

/** Incidents, those that grew last first. */
export const listIncidents = (store: Store, site: string, query: IncidentQuery): Incident[] =>
  store.db
    .query<Row, Record<string, string | number | null>>(
      `SELECT ${columns} FROM incidents
       WHERE ($severities IS NULL OR severity IN (SELECT value FROM json_each($severities))) AND ($device IS NULL OR device = $device)
         AND ($status IS NULL OR status = $status) AND ($sinceMs IS NULL OR lastMs >= $sinceMs)
       ORDER BY lastMs DESC, id LIMIT $limit`,
    )
    .all({
      severities: query.severity === undefined ? null : JSON.stringify(severities.slice(severities.indexOf(query.severity))),
      device: query.device ?? null,
      status: query.status ?? null,
      sinceMs: query.sinceMs ?? null,
      limit: query.limit,
    })
    .map((row) => toIncident(store, site, row));

/** What the detector goes on with: incidents of a lane (0: the main cursor, and devices read apart) whose last alert was received at `sinceMs` or later. */
export const openIncidents = (
  store: Store,
  of: { lane: number; device: string | undefined; sinceMs: number; limit: number },
): OpenIncident[] =>
  store.db
    .query<{ open: string }, { lane: number; device: string | null; sinceMs: number; limit: number }>(
      `SELECT open FROM incidents WHERE seenMs >= $sinceMs AND lane = $lane AND open IS NOT NULL AND ($device IS NULL OR device = $device)
       ORDER BY seenMs DESC, id LIMIT $limit`,
    )
    .all({ ...of, device: of.device ?? null })
    .map(({ open }) => JSON.parse(open) as OpenIncident);

type By = { readonly operator: string; readonly nowMs: number };

/** What is decided about an incident, by an operator or by the site, which says why. Call inside a transaction. */
export function decide(store: Store, id: string, judgement: Judgement, by: By, why?: string): void {
  const row = rowOf(store, id);
  if (!row) return;
  const decided = judged({ ...judgedOf(row), count: Math.max(1, countsOf(store, id).events) }, judgement, by);
  const history = JSON.parse(decided.history) as NonNullable<Incident["history"]>;
  const last = history.at(-1);
  if (why !== undefined && last) history[history.length - 1] = { ...last, detail: why };
  store.db
    .query(`UPDATE incidents SET ${setJudged}, changedMs = $nowMs, revision = revision + 1 WHERE id = $id`)
    .run({ ...decided, history: JSON.stringify(history), id, nowMs: by.nowMs });
}

const SITE = "picket";

/**
 * Before a new alert is stored in it: an open incident takes it as it is. A closed one is opened again by it, unless it was closed as a false positive and the alert is more
 * of the same, of a rule that was judged with it and no worse: then the alert is closed like it. What Picket says of itself never is.
 */
export function meet(store: Store, id: string, { rule, severity, device }: Detection, nowMs: number): "open" | "closed" {
  const row = rowOf(store, id);
  if (row?.status !== "closed") return "open";
  const isKnown = store.db
    .query("SELECT 1 FROM alerts WHERE incident = ? AND device = ? AND json_extract(detection, '$.rule.id') = ? LIMIT 1")
    .get(id, device, rule.id);
  if (
    row.verdict === "false_positive" &&
    isKnown &&
    !isProtectedRule(rule.id) &&
    severities.indexOf(severity) <= severities.indexOf(row.severity)
  )
    return "closed";
  decide(store, id, { status: "open" }, { operator: SITE, nowMs }, `a new alert: ${rule.title}`);
  return "open";
}

/** An alert of it that was closed is open again. */
export function alertReopened(store: Store, id: string, why: string, nowMs: number): void {
  if (rowOf(store, id)?.status === "closed") decide(store, id, { status: "open" }, { operator: SITE, nowMs }, why);
}

/** Open incidents, in all and by severity. */
export function incidentCounts(store: Store): Record<"open" | Severity, number> {
  const counts = { open: 0, low: 0, medium: 0, high: 0, critical: 0 };
  const rows = store.db
    .query<{ severity: Severity; n: number }, []>("SELECT severity, COUNT(*) AS n FROM incidents WHERE status = 'open' GROUP BY severity")
    .all();
  for (const { severity, n } of rows) {
    counts[severity] = n;
    counts.open += n;
  }
  return counts;
}

/** Lets go of incidents that have no alert any more. Call inside a transaction, after alerts were let go. */
export function trimIncidents(store: Store): void {
  store.db.run("DELETE FROM incidents WHERE NOT EXISTS (SELECT 1 FROM alerts WHERE alerts.incident = incidents.id)");
  store.db.run(`DELETE FROM incident_merged WHERE NOT EXISTS (SELECT 1 FROM incidents WHERE incidents.id = "into")`);
}
