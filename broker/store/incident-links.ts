// Which incidents of different devices share what is no chance: an address that alerts are about, or a file by its hash.
import type { Incident, OpenIncident } from "@picket/protocol/incident";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const incidentLinksMigrations: Migrations = [
  `
  CREATE TABLE incident_marks (
    mark TEXT NOT NULL,
    incident TEXT NOT NULL,
    device TEXT NOT NULL,
    notedMs INTEGER NOT NULL,
    PRIMARY KEY (mark, incident)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX incident_marks_of ON incident_marks (incident);
  CREATE INDEX incident_marks_by_time ON incident_marks (notedMs);
  `,
];

const MAX_LINKED = 16;
/** How far apart two devices may be reached. Milliseconds. */
const APART_MS = 24 * 3600_000;

/** Remembers the marks of an incident. Returns incidents of other devices that have come to be linked with it. Call inside a transaction. */
export function saveMarks(
  store: Store,
  { id, device }: Pick<OpenIncident, "id" | "device">,
  marks: readonly string[],
  nowMs: number,
): string[] {
  const { db } = store;
  const linked = new Set<string>();
  for (const mark of marks) {
    const { changes } = db.query("INSERT OR IGNORE INTO incident_marks VALUES (?, ?, ?, ?)").run(mark, id, device, nowMs);
    if (changes === 0) continue;
    const others = db
      .query<{ incident: string }, [string, string, number, number]>(
        "SELECT incident FROM incident_marks WHERE mark = ? AND device <> ? AND notedMs >= ? ORDER BY notedMs DESC LIMIT ?",
      )
      .all(mark, device, nowMs - APART_MS, MAX_LINKED);
    for (const { incident } of others) linked.add(incident);
  }
  return [...linked];
}

/** Incidents of other devices that share a mark with it, noted within a day of it. */
export const linkedTo = (store: Store, id: string): Incident["linked"] =>
  store.db
    .query<{ id: string; device: string }, [number, string, number]>(
      `SELECT DISTINCT other.incident AS id, other.device FROM incident_marks own
       JOIN incident_marks other ON other.mark = own.mark AND other.device <> own.device AND ABS(other.notedMs - own.notedMs) <= ?
       WHERE own.incident = ? AND EXISTS (SELECT 1 FROM incidents WHERE incidents.id = other.incident) ORDER BY other.notedMs DESC LIMIT ?`,
    )
    .all(APART_MS, id, MAX_LINKED);

/** Call inside a transaction. */
export const trimMarks = (store: Store): void => {
  store.db.run("DELETE FROM incident_marks WHERE NOT EXISTS (SELECT 1 FROM incidents WHERE incidents.id = incident)");
};
