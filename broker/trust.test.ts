// Who gets in, and what they may do there: real certificates against the real port.
import * as tls from "node:tls";
import { clientId } from "@picket/protocol/names";
import type { Device } from "@picket/protocol/rest";
import mqtt, { type IClientOptions } from "mqtt";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Authority, createAuthority, createIdentity, readAuthority } from "./pki/certificates.ts";
import { readSite } from "./site.ts";
import {
  type Credentials,
  closed,
  connect,
  type Enrolled,
  enrol,
  makeBatch,
  makeStatus,
  mine,
  SITE,
  type TestSite,
  testSite,
  until,
  urlOf,
} from "./testing/site.ts";

let site: TestSite;
let ca: Authority;
let device: Enrolled;
let victim: Enrolled;
let clockMs = 0;

beforeAll(async () => {
  site = await testSite({ nowMs: () => Date.now() + clockMs });
  ca = await readAuthority(readSite(site.dir).ca);
  device = await enrol(site, "gw-1");
  victim = await enrol(site, "gw-2");
});
afterAll(() => site[Symbol.asyncDispose]());

const issue = async (by: Authority, role: Credentials["role"], name: string, nowMs = Date.now()): Promise<Credentials> => {
  const { key, certificate } = await createIdentity(by, { role, name, nowMs });
  return { role, name, key, cert: certificate };
};
const fresh = async () => readAuthority(await createAuthority(SITE, Date.now()));
const YEAR_MS = 365 * 86_400_000;

test("the shipped client with its certificate gets in", async () => {
  const client = await connect(site, device);
  expect(client.connected).toBe(true);
  await client.endAsync();
});

test.each<[string, () => Promise<Credentials>]>([
  ["a certificate of another CA with the same name", async () => issue(await fresh(), "device", "gw-1")],
  ["an expired certificate", () => issue(ca, "device", "gw-1", Date.now() - 10.5 * YEAR_MS)],
  ["a certificate the CA signed but the site did not register (a stolen CA key)", () => issue(ca, "device", "gw-1")],
  [
    "the broker's own certificate used as a client",
    async () => ({ ...device, cert: readSite(site.dir).broker.certificate, key: readSite(site.dir).broker.key }),
  ],
])("refused: %s", async (_, who) => {
  await expect(connect(site, await who())).rejects.toThrow();
});

test("refused: no certificate", async () => {
  const { key: _key, cert: _cert, ...none } = { ...device };
  await expect(
    mqtt.connectAsync(urlOf(site.broker.mqttPort), { ...none, clientId: "device:gw-1", ca: site.ca, reconnectPeriod: 0 }, false),
  ).rejects.toThrow();
});

test("refused: a certificate whose key the sender does not hold", async () => {
  await expect(connect(site, { ...device, key: victim.key })).rejects.toThrow();
});

/** A raw TLS connection; tells what the server did with it. */
function raw(options: tls.ConnectionOptions) {
  const socket = tls.connect({ host: "127.0.0.1", port: site.broker.mqttPort, servername: "localhost", ca: site.ca, ...options });
  const bytes: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => bytes.push(chunk));
  socket.on("error", () => {});
  const end = new Promise<Buffer>((resolve) => socket.once("close", () => resolve(Buffer.concat(bytes))));
  return { socket, bytes, end, secure: new Promise<void>((resolve) => socket.once("secureConnect", () => resolve())) };
}

test("refused: TLS 1.2", async () => {
  const connection = raw({ key: device.key, cert: device.cert, maxVersion: "TLSv1.2" });
  expect((await connection.end).length).toBe(0);
});

/** MQTT 3.1.1 CONNECT, keep-alive 30 s. */
function connectPacket(id: string): Buffer {
  const body = Buffer.concat([Buffer.from([0, 4]), Buffer.from("MQTT"), Buffer.from([4, 2, 0, 30, 0, id.length]), Buffer.from(id)]);
  return Buffer.concat([Buffer.from([0x10, body.length]), body]);
}

test("a TLS session cannot be resumed: no ticket is given, and a client that kept one must show its certificate again", async () => {
  const sessions: Buffer[] = [];
  const first = raw({ key: device.key, cert: device.cert });
  first.socket.on("session", (session) => sessions.push(session));
  await first.secure;
  first.socket.write(connectPacket("device:gw-1"));
  await until(() => first.bytes.length > 0, "CONNACK");
  const kept = sessions.at(-1) ?? first.socket.getSession();
  first.socket.destroy();
  const second = raw({ ...(kept ? { session: kept } : {}) });
  second.socket.write(connectPacket("device:gw-1"));
  expect((await second.end).length).toBe(0);
});

test.each<[string, IClientOptions, number]>([
  ["another device's client id", { clientId: "device:gw-2" }, 2],
  ["another role's client id", { clientId: clientId("detector", "gw-1") }, 2],
  ["no client id", { clientId: "", clean: true }, 2],
  [
    "a Last Will on another device's topic",
    { will: { topic: mine({ name: "gw-2" }, "status"), payload: Buffer.from("x"), qos: 1, retain: false } },
    5,
  ],
  ["a Last Will that stays", { will: { topic: mine({ name: "gw-1" }, "status"), payload: Buffer.from("x"), qos: 1, retain: true } }, 5],
  [
    "a Last Will that carries events",
    { will: { topic: mine({ name: "gw-1" }, "events"), payload: Buffer.from("x"), qos: 1, retain: false } },
    5,
  ],
  ["no keep-alive", { keepalive: 0 }, 5],
])("CONNECT refused: %s", async (_, changes, code) => {
  await expect(connect(site, device, changes)).rejects.toMatchObject({ code });
});

