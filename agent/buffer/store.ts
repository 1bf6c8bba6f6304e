// buffer.db: the SQL and nothing else. An event's id is its epoch's `base` plus its sequence number, so ids rise in the order
// events were made, and one integer key serves order, epoch and number.
import { Database, SQLiteError, type Statement } from "bun:sqlite";
import { chmodSync, closeSync, existsSync, fdatasync, fdatasyncSync, lstatSync, openSync } from "node:fs";

/** Another process has this buffer open: two agents on one state directory. */
export class BufferBusy extends Error {
  override name = "BufferBusy";
}

/** What lies there is no buffer: a folder, a link, a pipe; or a database that says what cannot be. */
export class NotABuffer extends Error {
  override name = "NotABuffer";
}

/** What an event is worth: events of a higher class overtake in sending and are evicted later. */
export const classes = { plain: 0, hit: 1, result: 2 } as const;
export type EventClass = keyof typeof classes;

/** One run of the agent. `count` and `bytes` are of what is in the file; `hits` and `results` say how many of `count` are of those classes. */
export type EpochRow = {
  base: number;
  epoch: string;
  boot: string;
  device: string;
  next: number;
  count: number;
  bytes: number;
  hits: number;
  results: number;
  /** Numbers below this may have been used: a run that is cut off cannot have gone further. */
  reserved: number;
  /** Of this run's numbers below this, all are in the file, acknowledged, or counted as lost. */
  low: number;
  lostPlain: number;
  lostHit: number;
  lostResult: number;
  /** Numbers nothing is known of, since power was lost. */
  atMost: number;
  /** 1 when the run ended in order. */
  closed: number;
  /** When the sensor last had nothing more to read, milliseconds since its boot; 0: nobody said. */
  seen: number;
  /** What was written to flash, as wear.ts keeps it. */
  wear: string;
};
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
  `ALTER TABLE epochs ADD COLUMN hits INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE epochs ADD COLUMN results INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE epochs ADD COLUMN reserved INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE epochs ADD COLUMN low INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE epochs ADD COLUMN lostPlain INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE epochs ADD COLUMN lostHit INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE epochs ADD COLUMN lostResult INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE epochs ADD COLUMN atMost INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE epochs ADD COLUMN closed INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE epochs ADD COLUMN wear TEXT NOT NULL DEFAULT '';
   UPDATE epochs SET reserved = next, low = next, closed = 1,
     hits = (SELECT count(*) FROM events WHERE class > 0 AND class = 1 AND id BETWEEN base AND base + next),
     results = (SELECT count(*) FROM events WHERE class > 0 AND class = 2 AND id BETWEEN base AND base + next);`,
  "ALTER TABLE epochs ADD COLUMN seen INTEGER NOT NULL DEFAULT 0",
];

/** Small pages: a commit of one event rewrites three of them. Measured in docs/buffer.md. Only a new file takes it up. */
const PAGE_BYTES = 2048;
const CHECKPOINT_PAGES = 2000;

/** A file larger than this that holds nothing is made small again at start. */
const SHRINK_ABOVE_BYTES = 16 << 20;

export type Store = ReturnType<typeof openStore>;

/**
 * Opens or makes the database. Throws `BufferBusy` when another process holds it, and SQLite's own error when it is damaged
 * (see `isDamage`). `wasEmpty`: there was a file, and nothing of ours in it.
 *
 * WAL. A commit is in the kernel's hands before it returns, so kill -9 loses nothing that was committed. With `fsync` it is on the disk, too
 * (synchronous=FULL); without, that is so after `sync`, and power loss takes back whole commits from the end but never damages the file. What was
 * acknowledged and comes back that way is sent once more, which the broker recognises by number.
 */
