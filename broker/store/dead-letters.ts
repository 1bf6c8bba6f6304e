// What could never be stored: counted per device for ever, kept in part to see what was wrong.
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

/** The letters themselves are a table of `log`, which had them first. */
export const deadLetterMigrations: Migrations = [
  `
  CREATE TABLE dead_letter_counts (
    device TEXT PRIMARY KEY,
    count INTEGER NOT NULL,
    lastMs INTEGER NOT NULL,
    lastTopic TEXT NOT NULL,
    lastReason TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  -- Of bare columns SQLite takes those of the row with the MAX.
  INSERT INTO dead_letter_counts SELECT device, n, receivedMs, topic, reason FROM
    (SELECT device, COUNT(*) AS n, MAX(id), receivedMs, topic, reason FROM dead_letters GROUP BY device);
  CREATE INDEX dead_letters_by_device ON dead_letters (device, id);
  `,
];

/** Most kept in all, and of one device: one that sends garbage does not displace what another sent. Bytes kept of each: enough to see what was wrong. */
const MAX_DEAD_LETTERS = 1000;
const MAX_OF_DEVICE = 50;
const MAX_DEAD_BYTES = 16 << 10;
const MAX_REASON = 500;

export type DeadLetter = { readonly device: string; readonly receivedMs: number; readonly topic: string; readonly reason: string };

/** Keeps what can never be stored; call inside `commitSoon`. */
export function addDeadLetter(store: Store, of: DeadLetter & { payload: Uint8Array }): void {
  const { db } = store;
  const { device, receivedMs, topic, payload } = of;
  const reason = of.reason.slice(0, MAX_REASON);
  db.query(
    "INSERT INTO dead_letters (device, receivedMs, topic, reason, bytes, payload) VALUES ($device, $receivedMs, $topic, $reason, $bytes, $payload)",
  ).run({ device, receivedMs, topic, reason, bytes: payload.byteLength, payload: payload.slice(0, MAX_DEAD_BYTES) });
  db.query(
    `INSERT INTO dead_letter_counts VALUES ($device, 1, $receivedMs, $topic, $reason)
     ON CONFLICT DO UPDATE SET count = count + 1, lastMs = excluded.lastMs, lastTopic = excluded.lastTopic, lastReason = excluded.lastReason`,
  ).run({ device, receivedMs, topic, reason });
  db.query(
    "DELETE FROM dead_letters WHERE device = $device AND id <= (SELECT id FROM dead_letters WHERE device = $device ORDER BY id DESC LIMIT 1 OFFSET $keep)",
  ).run({ device, keep: MAX_OF_DEVICE });
  // Ids that went with a device's own limit leave gaps, so they cannot be counted by their numbers.
  db.query("DELETE FROM dead_letters WHERE id <= (SELECT id FROM dead_letters ORDER BY id DESC LIMIT 1 OFFSET ?)").run(MAX_DEAD_LETTERS);
}

/** How many there ever were. */
export const countDeadLetters = (store: Store): number =>
  store.db.query<{ n: number }, []>("SELECT COALESCE(SUM(count), 0) AS n FROM dead_letter_counts").get()!.n;

export type DeadLetterCount = {
  readonly device: string;
  readonly count: number;
  readonly lastMs: number;
  readonly lastTopic: string;
  readonly lastReason: string;
};

/** Devices that sent something unreadable, the latest first. */
export const deadLetterCounts = (store: Store, limit: number): DeadLetterCount[] =>
  store.db.query<DeadLetterCount, [number]>("SELECT * FROM dead_letter_counts ORDER BY lastMs DESC, device LIMIT ?").all(limit);

/** Lets go of letters received before `beforeMs`; the counts stay. Returns how many. */
export const trimDeadLetters = (store: Store, beforeMs: number): number =>
  store.db.query("DELETE FROM dead_letters WHERE receivedMs < ?").run(beforeMs).changes;

/** The latest dead letters, newest first. */
export const listDeadLetters = (store: Store, limit: number): (DeadLetter & { readonly bytes: number })[] =>
  store.db
    .query<DeadLetter & { bytes: number }, [number]>(
      "SELECT device, receivedMs, topic, reason, bytes FROM dead_letters ORDER BY id DESC LIMIT ?",
    )
    .all(limit);
