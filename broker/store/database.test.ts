import { Database } from "bun:sqlite";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { NewerSchema, Store } from "./database.ts";
import { openStore } from "./schema.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "pkbrk-store-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const schema = { notes: ["CREATE TABLE notes (text TEXT NOT NULL UNIQUE) STRICT"] };
const add = (store: Store, text: string) => () => void store.db.query("INSERT INTO notes VALUES (?)").run(text);
const all = (store: Store) => store.db.query<{ text: string }, []>("SELECT text FROM notes ORDER BY text").values().flat();

test("many writers of one turn share a transaction, and each gets its own result", async () => {
  using store = new Store(join(dir, "a.db"), schema);
  let transactions = 0;
  const begin = store.db.run.bind(store.db);
  store.db.run = ((sql: string) => {
    if (sql === "COMMIT") transactions++;
    return begin(sql);
  }) as typeof store.db.run;
  const results = await Promise.all(
    ["a", "b", "c"].map((text) =>
      store.commitSoon(() => {
        add(store, text)();
        return text.toUpperCase();
      }),
    ),
  );
  expect(results).toEqual(["A", "B", "C"]);
  expect(all(store)).toEqual(["a", "b", "c"]);
  expect(transactions).toBe(1);
});

test("nothing is promised before the COMMIT: another connection sees it when the promise resolves, not before", async () => {
  using store = new Store(join(dir, "a.db"), schema);
  using other = new Database(join(dir, "a.db"), { readonly: true });
  const count = () => other.query<{ n: number }, []>("SELECT COUNT(*) AS n FROM notes").get()!.n;
  const committed = store.commitSoon(() => {
    add(store, "a")();
    return count();
  });
  expect(await committed).toBe(0);
  expect(count()).toBe(1);
});

test("work that throws loses only its own changes", async () => {
  using store = new Store(join(dir, "a.db"), schema);
  const [first, second, third] = await Promise.allSettled([
    store.commitSoon(add(store, "a")),
    store.commitSoon(() => {
      add(store, "half")();
      throw new Error("refused");
    }),
    store.commitSoon(add(store, "b")),
  ]);
  expect([first!.status, second!.status, third!.status]).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(all(store)).toEqual(["a", "b"]);
});

test("when the disk is full every writer of the group is refused, nothing of it is stored, and later writes work again", async () => {
  using store = new Store(join(dir, "a.db"), schema);
  await store.commitSoon(add(store, "before"));
  const pages = store.db.query<{ page_count: number }, []>("PRAGMA page_count").get()!.page_count;
  // SQLite answers SQLITE_FULL, as it does when the file system has no room.
  store.db.run(`PRAGMA max_page_count = ${pages}`);
  const big = "x".repeat(100_000);
  const group = await Promise.allSettled([
    store.commitSoon(add(store, "small")),
    store.commitSoon(add(store, big)),
    store.commitSoon(add(store, big + 1)),
  ]);
  expect(group[1]!.status).toBe("rejected");
  expect(all(store).every((text) => String(text).length < 100)).toBe(true);
  // Whoever was told "stored" is stored.
  expect(all(store)).toEqual(group[0]!.status === "fulfilled" ? ["before", "small"] : ["before"]);
  store.db.run("PRAGMA max_page_count = 1000000");
  await store.commitSoon(add(store, "after"));
  expect(all(store)).toContain("after");
});

test("a store that is closed refuses instead of waiting for ever", async () => {
  const store = new Store(join(dir, "a.db"), schema);
  const last = store.commitSoon(add(store, "last"));
  store[Symbol.dispose]();
  await last;
  await expect(store.commitSoon(add(store, "late"))).rejects.toThrow("closed");
  using again = new Store(join(dir, "a.db"), schema);
  expect(all(again)).toEqual(["last"]);
});

test("every COMMIT is followed by an fsync of the write-ahead log", () => {
  using store = openStore(join(dir, "a.db"));
  expect(store.db.query("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" });
  expect(store.db.query("PRAGMA synchronous").get()).toEqual({ synchronous: 2 });
});

test("migrations run once, in order, and a part that is added later starts at its first", () => {
  new Store(join(dir, "a.db"), schema)[Symbol.dispose]();
  using store = new Store(join(dir, "a.db"), {
    notes: [...schema.notes, "ALTER TABLE notes ADD COLUMN by TEXT"],
    more: ["CREATE TABLE more (x INTEGER)"],
  });
  expect(
    store.db
      .query<{ name: string }, []>("PRAGMA table_info(notes)")
      .all()
      .map(({ name }) => name),
  ).toEqual(["text", "by"]);
  expect(store.db.query("SELECT * FROM more").all()).toEqual([]);
});

test("a database of a newer Picket is left alone, with a clear error", () => {
  new Store(join(dir, "a.db"), { notes: [...schema.notes, "ALTER TABLE notes ADD COLUMN by TEXT"] })[Symbol.dispose]();
  expect(() => new Store(join(dir, "a.db"), schema)).toThrow(NewerSchema);
  expect(() => new Store(join(dir, "a.db"), {})).toThrow(/Install the newer Picket/);
});

test("a migration that fails leaves the database as it was", () => {
  new Store(join(dir, "a.db"), schema)[Symbol.dispose]();
  const broken = { notes: [...schema.notes, "CREATE TABLE half (x INTEGER); SYNTAX ERROR"] };
  expect(() => new Store(join(dir, "a.db"), broken)).toThrow();
  using store = new Store(join(dir, "a.db"), schema);
  expect(store.db.query("SELECT name FROM sqlite_master WHERE name = 'half'").all()).toEqual([]);
});
