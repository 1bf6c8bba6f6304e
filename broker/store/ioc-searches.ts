// The search of the stored log for indicators that are new: which there are, how far it is, and its alerts. Each event counts once, whoever is killed when.
import type { Detection } from "@picket/protocol/alert";
import type { PastFound } from "@picket/protocol/ioc";
import { alertId } from "@picket/protocol/uuid5";
import { getAlert, upsertAlert } from "./alerts.ts";
import type { Store } from "./database.ts";
import { detectorState } from "./detector.ts";
import { noteMet } from "./iocs.ts";
import { listLanes } from "./lanes.ts";
import { eventsBetween, nextOffset, receivedAt } from "./log.ts";

/** Event ids kept in an alert. */
const MAX_EVENTS = 100;
/** Searches that are remembered. */
const KEPT = 50;

export type Search = {
  readonly job: number;
  /** JSON: what is new came in with these. */
  readonly generations: string;
  /** JSON: the lists it is for. */
  readonly sources: string;
  readonly cursor: number;
  readonly end: number;
  readonly sinceMs: number;
  readonly startedMs: number;
  readonly doneMs: number | null;
  readonly events: number;
  readonly read: number;
  readonly alerts: number;
  readonly left: number;
};

export const runningSearch = (store: Store): Search | undefined =>
  store.db.query<Search, []>("SELECT * FROM ioc_searches WHERE doneMs IS NULL ORDER BY job LIMIT 1").get() ?? undefined;

/** The latest search for each list. */
export function searchesBySource(store: Store): Map<string, Search> {
  const rows = store.db.query<Search, []>("SELECT * FROM ioc_searches ORDER BY job").all();
  return new Map(rows.flatMap((row) => (JSON.parse(row.sources) as string[]).map((source): [string, Search] => [source, row])));
}

export const unsearched = (store: Store): { generation: number; source: string; notBeforeMs: number }[] =>
  store.db.query<{ generation: number; source: string; notBeforeMs: number }, []>("SELECT * FROM ioc_unsearched").all();

/**
 * Begins a search for what waits for one, when none goes on and the detector matches with all of it: `loaded` are its lists. All that is received from now on
 * is matched as it comes, so the search ends at what is the end of the log now. Call inside a transaction.
 */
export function beginSearch(store: Store, loaded: ReadonlySet<number>, inForce: ReadonlySet<number>, nowMs: number): void {
  const waiting = unsearched(store);
  const isDue = waiting.some(({ notBeforeMs }) => notBeforeMs <= nowMs);
  if (!isDue || runningSearch(store) || [...inForce].some((generation) => !loaded.has(generation))) return;
  const [start, end] = [receivedFrom(store), nextOffset(store)];
  store.db
    .query(
      `INSERT INTO ioc_searches (generations, sources, start, cursor, "end", sinceMs, startedMs, events)
       VALUES ($generations, $sources, $start, $start, $end, $sinceMs, $nowMs, $events)`,
    )
    .run({
      ...{ generations: JSON.stringify(waiting.map(({ generation }) => generation)), start, end, nowMs },
      sources: JSON.stringify([...new Set(waiting.map(({ source }) => source))]),
      ...{ sinceMs: receivedAt(store, start) ?? nowMs, events: eventsBetween(store, start, end) },
    });
  store.db.run("DELETE FROM ioc_unsearched");
  finishAtEnd(store, nowMs);
  store.db.query("DELETE FROM ioc_searches WHERE doneMs IS NOT NULL AND job <= (SELECT MAX(job) FROM ioc_searches) - ?").run(KEPT);
  store.db.run("DELETE FROM ioc_past_alerts WHERE job NOT IN (SELECT job FROM ioc_searches)");
}

const receivedFrom = (store: Store): number =>
  store.db.query<{ at: number | null }, []>("SELECT MIN(offset) AS at FROM log").get()!.at ?? nextOffset(store);

/** What may be read of the log by a search: what was decided by everybody. What others have yet to decide may become theirs to tell. */
export function decidedTo(store: Store): number {
  return Math.min(detectorState(store).cursor, ...listLanes(store).map(({ cursor }) => cursor));
}

function finishAtEnd(store: Store, nowMs: number): void {
  store.db.query(`UPDATE ioc_searches SET doneMs = ? WHERE doneMs IS NULL AND cursor >= "end"`).run(nowMs);
}

export type Told = { readonly id: string; readonly change: "created" | "grown" | "unchanged" };

/** Stores what was found up to `next`, and moves there. False when the search is not the one that goes on, or is not there. Call inside a transaction. */
export function advanceSearch(
  store: Store,
  of: { job: number; next: number; events: number; found: readonly PastFound[]; left: number },
  nowMs: number,
): Told[] | undefined {
  const search = runningSearch(store);
  if (search?.job !== of.job || of.next < search.cursor) return undefined;
  const told = of.next === search.cursor ? [] : of.found.flatMap((one) => take(store, of.job, one, nowMs));
  const created = told.filter(({ change }) => change === "created").length;
  const [read, left] = of.next === search.cursor ? [0, 0] : [of.events, of.left];
  store.db
    .query(`UPDATE ioc_searches SET cursor = ?, read = read + ?, alerts = alerts + ?, "left" = "left" + ? WHERE job = ?`)
    .run(of.next, read, created, left, of.job);
  finishAtEnd(store, nowMs);
  return told;
}

type Known = { id: string; detection: string; mine: number };

/** Makes an alert of what no alert of this indicator and program tells already, or lets the one grow that this search made. */
function take(store: Store, job: number, { detection, group, timesMs }: PastFound, nowMs: number): Told[] {
  const known = store.db
    .query<Known, [number, string, string]>(
      `SELECT a.id, a.detection, EXISTS (SELECT 1 FROM ioc_past_alerts p WHERE p.job = ? AND p.id = a.id) AS mine
       FROM alerts a WHERE a.engine = 'ioc' AND a.device = ? AND a."group" = ?`,
    )
    .all(job, detection.device, group);
  const others = known.filter(({ mine }) => !mine).map(({ detection: text }) => JSON.parse(text) as Detection);
  const isTold = (timeMs: number) => others.some(({ firstMs, lastMs }) => firstMs <= timeMs && timeMs <= lastMs);
  const news = detection.events.flatMap((id, at) => (isTold(timesMs[at]!) ? [] : [{ id, timeMs: timesMs[at]! }]));
  if (news.length === 0) return [];
  const times = news.map(({ timeMs }) => timeMs);
  const own = known.find(({ mine }) => mine);
  const before = own && (JSON.parse(own.detection) as Detection);
  const [firstMs, lastMs] = [Math.min(...times, before?.firstMs ?? Infinity), Math.max(...times, before?.lastMs ?? 0)];
  const grown: Detection = {
    // Named after the first of its events that nobody told: that of an event that was told is another alert's.
    ...(before ?? { ...detection, id: alertId({ ...detection, rule: detection.rule.id, group, anchor: news[0]!.id }) }),
    events: [...(before?.events ?? []), ...news.map(({ id }) => id)].slice(0, MAX_EVENTS),
    ...{ firstMs, lastMs, timeMs: firstMs, count: (before?.count ?? 0) + news.length, revision: before ? before.revision + 1 : 0 },
  };
  const change = upsertAlert(store, grown, group, nowMs);
  store.db.query("INSERT OR IGNORE INTO ioc_past_alerts VALUES (?, ?)").run(job, grown.id);
  noteMet(store, grown, group);
  return getAlert(store, grown.id) ? [{ id: grown.id, change }] : [];
}
