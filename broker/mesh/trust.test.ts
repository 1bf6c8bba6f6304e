// Who a peer's CA may let in: its own site, under its own name, and nobody else.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type ConnectionOptions, connect } from "node:tls";
import { clientId, type Role } from "@picket/protocol/names";
import { topic, topics } from "@picket/protocol/topics";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createAuthority, createIdentity, readAuthority } from "../pki/certificates.ts";
import { readSiteCa } from "../pki/peer.ts";
import { closed, enrol, until } from "../testing/site.ts";
import { connectAs, joinSites, type MeshSite, meshIdentity, meshSite } from "./testing/sites.ts";

let north: MeshSite;
let south: MeshSite;
beforeAll(async () => {
  [north, south] = await Promise.all([meshSite("north"), meshSite("south")]);
  await joinSites(south, north);
});
afterAll(async () => {
  await north?.[Symbol.asyncDispose]();
  await south?.[Symbol.asyncDispose]();
});

/** What south's CA can sign for itself. */
async function signedBySouth(of: { name: string; role: Role; nowMs?: number }) {
  const read = (file: string) => readFileSync(join(south.dir, file), "utf8");
  const ca = await readAuthority({ key: read("ca.key.pem"), certificate: read("ca.crt.pem") });
  const made = await createIdentity(ca, { ...of, nowMs: of.nowMs ?? Date.now() });
  return { ...made, clientId: clientId(of.role, of.name) };
}

test.each([
  ["a device", "device", "gw-014"],
  ["a device called like the peer", "device", "south"],
  ["the detector of this site", "detector", "north"],
  ["another site", "site", "east"],
  ["this site itself", "site", "north"],
] as const)("a peer's CA cannot make %s here", async (_, role, name) => {
  const who = await signedBySouth({ role, name });
  await expect(connectAs(north, who)).rejects.toThrow();
});

test("nor a device that is enrolled here, under its own name", async () => {
  const device = await enrol(Object.assign(north, { token: north.token }) as never, "gw-015");
  const forged = await signedBySouth({ role: "device", name: "gw-015" });
  await expect(connectAs(north, forged)).rejects.toThrow();
  const real = await connectAs(north, { key: device.key, certificate: device.cert, clientId: clientId("device", "gw-015") });
  await real.endAsync(true);
});

test("a second certificate of the peer is the peer; an expired one is nobody", async () => {
  const live = north.status();
  expect((await live).peers).toMatchObject([{ site: "south", state: "connected" }]);
  const other = await connectAs(north, await signedBySouth({ role: "site", name: "south" }));
  expect(other.connected).toBe(true);
  await other.endAsync(true);
  const longAgo = Date.now() - 11 * 365 * 86_400_000;
  await expect(connectAs(north, await signedBySouth({ role: "site", name: "south", nowMs: longAgo }))).rejects.toThrow();
});

test("a site's own mesh certificate lets nobody into that site's own broker", async () => {
  await expect(connectAs(north, { ...meshIdentity(north), clientId: clientId("site", "north") })).rejects.toThrow(/not authorized/i);
});

test("a peer may publish and subscribe below its own name in the mesh and nowhere else", async () => {
  const who = { ...(await signedBySouth({ role: "site", name: "south" })) };
  for (const wire of [
    topic("events", "north", "south"),
    topic("commit", "north"),
    topic("meshUp", "north", "east"),
    topic("meshDown", "north", "south"),
  ]) {
    const client = await connectAs(north, who);
    const over = closed(client);
    client.publish(wire, "{}", { qos: 1 }, () => {});
    await over;
  }
  for (const wire of [
    topic("cmd", "north", "gw-015"),
    topic("data", "north"),
    "picket/v1/mesh/#",
    "#",
    topic("meshDown", "north", "east"),
  ]) {
    // A new one for each: the real south dials too, and takes the connection of its name.
    const client = await connectAs(north, who);
    await expect(client.subscribeAsync(wire, { qos: 1 }), wire).rejects.toThrow();
    await client.endAsync(true);
  }
});

test("an oversized packet is cut before it is read, and counted", async () => {
  const client = await connectAs(north, await signedBySouth({ role: "site", name: "south" }));
  const over = closed(client);
  client.publish(topic("meshUp", "north", "south"), Buffer.alloc(topics.meshUp.maxBytes * 3), { qos: 1 }, () => {});
  await over;
  await until(async () => ((await north.status()).peers[0]?.refused.oversize ?? 0) > 0, "the count");
});

