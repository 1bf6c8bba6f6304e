import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Row, startInventory, type Table } from "./inventory.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "picket-inventory-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** An inventory of one table whose rows the test sets; `looks` counts. */
function rig(rows: () => Iterable<Row>, path = join(dir, "inventory.json"), everyS = 0.02, dear = false) {
  const told: string[] = [];
  let looks = 0;
  const table: Table = {
    name: "things",
    everyS,
    dear,
    rows: () => {
      looks++;
      return rows();
    },
  };
  const inventory = startInventory({
    tables: [table],
    path,
    firstS: 0.01,
    emit: (draft) => draft.type === "host.inventory" && told.push(`${draft.body.op} ${JSON.stringify(draft.body.row)}`),
  });
  const looked = async () => {
    const before = looks;
    await expect.poll(() => looks).toBeGreaterThan(before + 1);
  };
  return { told, looked, inventory, looks: () => looks };
}

test("the first look tells of everything, later ones of what changed, however the columns are ordered", async () => {
  let rows: Row[] = [
    { name: "a", n: 1 },
    { name: "b", n: 2 },
  ];
  const { told, looked, inventory } = rig(() => rows);
  using _ = inventory;
  await looked();
  expect(told.splice(0)).toEqual(['added {"n":1,"name":"a"}', 'added {"n":2,"name":"b"}']);
  rows = [
    { n: 1, name: "a" },
    { name: "b", n: 3 },
  ];
  await looked();
  expect(told.splice(0)).toEqual(['removed {"n":2,"name":"b"}', 'added {"n":3,"name":"b"}']);
  await looked();
  expect(told).toEqual([]);
  expect(inventory.capability()).toMatchObject({ level: "live" });
});

test("a restart tells only of what changed meanwhile; a torn memory begins anew, and only this user can read it", async () => {
  const path = join(dir, "inventory.json");
  {
    const { looked, inventory } = rig(() => [{ name: "a" }, { name: "b" }]);
    using _ = inventory;
    await looked();
  }
  expect(statSync(path).mode & 0o777).toBe(0o600);
  {
    const { told, looked, inventory } = rig(() => [{ name: "b" }, { name: "c" }]);
    using _ = inventory;
    await looked();
    expect(told).toEqual(['removed {"name":"a"}', 'added {"name":"c"}']);
  }
  writeFileSync(path, readFileSync(path).subarray(0, 9));
  const { told, looked, inventory } = rig(() => [{ name: "c" }]);
  using _ = inventory;
  await looked();
  expect(told).toEqual(['added {"name":"c"}']);
});

test("a table that cannot be read tells nothing, says why, and is tried again", async () => {
  let broken = true;
  const { told, looked, inventory } = rig(() => {
    if (broken) throw new Error("EACCES: no");
    return [{ name: "a" }];
  });
  using _ = inventory;
  await looked();
  expect(told).toEqual([]);
  expect(inventory.capability()).toEqual({ name: "inventory", level: "degraded", why: "things: EACCES: no" });
  broken = false;
  await looked();
  expect(told).toEqual(['added {"name":"a"}']);
  expect(inventory.capability().level).toBe("live");
});

test("more rows than anybody reads are left out, and that is said; a memory that cannot be written too", async () => {
  const many = Array.from({ length: 10_001 }, (_, at) => ({ at }));
  const { told, looked, inventory } = rig(() => many);
  using _ = inventory;
  await looked();
  expect(told).toHaveLength(10_000);
  expect(inventory.capability().why).toContain("more than 10000 rows");
  const nowhere = rig(() => [{ name: "a" }], join(dir, "no/such/folder"));
  using __ = nowhere.inventory;
  await nowhere.looked();
  expect(nowhere.inventory.capability()).toMatchObject({ level: "degraded", why: expect.stringContaining("ENOENT") });
});

test("how often a table is looked at changes while it runs, and counts from its last look", async () => {
  const { looked, inventory, looks } = rig(() => [], undefined, 3600);
  using _ = inventory;
  await expect.poll(looks).toBe(1);
  inventory.every("things", 0.02);
  await looked();
  inventory.every("things", 3600);
  const before = looks();
  inventory.every("things", 7200);
  inventory.every("things", 0.02);
  await expect.poll(looks).toBeGreaterThan(before);
  expect(() => inventory.every("souls", 60)).toThrow("there is no inventory table souls");
});

test("a restart does not repeat a look that takes much, unless it is due, the clock went back or nothing is remembered", async () => {
  const path = join(dir, "inventory.json");
  const afterRestart = async (everyS: number) => {
    const { inventory, looks } = rig(() => [{ name: "a" }], path, everyS, true);
    using _ = inventory;
    // A cheap table beside it is looked at three times: the other had its turn.
    const other = rig(() => [], join(dir, "other.json"), 0.05);
    using __ = other.inventory;
    await other.looked();
    await other.looked();
    return looks();
  };
  expect(await afterRestart(3600)).toBe(1);
  expect(await afterRestart(3600)).toBe(0);
  expect(await afterRestart(0.02)).toBeGreaterThan(0);
  writeFileSync(path, JSON.stringify({ tables: { things: [] }, lookedMs: { things: Date.now() + 60_000 } }));
  expect(await afterRestart(3600)).toBe(1);
  // As an agent of before wrote it.
  writeFileSync(path, JSON.stringify({ things: ['{"name":"a"}'] }));
  expect(await afterRestart(3600)).toBe(1);
});

test("a look before the restart counts when it is to be made more often", async () => {
  const path = join(dir, "inventory.json");
  writeFileSync(path, JSON.stringify({ tables: { things: [] }, lookedMs: { things: Date.now() - 60_000 } }));
  const { inventory, looks } = rig(() => [], path, 3600, true);
  using _ = inventory;
  inventory.every("things", 30);
  await expect.poll(looks).toBe(1);
});
