import type { MeshItem } from "@picket/protocol/mesh";
import { MAX_HOPS } from "@picket/protocol/mesh-limits";
import { beforeEach, expect, test } from "vitest";
import { detection } from "../testing/samples.ts";
import { upsertAlert } from "./alerts.ts";
import type { Store } from "./database.ts";
import { addPeer, getPeer, noteSent } from "./mesh.ts";
import {
  appendItem,
  countAfter,
  itemsAfter,
  knownItem,
  logSize,
  putSignature,
  shareItem,
  shortenWay,
  trimMeshLog,
  unsignedItems,
} from "./mesh-log.ts";
import { openStore } from "./schema.ts";

let store: Store;
const DAY_MS = 86_400_000;
const limits = { keepMs: 14 * DAY_MS, keepItems: 100, keepBytes: 1 << 20 };
const peer = (site: string) =>
  addPeer(store, { site, ca: `pem ${site}`, caHash: `hash ${site}`.padEnd(43, "."), address: null, operator: "anna", joinedMs: 0 });
const item = (id: string, more: Partial<Parameters<typeof appendItem>[1]> = {}) =>
  appendItem(store, {
    ...{ origin: "east", caHash: "h", kind: "alert", id, revision: 0, hops: ["east", "north"], source: "east" },
    ...{ state: "ready", content: `jws ${id}`, storedMs: 1000 },
    ...more,
  });
const itemsOf = (site: string) => itemsAfter(store, site, 0, 10).items;
beforeEach(() => {
  store = openStore(":memory:");
  peer("south");
});

test("an alert is shared when there is a peer, in the transaction that stores it; each revision in the place of the last", () => {
  const lonely = openStore(":memory:");
  upsertAlert(lonely, detection(), "", 1);
  expect(logSize(lonely).items).toBe(0);
  const one = detection();
  upsertAlert(store, one, "", 1);
  upsertAlert(store, { ...one, revision: 4 }, "", 2);
  expect(unsignedItems(store, 10)).toMatchObject([{ origin: one.site, kind: "alert", id: one.id, revision: 4 }]);
});

test("an alert too large for the mesh leaves without its tree, then without its process", () => {
  const node = { depth: 0, pid: 1, exe: "/bin/sh", argv: ["x".repeat(4000)], matched: [] };
  upsertAlert(store, detection({ tree: Array.from({ length: 60 }, () => node) }), "", 1);
  const [shared] = unsignedItems(store, 10);
  expect((JSON.parse(shared!.content) as Extract<MeshItem, { kind: "alert" }>).body.tree).toEqual([]);
});

test("nothing is read past an item that is not signed yet: it would be skipped for ever", () => {
  item("1");
  shareItem(store, { v: 1, origin: "north", iat: 1, kind: "alert", body: detection({ site: "north" }) }, 1);
  item("2");
  expect(itemsOf("south").map(({ jws }) => jws)).toEqual(["jws 1"]);
  const [open] = unsignedItems(store, 10);
  putSignature(store, open!, "signed");
  expect(itemsOf("south").map(({ jws }) => jws)).toEqual(["jws 1", "signed", "jws 2"]);
});

test("a peer is not told what came from it, what it said itself, nor what has passed too many sites", () => {
  item("from it", { source: "south" });
  item("its own", { origin: "south" });
  item("far", { hops: Array.from({ length: MAX_HOPS + 1 }, (_, at) => `s${at}`) });
  item("last", { hops: Array.from({ length: MAX_HOPS }, (_, at) => `s${at}`) });
  expect(itemsOf("south").map(({ jws }) => jws)).toEqual(["jws last"]);
  expect(countAfter(store, "south", 0)).toBe(1);
});

test("a shorter way replaces a longer one, so that nobody keeps an item from going on", () => {
  item("1", { hops: Array.from({ length: MAX_HOPS + 1 }, (_, at) => `s${at}`) });
  expect(itemsOf("south")).toEqual([]);
  shortenWay(store, { origin: "east", caHash: "h", kind: "alert", id: "1", revision: 0 }, { hops: ["east", "north"], source: "east" });
  expect(itemsOf("south")).toMatchObject([{ hops: ["east", "north"] }]);
});

test("what goes before a peer had it is counted as lost for that peer; what it had is not", () => {
  peer("west");
  for (let at = 0; at < 10; at++) item(`old ${at}`, { storedMs: 0 });
  const [, , third] = itemsOf("south");
  noteSent(store, "south", third!.pos, 3);
  item("young", { storedMs: 15 * DAY_MS });
  expect(trimMeshLog(store, limits, 15 * DAY_MS)).toBe(10);
  expect([getPeer(store, "south")?.lost, getPeer(store, "west")?.lost]).toEqual([7, 10]);
  expect(itemsOf("south").map(({ jws }) => jws)).toEqual(["jws young"]);
  expect(trimMeshLog(store, limits, 15 * DAY_MS)).toBe(0);
  expect(getPeer(store, "south")?.lost).toBe(7);
});

test("who floods displaces only itself", () => {
  item("honest", { source: "west" });
  for (let at = 0; at < 500; at++) item(`flood ${at}`, { source: "east" });
  trimMeshLog(store, limits, 2000);
  expect(logSize(store).items).toBe(101);
  expect(itemsAfter(store, "south", 0, 1).items.map(({ jws }) => jws)).toEqual(["jws honest"]);
});

test("bytes are bounded as well as items", () => {
  for (let at = 0; at < 50; at++) item(`${at}`, { content: "x".repeat(100_000) });
  trimMeshLog(store, limits, 2000);
  expect(logSize(store).bytes).toBeLessThanOrEqual(limits.keepBytes);
  expect(logSize(store).items).toBe(10);
});

test("an item let go is still known, so that it cannot come again; an introduction is never let go", () => {
  item("1", { storedMs: 0 });
  item("site", { kind: "site", storedMs: 0 });
  trimMeshLog(store, limits, 20 * DAY_MS);
  expect(knownItem(store, { origin: "east", caHash: "h", kind: "alert", id: "1" })).toMatchObject({ revision: 0, content: "" });
  expect(itemsOf("south")).toHaveLength(1);
});
