// The broker's one SQLite file: durable commits shared by many writers, and numbered migrations.
import { Database } from "bun:sqlite";
import type { Migrations } from "./migration.ts";

/** The database was written by a newer Picket. Nothing was changed. */
export class NewerSchema extends Error {
  override name = "NewerSchema";
}

type Waiting = { readonly work: () => unknown; readonly resolve: (value: unknown) => void; readonly reject: (error: unknown) => void };

/** Table owners and their migrations, by the name the database remembers them under. */
export type Schema = Readonly<Record<string, Migrations>>;

/** Sums that many entries of a group add to and that are written once, in its commit. `write` gets what was added since. */
export type Tally = { readonly size: number; readonly write: (store: Store, sums: readonly number[]) => void };

/** An open database. Made by `openStore`. */
export class Store implements Disposable {
  readonly db: Database;
  #waiting: Waiting[] = [];
  #scheduled: ReturnType<typeof setImmediate> | undefined;
  #closed = false;
  readonly #tallies = new Map<Tally, number[]>();
  /** Told how long each shared commit took, with its fsync; seconds. */
  onCommit: (seconds: number) => void = () => {};
  /** What table owners remember of rows they wrote, under names of their own. Emptied whenever anything is undone. */
  readonly remembered = new Map<string, unknown>();

  constructor(path: string, schema: Schema) {
    this.db = new Database(path, { create: true, strict: true });
    this.db.run("PRAGMA busy_timeout = 5000");
    this.db.run("PRAGMA journal_mode = WAL");
    // FULL in WAL mode means one fsync of the WAL at every COMMIT: what was acknowledged survives power loss.
    this.db.run("PRAGMA synchronous = FULL");
    // After a burst the WAL file shrinks again.
    this.db.run("PRAGMA journal_size_limit = 67108864");
    try {
      migrate(this.db, path, schema);
    } catch (error) {
      this.db.close();
      throw error;
    }
  }

  /**
   * Runs `work` in a transaction shared with everybody who asked in the same turn of the event loop, and resolves with its
   * result after the COMMIT is on disk. `work` must be synchronous. When it throws, only its own changes are undone;
   * when the COMMIT fails (disk full, I/O error), every promise of the group rejects and nothing was stored.
   */
  commitSoon<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed) return reject(new Error("the store is closed"));
      this.#waiting.push({ work, resolve: resolve as (value: unknown) => void, reject });
      // While one group is in fsync the sockets fill up, so the next group is as large as the load asks for.
      this.#scheduled ??= setImmediate(() => this.flush());
    });
  }

  /** Runs `work` in a transaction of its own, on disk when it returns. For start-up and rare operator actions. */
  commitNow<T>(work: () => T): T {
    try {
      return this.db
        .transaction(() => {
          const value = work();
          this.#writeTallies();
          return value;
        })
        .immediate();
    } catch (error) {
      this.#forget();
      throw error;
    }
  }

  /** Adds to sums that are written with the commit of the transaction this is called in; at once where there is none. */
  add(tally: Tally, amounts: readonly number[]): void {
    if (!this.db.inTransaction) {
      tally.write(this, amounts);
      return;
    }
    const sums = this.#tallies.get(tally) ?? new Array<number>(tally.size).fill(0);
    for (const [at, amount] of amounts.entries()) sums[at] = sums[at]! + amount;
    this.#tallies.set(tally, sums);
  }

  #forget(): void {
    this.#tallies.clear();
    this.remembered.clear();
  }

  #writeTallies(): void {
    for (const [tally, sums] of this.#tallies) tally.write(this, sums);
    this.#tallies.clear();
  }

  /** Commits what waits, now. */
  flush(): void {
    if (this.#scheduled) clearImmediate(this.#scheduled);
    this.#scheduled = undefined;
    const group = this.#waiting;
    if (group.length === 0) return;
    this.#waiting = [];
    const settle: (() => void)[] = [];
    const beganMs = performance.now();
    try {
      this.db.run("BEGIN IMMEDIATE");
      for (const entry of group) settle.push(this.#attempt(entry));
      this.#writeTallies();
      this.db.run("COMMIT");
    } catch (error) {
      this.#forget();
      if (this.db.inTransaction) this.db.run("ROLLBACK");
      for (const entry of group) entry.reject(error);
      return;
    }
    this.onCommit((performance.now() - beganMs) / 1000);
    for (const done of settle) done();
  }

  /** `query` keeps what it prepared; `db.run` would prepare it for every batch. */
  #run(sql: string): void {
    this.db.query(sql).run();
  }

  #attempt({ work, resolve, reject }: Waiting): () => void {
    this.#run("SAVEPOINT work");
    const before = [...this.#tallies].map(([tally, sums]): [Tally, number[]] => [tally, [...sums]]);
    try {
      const value = work();
      this.#run("RELEASE work");
      return () => resolve(value);
    } catch (error) {
      // SQLite has already rolled everything back after a full disk or an I/O error: then the whole group fails.
      if (!this.db.inTransaction) throw error;
      this.db.run("ROLLBACK TO work");
      this.db.run("RELEASE work");
      this.#forget();
      for (const [tally, sums] of before) this.#tallies.set(tally, sums);
      return () => reject(error);
    }
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.flush();
    this.#closed = true;
    this.db.close();
  }
}

/** Bytes inside the file that nothing uses: they are filled before the file grows. */
export const reusableBytes = ({ db }: Store): number =>
  db.query<{ bytes: number }, []>("SELECT freelist_count * page_size AS bytes FROM pragma_freelist_count, pragma_page_size").get()!.bytes;

/** Writes without changing anything, to learn whether the disk takes it; call inside `commitSoon`. */
export const probeWrite = ({ db }: Store): void => {
  db.query("UPDATE schema_version SET version = version").run();
};

function migrate(db: Database, path: string, schema: Schema): void {
  db.transaction(() => {
    db.run("CREATE TABLE IF NOT EXISTS schema_version (part TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT");
    const have = new Map(
      db
        .query<{ part: string; version: number }, []>("SELECT part, version FROM schema_version")
        .all()
        .map((row) => [row.part, row.version]),
    );
    for (const [part, version] of have) {
      if (version > (schema[part]?.length ?? 0))
        throw new NewerSchema(
          `${path}: "${part}" has schema version ${version}, this Picket knows ${schema[part]?.length ?? 0}. Install the newer Picket again, or restore a backup.`,
        );
    }
    for (const [part, migrations] of Object.entries(schema)) {
      // A disk that is full must not keep the broker from starting: only what changes is written.
      if (have.get(part) === migrations.length) continue;
      for (const sql of migrations.slice(have.get(part) ?? 0)) db.run(sql);
      db.run("INSERT OR REPLACE INTO schema_version VALUES (?, ?)", [part, migrations.length]);
    }
  }).immediate();
}