test("a wrong client id does not disturb the session it names", async () => {
  const owner = await connect(site, victim);
  await expect(connect(site, device, { clientId: "device:gw-2" })).rejects.toThrow();
  await owner.publishAsync(mine(victim, "events"), makeBatch("gw-2", "stays000", 0, 1), { qos: 1 });
  await owner.endAsync();
});

test.each<[string, string, { qos?: 0 | 1 | 2; retain?: boolean }]>([
  ["another device's topic", mine({ name: "gw-2" }, "events"), { qos: 1 }],
  ["a retained message", mine({ name: "gw-1" }, "status"), { qos: 1, retain: true }],
  ["a topic only the broker writes", mine({ name: "gw-1" }, "cmd"), { qos: 1 }],
  ["the detector's topic", `picket/v1/${SITE}/feed/commit`, { qos: 1 }],
  ["another site's topic", "picket/v1/other/d/gw-1/events", { qos: 1 }],
  ["the broker's own topics", "$SYS/x/new/clients", { qos: 1 }],
  ["QoS 2, which the broker would have to remember", mine({ name: "gw-1" }, "events"), { qos: 2 }],
])("PUBLISH cuts the connection and stores nothing: %s", async (_, topic, options) => {
  const before = site.broker.status().log.nextOffset;
  const client = await connect(site, device);
  const gone = closed(client);
  client.publish(topic, makeBatch("gw-2", "hostile0", 0, 3), options);
  await gone;
  expect(site.broker.status().log.nextOffset).toBe(before);
});

test.each([
  "#",
  "picket/#",
  `picket/v1/${SITE}/d/+/events`,
  `picket/v1/${SITE}/d/+/cmd`,
  mine({ name: "gw-2" }, "cmd"),
  mine({ name: "gw-1" }, "events"),
  `picket/v1/${SITE}/feed/data`,
  "$SYS/#",
])("SUBSCRIBE refused: %s", async (filter) => {
  const client = await connect(site, device);
  await expect(client.subscribeAsync(filter, { qos: 1 })).rejects.toThrow();
  await client.endAsync(true);
});

test("a packet that announces more than the limit is cut before it is sent, and the broker keeps nothing of it", async () => {
  const connection = raw({ key: device.key, cert: device.cert });
  await connection.secure;
  connection.socket.write(connectPacket("device:gw-1"));
  await until(() => connection.bytes.length > 0, "CONNACK");
  // PUBLISH of 127 MB: only the header, then nothing.
  connection.socket.write(Buffer.from([0x32, 0xff, 0xff, 0xff, 0x3c]));
  await connection.end;
});

test("one certificate cannot hold many connections open", async () => {
  const many = Array.from({ length: 8 }, () => raw({ key: device.key, cert: device.cert }));
  await Promise.all(many.map(({ secure }) => secure));
  // The ninth is cut at once, long before a CONNECT that does not come times out.
  const ninth = raw({ key: device.key, cert: device.cert });
  expect(await Promise.race([ninth.end.then(() => "ninth"), ...many.map(({ end }) => end.then(() => "another"))])).toBe("ninth");
  for (const { socket } of many) socket.destroy();
  await until(async () => {
    const client = await connect(site, device).catch(() => undefined);
    await client?.endAsync();
    return client;
  }, "a connection after the others ended");
});

test("CONNECT itself may not announce much", async () => {
  const connection = raw({ key: device.key, cert: device.cert });
  await connection.secure;
  connection.socket.write(Buffer.from([0x10, 0xff, 0xff, 0x03]));
  await connection.end;
});

test("a payload that names another device is not stored under it", async () => {
  const before = site.broker.status();
  const client = await connect(site, device);
  await client.publishAsync(mine(device, "events"), makeBatch("gw-2", "forged00", 0, 5), { qos: 1 });
  await client.endAsync();
  expect(site.broker.status().log.nextOffset).toBe(before.log.nextOffset);
  expect(site.broker.status().deadLetters).toBe(before.deadLetters + 1);
});

test("revoked while connected: the connection is closed, and no new one opens", async () => {
  const doomed = await enrol(site, "gw-doomed");
  const client = await connect(site, doomed);
  const gone = closed(client);
  expect((await site.api("POST", "/v1/devices/gw-doomed/revoke", {})).status).toBe(200);
  await gone;
  await expect(connect(site, doomed)).rejects.toMatchObject({ code: 5 });
});

test("a certificate that ends while connected ends the connection", async () => {
  const client = await connect(site, victim);
  await client.publishAsync(mine(victim, "status"), JSON.stringify(makeStatus("expires0")), { qos: 1 });
  const { device: row } = (await site.api("GET", "/v1/devices/gw-2")).json as { device: Device };
  const gone = closed(client);
  clockMs = row.certificateExpiresMs - Date.now() + 1;
  try {
    await gone;
    await expect(connect(site, victim)).rejects.toMatchObject({ code: 5 });
  } finally {
    clockMs = 0;
  }
});
