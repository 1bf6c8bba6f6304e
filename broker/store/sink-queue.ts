// Messages that wait to leave through a sink. Filled in the transaction that stores the alert, so an alert that exists is an alert that will be told.
import type { Database } from "bun:sqlite";
import { type Alert, severities } from "@picket/protocol/alert";
import type { Incident } from "@picket/protocol/incident";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

/** Most bytes that wait for one sink; then the oldest go, counted. */
export const MAX_QUEUE_BYTES = 50 << 20;
/** Largest message; a larger alert leaves without its process tree, then without its process. Its id leads to the whole. */
const MAX_MESSAGE_BYTES = 256 << 10;
/** After this an alert's update would count as a new one. Far beyond any correlation window. */
const FORGET_TOLD_MS = 90 * 24 * 3600_000;

// Triggers keep the counts: no statement that adds or removes a message can forget them.
export const sinkQueueMigrations: Migrations = [
  `CREATE TABLE sinks (
    name TEXT PRIMARY KEY,
    queued INTEGER NOT NULL DEFAULT 0,
    queuedBytes INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0,
    lastError TEXT,
    lastDeliveryMs INTEGER
  ) STRICT;
  CREATE TABLE sink_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sink TEXT NOT NULL REFERENCES sinks (name),
    message TEXT NOT NULL,
    payload TEXT NOT NULL,
    sizeBytes INTEGER NOT NULL,
    queuedMs INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    nextMs INTEGER NOT NULL,
    UNIQUE (sink, message)
  ) STRICT;
  CREATE INDEX sink_queue_order ON sink_queue (sink, id);
  CREATE TRIGGER sink_queue_in AFTER INSERT ON sink_queue BEGIN
    UPDATE sinks SET queued = queued + 1, queuedBytes = queuedBytes + NEW.sizeBytes WHERE name = NEW.sink;
  END;
  CREATE TRIGGER sink_queue_out AFTER DELETE ON sink_queue BEGIN
    UPDATE sinks SET queued = queued - 1, queuedBytes = queuedBytes - OLD.sizeBytes WHERE name = OLD.sink;
  END;
  CREATE TABLE sink_told (alert TEXT PRIMARY KEY, rank INTEGER NOT NULL, toldMs INTEGER NOT NULL) STRICT;
  CREATE INDEX sink_told_age ON sink_told (toldMs)`,
  // What a message is about: an incident with its alerts, or one alert.
  "ALTER TABLE sinks ADD COLUMN each TEXT NOT NULL DEFAULT 'incident'",
];

/** How long the first word of an incident waits for what else belongs to it: events that overtook others are put in order within two seconds. Milliseconds. */
const SETTLE_MS = 3000;
/** Alerts in a message about an incident, the worst ones. */
const MAX_ALERTS = 20;

/** What a receiver gets. `updated` means that the severity rose. */
export type SinkMessage =
  | { readonly type: "alert.created" | "alert.updated"; readonly timestamp: string; readonly data: Alert }
  | {
      readonly type: "incident.created" | "incident.updated";
      readonly timestamp: string;
      readonly data: { readonly incident: Incident; readonly alerts: readonly Alert[] };
    };
export type SinkFor = { readonly name: string; readonly each: "incident" | "alert" };

/**
 * Queues an alert for every sink; call it in the transaction that stores the alert, with every revision: it decides itself what is news.
 * A new alert is, and one whose severity rose. A higher count or a later `lastMs` is not: a busy rule would ring all night.
 */
export function enqueue(db: Database, alert: Alert, nowMs: number): void {
  const sinks = sinksFor(db, "alert");
  if (sinks.length === 0) return;
  const rank = severities.indexOf(alert.severity);
  const told = db.query<{ rank: number }, [string]>("SELECT rank FROM sink_told WHERE alert = ?").get(alert.id);
  if (told && rank <= told.rank) return;
  db.run("INSERT OR REPLACE INTO sink_told (alert, rank, toldMs) VALUES (?, ?, ?)", [alert.id, rank, nowMs]);
  db.run("DELETE FROM sink_told WHERE toldMs < ?", [nowMs - FORGET_TOLD_MS]);
  const message = { type: told ? "alert.updated" : "alert.created", timestamp: new Date(nowMs).toISOString() } as const;
  const { process: _, ...spare } = alert;
  const payload = fitting([alert, { ...alert, tree: [] }, { ...spare, tree: [] }].map((data): SinkMessage => ({ ...message, data })));
  for (const name of sinks) put(db, name, { message: `${alert.id}.${alert.revision}`, payload, queuedMs: nowMs, nextMs: nowMs });
}

