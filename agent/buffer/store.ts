// buffer.db: the SQL and nothing else. An event's id is its epoch's `base` plus its sequence number, so ids rise in the order
// events were made, and one integer key serves order, epoch and number.
import { Database, SQLiteError, type Statement } from "bun:sqlite";
import { chmodSync, closeSync, existsSync, openSync } from "node:fs";

/** Another process has this buffer open: two agents on one state directory. */
export class BufferBusy extends Error {
  override name = "BufferBusy";
}

/** What an event is worth: events of a higher class overtake in sending and are evicted later. */
export const classes = { plain: 0, hit: 1, result: 2 } as const;
export type EventClass = keyof typeof classes;

export type EpochRow = { base: number; epoch: string; boot: string; device: string; next: number; count: number; bytes: number };
export type EventRow = { id: number; class: number; event: string };
/** First id and last id, both included. */
export type Run = readonly [first: number, last: number];

// Migrations are numbered by PRAGMA user_version; add to the end, never change one that shipped.
const migrations = [
  `CREATE TABLE epochs (
     base INTEGER PRIMARY KEY, epoch TEXT NOT NULL UNIQUE, boot TEXT NOT NULL, device TEXT NOT NULL,
     next INTEGER NOT NULL, count INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
   CREATE TABLE events (id INTEGER PRIMARY KEY, class INTEGER NOT NULL, event TEXT NOT NULL) STRICT;
   CREATE INDEX urgent ON events (id) WHERE class > 0;`,
];

/** A file larger than this that holds nothing is made small again at start. */
const SHRINK_ABOVE_BYTES = 16 << 20;

export type Store = ReturnType<typeof openStore>;

/**
 * Opens or makes the database. Throws `BufferBusy` when another process holds it, and SQLite's own error when it is damaged (see `isDamage`).
 *
 * WAL with synchronous=NORMAL: a commit is in the kernel's hands before it returns, so kill -9 loses nothing that was committed.
 * Power loss can take back the last commits (until the next checkpoint) but never damages the file: those events are lost unless
 * they were already sent, and what was sent and acknowledged is sent once more, which the broker recognises by number.
 * An fsync a commit would cost flash wear on every event.
 */
export function openStore(path: string) {
  makePrivate(path);
  const db = new Database(path, { create: true });
  try {
    prepare(db);
  } catch (error) {
    db.close();
    if (error instanceof SQLiteError && error.code?.startsWith("SQLITE_BUSY"))
      throw new BufferBusy(
        `${path} is in use: another picket-agent runs on this state directory. Stop it first, or give this one --state DIR.`,
      );
    throw error;
  }
  return statements(db);
}

/** Command lines of every user are in it, and the folder may be one that others can enter. SQLite gives its other files the mode of this one. */
function makePrivate(path: string): void {
  closeSync(openSync(path, "a", 0o600));
  for (const file of [path, `${path}-wal`, `${path}-shm`]) if (existsSync(file)) chmodSync(file, 0o600);
}

