// A peer with a real certificate and bad intentions. Whatever it sends is refused, counted and shown, and honest peers go on.
import type { Alert } from "@picket/protocol/alert";
import { MAX_AGE_MS, MAX_HOPS, MAX_ITEM_BYTES, MAX_ITEMS, WINDOW } from "@picket/protocol/mesh-limits";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createAuthority, createIdentity, readAuthority } from "../pki/certificates.ts";
import { until } from "../testing/site.ts";
import { alertItem, forge, type Impostor, impostor } from "./testing/impostor.ts";
import { detectionAt, type Identity, joinSites, type MeshSite, meshIdentity, meshSite } from "./testing/sites.ts";

let north: MeshSite;
let south: MeshSite;
let honest: MeshSite;
let mallory: Identity;
beforeAll(async () => {
  [north, south, honest] = await Promise.all([meshSite("north"), meshSite("south"), meshSite("honest")]);
  await joinSites(south, north);
  await joinSites(honest, north);
  mallory = meshIdentity(south);
  // From here on somebody else speaks for south.
  await south.stop();
});
afterAll(async () => {
  for (const site of [north, south, honest]) await site?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await north.ask("PATCH", "/v1/mesh/peers/south", { itemsPerS: null });
});

const peer = async () => (await north.status()).peers.find(({ site }) => site === "south")!;
const refusals = async () => (await peer()).refused;
const foreign = () => north.alerts("mesh");

/** Sends one item and waits until it was dealt with. */
async function deliver(as: Impostor, ...items: { jws: string; hops?: readonly string[] }[]): Promise<void> {
  await as.items(items.map((item) => ({ hops: ["south"], ...item })));
  await as.heard("ack");
}

async function speak(): Promise<Impostor> {
  const as = await impostor(north, { ...mallory, name: "south" });
  await as.heard("hello");
  return as;
}

test("what is its own is taken, once, however often it is sent", async () => {
  const as = await speak();
  const mine = detectionAt("south");
  const jws = await forge(mallory, alertItem("south", mine));
  await deliver(as, { jws });
  await deliver(as, { jws }, { jws });
  await deliver(as, { jws: await forge(mallory, alertItem("south", mine)) });
  expect((await foreign()).filter(({ id }) => id === mine.id)).toHaveLength(1);
  expect((await refusals()).replayed).toBe(3);
  await until(async () => (await honest.alerts("mesh")).some(({ id }) => id === mine.id), "the other peer, through us");
  const there = (await honest.alerts("mesh")).find(({ id }) => id === mine.id);
  expect(there?.origin).toMatchObject({ site: "south", via: "north", trust: "vouched" });
  await as.end();
});

test("it speaks for nobody else: not for us, not for a peer of ours, not with an alert of theirs", async () => {
  const as = await speak();
  const before = (await refusals()).forged ?? 0;
  const count = (await foreign()).length;
  const own = detectionAt("north");
  await north.raise(own);
  const other = await stranger("honest");
  await deliver(as, {
    jws: await forge(mallory, alertItem("north", { ...own, revision: 9, summary: "never mind" })),
    hops: ["north", "south"],
  });
  await deliver(as, { jws: await forge(mallory, alertItem("honest", detectionAt("honest"))), hops: ["honest", "south"] });
  await deliver(as, { jws: await forge(other, alertItem("honest", detectionAt("honest"))), hops: ["honest", "south"] });
  await deliver(as, { jws: await forge(mallory, alertItem("south", detectionAt("honest"))) });
  await deliver(as, { jws: await forge(mallory, alertItem("south", detectionAt("north"))) });
  expect((await refusals()).forged).toBe(before + 5);
  expect(await foreign()).toHaveLength(count);
  expect((await north.alerts("own")).find(({ id }) => id === own.id)).toMatchObject({ revision: 0, summary: own.summary });
  await as.end();
});

test("an alert of ours keeps its id, whoever uses it: theirs is shown beside it under another", async () => {
  const as = await speak();
  const mine = detectionAt("north", { summary: "ours" });
  await deliver(as, { jws: await forge(mallory, alertItem("south", { ...mine, site: "south", revision: 5, summary: "squatted" })) });
  await north.raise(mine);
  const { alert } = await north.ask<{ alert: Alert }>("GET", `/v1/alerts/${mine.id}`);
  expect(alert).toMatchObject({ id: mine.id, summary: "ours" });
  expect(alert.origin).toBeUndefined();
  expect((await foreign()).find(({ summary }) => summary === "squatted")?.id).not.toBe(mine.id);
  await as.end();
});

