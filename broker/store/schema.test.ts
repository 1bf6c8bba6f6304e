// Databases of every schema that was ever released, each with a row in every table, open with all they hold.
import { Database } from "bun:sqlite";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { countAlerts, getAlert } from "./alerts.ts";
import { NewerSchema } from "./database.ts";
import { countDeadLetters, deadLetterCounts } from "./dead-letters.ts";
import { getDevice } from "./devices.ts";
import { logTotals, readBatches } from "./log.ts";
import { coverage, unknownRuns } from "./received.ts";
import { openStore } from "./schema.ts";

const testdata = new URL("testdata/", import.meta.url).pathname;
const released = readdirSync(testdata).filter((name) => name.endsWith(".sql"));

type Row = Readonly<Record<string, unknown>>;
const tablesOf = (db: Database) =>
  db
    .query<{ name: string }, []>("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    .values()
    .flat() as string[];
const rowsOf = (db: Database, table: string) => db.query<Row, []>(`SELECT * FROM "${table}"`).all();

function inDirectory(work: (path: string) => void): void {
  const dir = mkdtempSync(join(tmpdir(), "pkbrk-schema-"));
  try {
    work(join(dir, "site.db"));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

test.each(released)("%s: every row is still there, and what reads it does", (name) => {
  inDirectory((path) => {
    const old = new Database(path, { create: true });
    old.run(readFileSync(join(testdata, name), "utf8"));
    const before = new Map(tablesOf(old).map((table) => [table, rowsOf(old, table)]));
    old.close();
    for (let open = 1; open <= 2; open++) {
      using store = openStore(path);
      for (const [table, rows] of before) {
        if (table !== "schema_version")
          for (const row of rows) expect(rowsOf(store.db, table), table).toContainEqual(expect.objectContaining(row));
      }
      expect(logTotals(store)).toMatchObject({ batches: 1, events: 5, bytes: 6, nextOffset: 2 });
      expect(Buffer.from(readBatches(store, 0, 9)[0]!.batch).toString()).toBe("batch!");
      expect(unknownRuns(store, "gw-1", "epoch000", [[0, 7]])).toEqual([[5, 2]]);
      expect(coverage(store, "gw-1").stored).toBeGreaterThanOrEqual(5);
      expect(getDevice(store, "gw-1")).toMatchObject({ trust: "enrolled", isolationWanted: true });
      expect([countAlerts(store), getAlert(store, "6f1c7a52-9d0e-5f4b-8a3c-0123456789ab")?.status]).toEqual([1, "closed"]);
      expect([countDeadLetters(store), deadLetterCounts(store, 5)[0]?.lastReason]).toEqual([1, "reason-1"]);
    }
  });
});

test("what is migrated has the schema of a new database", () => {
  const shape = (db: Database) =>
    new Map(
      tablesOf(db).map((table) => [
        table,
        db.query<Row, []>(`SELECT name, type, "notnull", pk FROM pragma_table_info('${table}') ORDER BY name`).all(),
      ]),
    );
  const indexes = (db: Database) =>
    db.query("SELECT name FROM sqlite_master WHERE type IN ('index', 'trigger') ORDER BY name").values().flat();
  using fresh = openStore(":memory:");
  for (const name of released)
    inDirectory((path) => {
      const old = new Database(path, { create: true });
      old.run(readFileSync(join(testdata, name), "utf8"));
      old.close();
      using store = openStore(path);
      expect(shape(store.db), name).toEqual(shape(fresh.db));
      expect(indexes(store.db), name).toEqual(indexes(fresh.db));
    });
});

test("a database from the future is refused by name, and not a byte of it changes", () => {
  inDirectory((path) => {
    openStore(path)[Symbol.dispose]();
    const db = new Database(path);
    db.run("UPDATE schema_version SET version = version + 1 WHERE part = 'log'");
    db.run("PRAGMA wal_checkpoint(TRUNCATE)");
    db.close();
    const before = readFileSync(path);
    expect(() => openStore(path)).toThrow(NewerSchema);
    expect(() => openStore(path)).toThrow(/"log" has schema version \d+, this Picket knows \d+\. Install the newer Picket again/);
    expect(readFileSync(path).equals(before)).toBe(true);
  });
});

test("a database that needs no migration is opened without writing: a full disk does not keep the broker from starting", () => {
  inDirectory((path) => {
    openStore(path)[Symbol.dispose]();
    const before = readFileSync(path);
    openStore(path)[Symbol.dispose]();
    expect(readFileSync(path).equals(before)).toBe(true);
  });
});