function prepare(db: Database): void {
  // Exclusive: one writer, and a second agent on the same directory is refused here.
  db.run("PRAGMA locking_mode = EXCLUSIVE");
  db.run("PRAGMA journal_mode = WAL");
  db.run("PRAGMA synchronous = NORMAL");
  db.run("PRAGMA temp_store = MEMORY");
  db.run("PRAGMA cache_size = -2000");
  db.run(`PRAGMA journal_size_limit = ${8 << 20}`);
  const version = one(db, "PRAGMA user_version");
  if (version > migrations.length)
    throw new Error(`the buffer was written by a newer picket-agent (schema ${version}): install that version again`);
  db.transaction(() => {
    for (const migration of migrations.slice(version)) db.run(migration);
    db.run(`PRAGMA user_version = ${migrations.length}`);
  })();
  const sizeBytes = one(db, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size");
  if (sizeBytes > SHRINK_ABOVE_BYTES && one(db, "SELECT NOT EXISTS (SELECT 1 FROM events)") === 1) db.run("VACUUM");
}

/** The one number a query returns. */
function one(db: Database, sql: string): number {
  const statement = db.prepare(sql);
  const value = Number(statement.values()[0]?.[0]);
  statement.finalize();
  return value;
}

function statements(db: Database) {
  const insert = db.prepare("INSERT INTO events (id, class, event) VALUES (?, ?, ?)");
  const remove = db.prepare("DELETE FROM events WHERE id BETWEEN ? AND ?");
  const insertEpoch = db.prepare("INSERT INTO epochs (base, epoch, boot, device, next, count, bytes) VALUES (?, ?, ?, ?, ?, ?, ?)");
  const updateEpoch = db.prepare("UPDATE epochs SET next = ?, count = ?, bytes = ? WHERE base = ?");
  const removeEpoch = db.prepare("DELETE FROM epochs WHERE base = ?");
  const plain: Statement<EventRow, [number]> = db.prepare("SELECT id, class, event FROM events WHERE id >= ? AND class = 0 ORDER BY id");
  const urgent: Statement<EventRow, [number]> = db.prepare(
    "SELECT id, class, event FROM events INDEXED BY urgent WHERE id >= ? AND class > 0 ORDER BY id",
  );
  const lowest: Statement<{ id: number | null }, [number, number]> = db.prepare(
    "SELECT min(id) AS id FROM events WHERE id >= ? AND id < ?",
  );
  const countUrgent: Statement<{ n: number }, []> = db.prepare("SELECT count(*) AS n FROM events INDEXED BY urgent WHERE class > 0");
  const epochs: Statement<EpochRow, []> = db.prepare("SELECT base, epoch, boot, device, next, count, bytes FROM epochs ORDER BY base");
  return {
    transaction: (work: () => void): void => db.transaction(work)(),
    insert: (row: EventRow) => void insert.run(row.id, row.class, row.event),
    remove: (runs: readonly Run[]) => {
      for (const [first, last] of runs) remove.run(first, last);
    },
    insertEpoch: (e: EpochRow) => void insertEpoch.run(e.base, e.epoch, e.boot, e.device, e.next, e.count, e.bytes),
    updateEpoch: (e: EpochRow) => void updateEpoch.run(e.next, e.count, e.bytes, e.base),
    removeEpoch: (base: number) => void removeEpoch.run(base),
    /** Rows from `id` on, in order. Stop early by leaving the loop; do not write while in it. */
    plainFrom: (id: number) => plain.iterate(id),
    urgentFrom: (id: number) => urgent.iterate(id),
    /** The lowest id held in [from, to), or undefined. */
    lowest: (from: number, to: number) => lowest.get(from, to)?.id ?? undefined,
    countUrgent: () => countUrgent.get()!.n,
    epochs: () => epochs.all(),
    // An unfinalized statement would keep the file locked.
    close: () => {
      for (const statement of [insert, remove, insertEpoch, updateEpoch, removeEpoch, plain, urgent, lowest, countUrgent, epochs])
        statement.finalize();
      db.close();
    },
  };
}

/**
 * Whether SQLite says that the file itself is no good, rather than that it could not write.
 * SQLITE_ERROR counts too: our statements are fixed, so a missing table means a schema that is not ours.
 */
export const isDamage = (error: unknown): boolean =>
  error instanceof SQLiteError && /^SQLITE_(CORRUPT|NOTADB|ERROR|FORMAT|MISMATCH|CONSTRAINT)/.test(error.code ?? "");

/** Consecutive ids as runs. `ids` must rise. */
export function runsOf(ids: readonly number[]): Run[] {
  const runs: [number, number][] = [];
  for (const id of ids) {
    const run = runs.at(-1);
    if (run && id === run[1] + 1) run[1] = id;
    else runs.push([id, id]);
  }
  return runs;
}