test("items that are changed, unsigned, too old, too large or lead in circles are refused, each counted as what it is", async () => {
  const as = await speak();
  const before = await refusals();
  const item = alertItem("south", detectionAt("south"));
  const good = await forge(mallory, item);
  const [head, , signature] = good.split(".");
  const body = Buffer.from(JSON.stringify({ ...item, body: { ...(item.body as object), severity: "critical" } })).toString("base64url");
  const none = Buffer.from(JSON.stringify({ alg: "none", typ: "picket-mesh+jws" })).toString("base64url");
  const rows: [string, { jws: string; hops?: string[] }][] = [
    ["forged", { jws: `${head}.${body}.${signature}` }],
    ["malformed", { jws: `${none}.${body}.` }],
    ["malformed", { jws: "not a jws at all" }],
    ["malformed", { jws: await forge(mallory, { ...item, kind: "command" }) }],
    ["malformed", { jws: await forge(mallory, { ...item, kind: "telemetry", body: {} }) }],
    ["malformed", { jws: good, hops: ["south", "east"] }],
    ["malformed", { jws: good, hops: ["east", "south"] }],
    ["stale", { jws: await forge(mallory, { ...item, iat: Math.floor((Date.now() - MAX_AGE_MS) / 1000) - 60 }) }],
    ["oversize", { jws: await forge(mallory, alertItem("south", detectionAt("south", { summary: "x".repeat(MAX_ITEM_BYTES) }))) }],
    ["loop", { jws: good, hops: ["south", "north", "south"] }],
    ["loop", { jws: good, hops: Array.from({ length: MAX_HOPS + 1 }, () => "south") }],
    ["unknown-origin", { jws: await forge(mallory, alertItem("nowhere", detectionAt("nowhere"))), hops: ["nowhere", "south"] }],
  ];
  for (const [, sent] of rows) await deliver(as, sent);
  const after = await refusals();
  for (const [why, all] of Map.groupBy(rows, ([name]) => name))
    expect((after[why as "forged"] ?? 0) - (before[why as "forged"] ?? 0), why).toBe(all.length);
  await as.end();
});

test("an invented site is shown as vouched for by who invented it, and cannot take the name of a peer", async () => {
  const as = await speak();
  const invented = await stranger("utopia");
  const introduce = async (site: string, by: Identity & { ca: string }) =>
    forge(by, { v: 1, origin: site, iat: Math.floor(Date.now() / 1000), kind: "site", body: { ca: by.ca } });
  const alert = detectionAt("utopia");
  await deliver(
    as,
    { jws: await introduce("utopia", invented), hops: ["utopia", "south"] },
    { jws: await forge(invented, alertItem("utopia", alert)), hops: ["utopia", "south"] },
  );
  expect((await foreign()).find(({ id }) => id === alert.id)?.origin).toMatchObject({ site: "utopia", via: "south", trust: "vouched" });
  expect((await north.status()).sites).toMatchObject([{ site: "utopia", via: "south" }]);
  const forged = (await refusals()).forged ?? 0;
  await deliver(as, { jws: await introduce("honest", await stranger("honest")), hops: ["honest", "south"] });
  // Signed by one CA, announcing another.
  await deliver(as, { jws: await introduce("erewhon", { ...(await stranger("erewhon")), ca: invented.ca }), hops: ["erewhon", "south"] });
  expect((await refusals()).forged).toBe(forged + 2);
  expect((await north.status()).sites).toHaveLength(1);
  await as.end();
});

test.each([
  ["is no JSON", "{"],
  ["is of no known kind", { kind: "command", act: "isolate" }],
  ["acknowledges what was never sent", { kind: "ack", pos: 1_000_000, grant: 1 }],
  ["greets twice", { kind: "hello", v: 1, log: crypto.randomUUID(), grant: 1 }],
  ["holds no items", { kind: "items", items: [] }],
])("a message that %s ends the connection", async (_, message) => {
  const as = await speak();
  as.say(message).catch(() => {});
  await as.closed;
});

test("speaking before the hello, and sending more than was granted, end the connection", async () => {
  const rude = await impostor(north, { ...mallory, name: "south", hello: false });
  rude.say({ kind: "ack", pos: 0, grant: 1 }).catch(() => {});
  await rude.closed;
  await north.ask("PATCH", "/v1/mesh/peers/south", { itemsPerS: 1 });
  const as = await speak();
  const jws = await forge(mallory, alertItem("south", detectionAt("south")));
  as.items(Array.from({ length: MAX_ITEMS }, () => ({ jws, hops: ["south"] }))).catch(() => {});
  await as.closed;
});

test("a flood is held to its allowance; who sends garbage long enough is limited by Picket, which raises an alert; honest peers go on", async () => {
  const as = await speak();
  const garbage = { jws: "garbage", hops: ["south"] };
  for (let sent = 0; sent < WINDOW; sent += 32) as.items(Array.from({ length: 32 }, () => garbage)).catch(() => {});
  await as.closed;
  await until(async () => (await peer()).limitedBy === "picket", "the limit");
  expect(await peer()).toMatchObject({ itemsPerS: 1 });
  const raised = await until(
    async () => (await north.alerts("own")).find(({ rule }) => rule.id === "picket-broker-mesh-peer"),
    "the alert",
  );
  expect(raised).toMatchObject({ device: "mesh-south" });
  const again = await impostor(north, { ...mallory, name: "south" });
  expect((await again.heard("hello")).grant).toBeLessThanOrEqual(10);
  const fine = detectionAt("honest");
  await honest.raise(fine);
  await until(async () => (await foreign()).some(({ id }) => id === fine.id), "the honest peer's alert");
  await again.end();
});

/** A site with a CA of its own that nobody invited. */
async function stranger(site: string): Promise<Identity & { ca: string }> {
  const files = await createAuthority(site, Date.now());
  const made = await createIdentity(await readAuthority(files), { name: site, role: "site", nowMs: Date.now() });
  return { key: made.key, certificate: made.certificate, ca: files.certificate };
}