/**
 * Queues an incident for the sinks that want incidents; call it in the transaction that stores its alerts, after them. News is a new incident, and one whose
 * severity rose. What has not left yet is brought up to date instead of a second message.
 */
export function enqueueIncident(db: Database, incident: Incident, alertsOf: (limit: number) => readonly Alert[], nowMs: number): void {
  const sinks = sinksFor(db, "incident");
  if (sinks.length === 0) return;
  const key = toldKey(incident.id);
  const rank = severities.indexOf(incident.severity);
  const told = db.query<{ rank: number }, [string]>("SELECT rank FROM sink_told WHERE alert = ?").get(key);
  const isNews = !told || rank > told.rank;
  const held = new Map(heldOf(db, incident.id, nowMs).map((one) => [one.sink, one]));
  if (!isNews && held.size === 0) return;
  if (isNews) db.run("INSERT OR REPLACE INTO sink_told (alert, rank, toldMs) VALUES (?, ?, ?)", [key, rank, nowMs]);
  const worst = alertsOf(500)
    .toSorted((a, b) => severities.indexOf(b.severity) - severities.indexOf(a.severity) || b.score - a.score)
    .slice(0, MAX_ALERTS);
  const treeless = worst.map((alert) => ({ ...alert, tree: [] }));
  const short = treeless.map(({ process: _, ...alert }) => ({ ...alert, events: [] }));
  for (const sink of sinks) {
    const before = held.get(sink);
    if (!before && !isNews) continue;
    const type = before ? (JSON.parse(before.payload) as SinkMessage).type : told ? "incident.updated" : "incident.created";
    const payload = fitting(
      [worst, treeless, short, []].map(
        (alerts) => ({ type, timestamp: new Date(nowMs).toISOString(), data: { incident, alerts } }) as SinkMessage,
      ),
    );
    if (before) db.run("DELETE FROM sink_queue WHERE id = ?", [before.id]);
    const times = before ?? { queuedMs: nowMs, nextMs: nowMs + SETTLE_MS };
    put(db, sink, { ...times, message: `${incident.id}.${incident.revision}`, payload });
  }
}

/** An incident that is part of another now: what was not told of it yet will not be. */
export function forgetHeld(db: Database, incident: string, nowMs: number): void {
  const held = heldOf(db, incident, nowMs);
  for (const { id } of held) db.run("DELETE FROM sink_queue WHERE id = ?", [id]);
}

const toldKey = (incident: string) => `incident ${incident}`;

/** Messages that are not due yet, and so cannot be on their way. */
const heldOf = (db: Database, incident: string, nowMs: number) =>
  db
    .query<{ id: number; sink: string; payload: string; queuedMs: number; nextMs: number }, [string, number]>(
      "SELECT id, sink, payload, queuedMs, nextMs FROM sink_queue WHERE substr(message, 1, 36) = ? AND attempts = 0 AND nextMs > ?",
    )
    .all(incident, nowMs);

const sinksFor = (db: Database, each: SinkFor["each"]): string[] =>
  db
    .query<{ name: string }, [string]>("SELECT name FROM sinks WHERE each = ?")
    .all(each)
    .map(({ name }) => name);

function put(db: Database, sink: string, of: Pick<Queued, "message" | "payload" | "queuedMs" | "nextMs">): void {
  db.query(
    `INSERT OR IGNORE INTO sink_queue (sink, message, payload, sizeBytes, queuedMs, nextMs)
     VALUES ($sink, $message, $payload, $sizeBytes, $queuedMs, $nextMs)`,
  ).run({ ...of, sink, sizeBytes: Buffer.byteLength(of.payload) });
  dropOldest(db, sink);
}

/** The first that is not too large; the last where all are. */
function fitting(messages: readonly SinkMessage[]): string {
  let text = "";
  for (const message of messages) {
    text = JSON.stringify(message);
    if (Buffer.byteLength(text) <= MAX_MESSAGE_BYTES) break;
  }
  return text;
}

