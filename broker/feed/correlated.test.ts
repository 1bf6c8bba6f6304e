// What correlations remember, at the broker: stored with the cursor, given back, parted with lanes.
import type { Correlated, State } from "@picket/protocol/feed";
import { expect, test } from "vitest";
import type { Store } from "../store/database.ts";
import { addSeam, listLanes, removeLane, setAside } from "../store/lanes.ts";
import { openStore } from "../store/schema.ts";
import { saveRest } from "./lanes.ts";
import { stateParts } from "./state.ts";

const row = (device: string, group: string, body = "b", n = 1): Correlated => ({ device, rule: "r", group, n, receivedMs: 1, body });
const save = (store: Store, lane: number | undefined, rows: readonly Correlated[]) =>
  store.commitNow(() =>
    saveRest(
      store,
      listLanes(store).find(({ id }) => id === lane),
      1,
      { session: "s", next: 1, alerts: [], seen: [], correlated: [...rows], read: 0, refused: 0 },
    ),
  );
const parts = (store: Store, lane?: number): State[] => [
  ...stateParts(store, { session: "s", lane: listLanes(store).find(({ id }) => id === lane), cursor: 1, seam: 0, cursorMs: 1 }),
];
const kept = (store: Store, lane?: number) =>
  parts(store, lane).flatMap(({ correlated }) => correlated!.map((one) => `${one.device} ${one.group} ${one.body}`));

test("rows are kept, replaced, and gone without a body", () => {
  using store = openStore(":memory:");
  save(store, undefined, [row("gw-1", "a"), row("gw-1", "b"), row("gw-2", "a")]);
  save(store, undefined, [row("gw-1", "a", "c", 2), row("gw-2", "a", "")]);
  expect(kept(store)).toEqual(["gw-1 a c", "gw-1 b b"]);
});

test("thousands come in parts that each fit, nothing missing", () => {
  using store = openStore(":memory:");
  const rows = Array.from({ length: 3000 }, (_, at) => row("gw-1", String(at).padStart(5, "0"), "x".repeat(400)));
  save(store, undefined, rows);
  const all = parts(store);
  expect(all.length).toBeGreaterThan(2);
  for (const part of all) expect(JSON.stringify(part).length).toBeLessThan(1 << 20);
  expect(all.flatMap(({ correlated }) => correlated!)).toEqual(rows);
});

test("a device that is read apart has its own, and the main cursor those of the others", () => {
  using store = openStore(":memory:");
  save(store, undefined, [row("gw-1", "a"), row("gw-2", "a")]);
  store.commitNow(() => setAside(store, "gw-2", 1));
  const [lane] = listLanes(store);
  expect([kept(store), kept(store, lane!.id)]).toEqual([["gw-1 a b"], ["gw-2 a b"]]);
  save(store, lane!.id, [row("gw-2", "z")]);
  store.commitNow(() => removeLane(store, lane!.id));
  expect(kept(store)).toEqual(["gw-1 a b", "gw-2 a b", "gw-2 z b"]);
});

test("after an outage both go on from what was known at the cursor, each for itself", () => {
  using store = openStore(":memory:");
  save(store, undefined, [row("gw-1", "a")]);
  store.commitNow(() => addSeam(store, 1, 50));
  const [lane] = listLanes(store);
  save(store, lane!.id, [row("gw-1", "lane")]);
  save(store, undefined, [row("gw-1", "main"), row("gw-1", "a", "")]);
  expect([kept(store), kept(store, lane!.id)]).toEqual([["gw-1 main b"], ["gw-1 a b", "gw-1 lane b"]]);
  store.commitNow(() => removeLane(store, lane!.id));
  expect(store.db.query("SELECT COUNT(*) AS n FROM correlated").get()).toEqual({ n: 1 });
});