export function openStore(path: string, { fsync }: { readonly fsync: boolean }) {
  const existed = existsSync(path);
  makePrivate(path);
  const db = new Database(path, { create: true, strict: true });
  let wasEmpty: boolean;
  try {
    wasEmpty = prepare(db, fsync) === 0 && existed;
  } catch (error) {
    db.close();
    if (error instanceof SQLiteError && error.code?.startsWith("SQLITE_BUSY"))
      throw new BufferBusy(
        `${path} is in use: another picket-agent runs on this state directory. Stop it first, or give this one --state DIR.`,
      );
    throw error;
  }
  return { ...statements(db, path), wasEmpty };
}

/** Command lines of every user are in it, and the folder may be one that others can enter. SQLite gives its other files the mode of this one. */
function makePrivate(path: string): void {
  for (const file of [path, `${path}-wal`, `${path}-shm`])
    if (lstatSync(file, { throwIfNoEntry: false })?.isFile() === false) throw new NotABuffer(`${file} is not a file`);
  closeSync(openSync(path, "a", 0o600));
  for (const file of [path, `${path}-wal`, `${path}-shm`]) if (existsSync(file)) chmodSync(file, 0o600);
}

/** Returns the version of the schema that was found; 0 in an empty file. */
function prepare(db: Database, fsync: boolean): number {
  db.run(`PRAGMA page_size = ${PAGE_BYTES}`);
  // Exclusive: one writer, and a second agent on the same directory is refused here.
  db.run("PRAGMA locking_mode = EXCLUSIVE");
  db.run("PRAGMA journal_mode = WAL");
  db.run(`PRAGMA synchronous = ${fsync ? "FULL" : "NORMAL"}`);
  db.run(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
  db.run("PRAGMA temp_store = MEMORY");
  db.run("PRAGMA cache_size = -2000");
  db.run(`PRAGMA journal_size_limit = ${8 << 20}`);
  const version = one(db, "PRAGMA user_version");
  if (version > migrations.length)
    throw new Error(`the buffer was written by a newer picket-agent (schema ${version}): install that version again`);
  if (version < migrations.length)
    db.transaction(() => {
      for (const migration of migrations.slice(version)) db.run(migration);
      db.run(`PRAGMA user_version = ${migrations.length}`);
    })();
  const sizeBytes = one(db, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size");
  if (sizeBytes > SHRINK_ABOVE_BYTES && one(db, "SELECT NOT EXISTS (SELECT 1 FROM events)") === 1) db.run("VACUUM");
  return version;
}

/** The one number a query returns. */
function one(db: Database, sql: string): number {
  const statement = db.prepare(sql);
  const value = Number(statement.values()[0]?.[0]);
  statement.finalize();
  return value;
}

const fixed = ["base", "epoch", "boot", "device"] as const satisfies (keyof EpochRow)[];
// Changed without the others, so that the index of epochs is not written with them.
const figures = [
  ...["next", "count", "bytes", "hits", "results", "reserved", "low"],
  ...["lostPlain", "lostHit", "lostResult", "atMost", "closed", "seen", "wear"],
] as const satisfies (keyof EpochRow)[];
const columns: readonly (keyof EpochRow)[] = [...fixed, ...figures];

function statements(db: Database, path: string) {
  const insert = db.prepare("INSERT INTO events (id, class, event) VALUES (?, ?, ?)");
  const change = db.prepare("UPDATE events SET event = ? WHERE id = ?");
  const remove = db.prepare("DELETE FROM events WHERE id BETWEEN ? AND ?");
  const insertEpoch = db.prepare(`INSERT INTO epochs (${columns.join(", ")}) VALUES (${columns.map((name) => `$${name}`).join(", ")})`);
  const updateEpoch = db.prepare(`UPDATE epochs SET ${figures.map((name) => `${name} = $${name}`).join(", ")} WHERE base = $base`);
  const removeEpoch = db.prepare("DELETE FROM epochs WHERE base = ?");
  const plain: Statement<EventRow, [number]> = db.prepare("SELECT id, class, event FROM events WHERE id >= ? AND class = 0 ORDER BY id");
  const urgent: Statement<EventRow, [number]> = db.prepare(
    "SELECT id, class, event FROM events INDEXED BY urgent WHERE id >= ? AND class > 0 ORDER BY id",
  );
  const lowest: Statement<{ id: number | null }, [number, number]> = db.prepare(
    "SELECT min(id) AS id FROM events WHERE id >= ? AND id < ?",
  );
  const countUrgent: Statement<{ n: number }, []> = db.prepare("SELECT count(*) AS n FROM events INDEXED BY urgent WHERE class > 0");
  const count: Statement<{ n: number }, [number, number]> = db.prepare("SELECT count(*) AS n FROM events WHERE id >= ? AND id < ?");
  const epochs: Statement<EpochRow, []> = db.prepare(`SELECT ${columns.join(", ")} FROM epochs ORDER BY base`);
  let wal: number | undefined;
  const walFd = () => {
    wal ??= openSync(`${path}-wal`, "r+");
    return wal;
  };
  let syncing = 0;
  return {
    transaction: (work: () => void): void => db.transaction(work)(),
    insert: (row: EventRow) => void insert.run(row.id, row.class, row.event),
    change: (id: number, event: string) => void change.run(event, id),
    remove: (runs: readonly Run[]) => {
      for (const [first, last] of runs) remove.run(first, last);
    },
    insertEpoch: (row: EpochRow) => void insertEpoch.run(row),
    updateEpoch: (row: EpochRow) => void updateEpoch.run(row),
    removeEpoch: (base: number) => void removeEpoch.run(base),
    /** Rows from `id` on, in order. Stop early by leaving the loop; do not write while in it. */
    plainFrom: (id: number) => plain.iterate(id),
    urgentFrom: (id: number) => urgent.iterate(id),
    /** The lowest id held in [from, to), or undefined. */
    lowest: (from: number, to: number) => lowest.get(from, to)?.id ?? undefined,
    countUrgent: () => countUrgent.get()!.n,
    /** Events held in [from, to). */
    count: (from: number, to: number) => count.get(from, to)!.n,
    epochs: () => epochs.all(),
    /** Puts what is committed on the disk; the second does so while the event loop goes on, and rejects when the disk refuses. */
    syncNow: () => fdatasyncSync(walFd()),
    sync: () => {
      const fd = walFd();
      syncing++;
      return new Promise<void>((resolve, reject) => {
        fdatasync(fd, (error) => {
          if (--syncing === 0 && wal === undefined) closeSync(fd);
          if (error) reject(error);
          else resolve();
        });
      });
    },
    // An unfinalized statement would keep the file locked.
    close: () => {
      for (const statement of [
        insert,
        change,
        remove,
        insertEpoch,
        updateEpoch,
        removeEpoch,
        plain,
        urgent,
        lowest,
        countUrgent,
        count,
        epochs,
      ])
        statement.finalize();
      if (wal !== undefined && syncing === 0) closeSync(wal);
      wal = undefined;
      db.close();
    },
  };
}

/**
 * Whether the file itself is no good, rather than that it could not be written.
 * SQLITE_ERROR counts too: our statements are fixed, so a missing table means a schema that is not ours.
 */
export const isDamage = (error: unknown): boolean =>
  error instanceof NotABuffer ||
  (error instanceof SQLiteError && /^SQLITE_(CORRUPT|NOTADB|ERROR|FORMAT|MISMATCH|CONSTRAINT|RANGE|TOOBIG)/.test(error.code ?? ""));

/** Whether the disk takes nothing now, which may pass: full, read-only, failing. */
export const isRefusal = (error: unknown): boolean =>
  error instanceof SQLiteError
    ? /^SQLITE_(FULL|READONLY|IOERR|CANTOPEN)/.test(error.code ?? "")
    : /^(ENOSPC|EROFS|EIO|EDQUOT)$/.test((error as NodeJS.ErrnoException | undefined)?.code ?? "");

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