function dropOldest(db: Database, sink: string): void {
  const size = db.query<{ queuedBytes: number }, [string]>("SELECT queuedBytes FROM sinks WHERE name = ?");
  while ((size.get(sink)?.queuedBytes ?? 0) > MAX_QUEUE_BYTES) {
    db.run("DELETE FROM sink_queue WHERE id = (SELECT id FROM sink_queue WHERE sink = ? ORDER BY id LIMIT 1)", [sink]);
    db.run("UPDATE sinks SET dropped = dropped + 1 WHERE name = ?", [sink]);
  }
}

export type Queued = {
  readonly id: number;
  readonly message: string;
  readonly payload: string;
  readonly queuedMs: number;
  readonly attempts: number;
  readonly nextMs: number;
};

export type QueueCounts = {
  readonly queued: number;
  readonly delivered: number;
  readonly failed: number;
  readonly dropped: number;
  readonly lastError: string | undefined;
  readonly lastDeliveryMs: number | undefined;
};

/** The queue as its sender sees it. Everything it changes is on disk when the promise resolves. */
export class SinkQueue {
  readonly #store: Store;
  readonly #db: Database;

  constructor(store: Store) {
    this.#store = store;
    this.#db = store.db;
  }

  /** Makes these the sinks that incidents or alerts are queued for. What waited for a sink that is no longer configured is let go. */
  configure(sinks: readonly SinkFor[]): void {
    const names = sinks.map(({ name }) => name);
    this.#store.commitNow(() => {
      for (const { name, each } of sinks)
        this.#db.run("INSERT INTO sinks (name, each) VALUES (?, ?) ON CONFLICT DO UPDATE SET each = excluded.each", [name, each]);
      for (const { name } of this.#db.query<{ name: string }, []>("SELECT name FROM sinks").all()) {
        if (names.includes(name)) continue;
        this.#db.run("DELETE FROM sink_queue WHERE sink = ?", [name]);
        this.#db.run("DELETE FROM sinks WHERE name = ?", [name]);
      }
    });
  }

  /** The oldest message of a sink: only this one is tried, so order is kept. */
  head(sink: string): Queued | undefined {
    const row = this.#db
      .query<Queued, [string]>(
        `SELECT id, message, payload, queuedMs, attempts, nextMs
         FROM sink_queue WHERE sink = ? ORDER BY id LIMIT 1`,
      )
      .get(sink);
    return row ?? undefined;
  }

  delivered(sink: string, id: number, nowMs: number): Promise<void> {
    return this.#store.commitSoon(() => {
      this.#db.run("DELETE FROM sink_queue WHERE id = ?", [id]);
      this.#db.run("UPDATE sinks SET delivered = delivered + 1, lastDeliveryMs = ?, lastError = NULL WHERE name = ?", [nowMs, sink]);
    });
  }

  retry(sink: string, id: number, nextMs: number, error: string): Promise<void> {
    return this.#store.commitSoon(() => {
      this.#db.run("UPDATE sink_queue SET attempts = attempts + 1, nextMs = ? WHERE id = ?", [nextMs, id]);
      this.#db.run("UPDATE sinks SET lastError = ? WHERE name = ?", [error, sink]);
    });
  }

  giveUp(sink: string, id: number, error: string): Promise<void> {
    return this.#store.commitSoon(() => {
      this.#db.run("DELETE FROM sink_queue WHERE id = ?", [id]);
      this.#db.run("UPDATE sinks SET failed = failed + 1, lastError = ? WHERE name = ?", [error, sink]);
    });
  }

  counts(sink: string): QueueCounts {
    const row = this.#db
      .query<
        { queued: number; delivered: number; failed: number; dropped: number; lastError: string | null; lastDeliveryMs: number | null },
        [string]
      >("SELECT queued, delivered, failed, dropped, lastError, lastDeliveryMs FROM sinks WHERE name = ?")
      .get(sink);
    if (!row) throw new Error(`sink "${sink}" is not configured`);
    return { ...row, lastError: row.lastError ?? undefined, lastDeliveryMs: row.lastDeliveryMs ?? undefined };
  }
}