test("a TLS session of a peer cannot be resumed, also after the list of peers' CAs was replaced", async () => {
  const who = await signedBySouth({ role: "site", name: "south" });
  const open = (more: ConnectionOptions) =>
    connect({
      host: "127.0.0.1",
      port: north.broker.mqttPort,
      ca: north.ca,
      minVersion: "TLSv1.3",
      checkServerIdentity: () => undefined,
      ...more,
    });
  const sessions: Buffer[] = [];
  const first = open({ key: who.key, cert: who.certificate });
  first.on("session", (session) => sessions.push(session));
  const spoken = new Promise<void>((resolve) => first.once("data", () => resolve()));
  first.write(connectPacket(who.clientId));
  await spoken;
  expect(sessions).toEqual([]);
  const kept = first.getSession();
  first.destroy();
  // With the session only: no certificate is shown.
  const second = open(kept ? { session: kept } : {});
  let heard = 0;
  second.on("data", (bytes) => {
    heard += bytes.length;
  });
  second.on("error", () => {});
  second.write(connectPacket(who.clientId));
  await new Promise<void>((resolve) => second.once("close", () => resolve()));
  expect(heard).toBe(0);
});

/** CONNECT with a clean session and a keep-alive of 30 s (MQTT 3.1.1, section 3.1). */
function connectPacket(id: string): Buffer {
  const name = Buffer.from(id);
  const rest = Buffer.concat([Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 30, 0, name.length]), name]);
  return Buffer.concat([Buffer.from([0x10, rest.length]), rest]);
}

test("a removed peer is cut at once and its CA means nothing any more, also to TLS", async () => {
  await until(async () => (await south.status()).peers[0]?.state === "connected", "the connection");
  const who = await signedBySouth({ role: "site", name: "south" });
  const client = await connectAs(north, who);
  const over = closed(client);
  await north.ask("POST", "/v1/mesh/peers/south/remove", {});
  await over;
  await expect(connectAs(north, who)).rejects.toThrow();
  expect((await north.status()).peers).toEqual([]);
  await joinSites(south, north);
  await until(async () => (await north.status()).peers[0]?.state === "connected", "the connection after a new invitation");
});

test("an invitation joins one site, once, and only while it lasts", async () => {
  await using east = await meshSite("east");
  const { token } = await north.ask<{ token: string }>("POST", "/v1/mesh/invites", { host: "127.0.0.1" });
  await east.ask("POST", "/v1/mesh/join", { token });
  expect(await south.api("POST", "/v1/mesh/join", { token })).toMatchObject({ status: 409 });
  const self = await north.ask<{ token: string }>("POST", "/v1/mesh/invites", { host: "127.0.0.1" });
  expect(await north.api("POST", "/v1/mesh/join", { token: self.token })).toMatchObject({
    status: 409,
    json: { detail: expect.stringContaining("itself") },
  });
  await north.ask("POST", "/v1/mesh/peers/east/remove", {});
});

test("whoever answers with another CA than the invitation's is not joined", async () => {
  await using east = await meshSite("east");
  const { token } = await north.ask<{ token: string }>("POST", "/v1/mesh/invites", { host: "127.0.0.1" });
  const invite = JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString());
  const forged = { ...invite, https: `127.0.0.1:${south.broker.httpsPort}` };
  const line = `picketmesh1.${Buffer.from(JSON.stringify(forged)).toString("base64url")}`;
  expect(await east.api("POST", "/v1/mesh/join", { token: line })).toMatchObject({ status: 400 });
  expect((await east.status()).peers).toEqual([]);
});

test("a site called like another, or made anew under its name, is refused until an operator removes the old one", async () => {
  await using twin = await meshSite("south");
  await using namesake = await meshSite("north");
  const invite = async () => (await north.ask<{ token: string }>("POST", "/v1/mesh/invites", { host: "127.0.0.1" })).token;
  expect(await namesake.api("POST", "/v1/mesh/join", { token: await invite() })).toMatchObject({ status: 409 });
  const token = await invite();
  const refused = await twin.api("POST", "/v1/mesh/join", { token });
  expect(refused).toMatchObject({ status: 409, json: { detail: expect.stringContaining("with another CA is a peer already") } });
  expect((await north.status()).peers).toMatchObject([{ site: "south", state: "connected" }]);
});

test("a CA that could be taken for another is refused", async () => {
  const now = Date.now();
  const { certificate: other } = await createAuthority("north", now);
  await expect(readSiteCa(other, "south", now)).rejects.toThrow("must be named CN=south");
  const { certificate: fine } = await createAuthority("south", now);
  await expect(readSiteCa(fine, "south", now)).resolves.toMatchObject({ site: "south" });
  const device = await signedBySouth({ role: "site", name: "south" });
  await expect(readSiteCa(device.certificate, "south", now)).rejects.toThrow();
  const { certificate: old } = await createAuthority("south", now - 11 * 365 * 86_400_000);
  await expect(readSiteCa(old, "south", now)).rejects.toThrow("expired");
});
