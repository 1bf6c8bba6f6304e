// The whole broker over real connections: what a device experiences.
import { Database } from "bun:sqlite";
import { join } from "node:path";
import type { Alert } from "@picket/protocol/alert";
import { type CommandResult, Pack } from "@picket/protocol/command";
import type { CommandRecord, Device } from "@picket/protocol/rest";
import type { MqttClient } from "mqtt";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BrokerConfig } from "./config.ts";
import { startBroker } from "./main.ts";
import { type Keyring, makeKeyring, signCommand, signKeyList, signPack } from "./testing/samples.ts";
import {
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
} from "./testing/site.ts";

let site: TestSite;
let keyring: Keyring;
let device: Enrolled;
beforeEach(async () => {
  keyring = await makeKeyring();
  site = await testSite({ anchor: keyring.anchor });
  device = await enrol(site, "gw-1");
});
afterEach(() => site[Symbol.asyncDispose]());

const get = async <T>(path: string) => (await site.api("GET", path)).json as T;
const row = async () => (await get<{ device: Device; commands: CommandRecord[] }>("/v1/devices/gw-1")).device;
const alerts = async (): Promise<Alert[]> => (await get<{ alerts: Alert[] }>("/v1/alerts")).alerts;
const heartbeat = (client: MqttClient, epoch: string) =>
  client.publishAsync(mine(device, "status"), JSON.stringify(makeStatus(epoch)), { qos: 1 });
const will = (epoch: string) => ({
  will: {
    topic: mine(device, "status"),
    payload: Buffer.from(JSON.stringify({ v: 1, state: "offline", epoch })),
    qos: 1 as const,
    retain: false,
  },
});

/** Cuts the connection without DISCONNECT, as a crash or a pulled cable does. */
const vanish = (client: MqttClient) => (client.stream as unknown as { destroy(): void }).destroy();

test("a device that vanishes is offline at once, by its Last Will", async () => {
  const client = await connect(site, device, will("epoch000"));
  await heartbeat(client, "epoch000");
  expect((await row()).presence).toBe("online");
  vanish(client);
  await until(async () => (await row()).presence === "offline");
});

test("a device that says goodbye is not called offline by its will", async () => {
  const client = await connect(site, device, will("epoch000"));
  await heartbeat(client, "epoch000");
  await client.publishAsync(mine(device, "status"), JSON.stringify({ v: 1, state: "stopped", epoch: "epoch000" }), { qos: 1 });
  await client.endAsync();
  expect((await row()).presence).toBe("stopped");
});

test("a reconnect takes the session over, and the old connection's will does not hide the new one", async () => {
  const first = await connect(site, device, will("epoch000"));
  await heartbeat(first, "epoch000");
  const gone = closed(first);
  const second = await connect(site, device, will("epoch000"));
  await gone;
  await heartbeat(second, "epoch000");
  expect((await row()).presence).toBe("online");
  await second.publishAsync(mine(device, "events"), makeBatch("gw-1", "epoch000", 0, 1), { qos: 1 });
  expect((await row()).presence).toBe("online");
  await second.endAsync();
});

test("two machines on one certificate raise an alert", async () => {
  for (const epoch of ["machine1", "machine2", "machine1"]) {
    const client = await connect(site, device, will(epoch));
    await heartbeat(client, epoch);
    vanish(client);
  }
  expect(await alerts()).toMatchObject([{ rule: { id: "picket-broker-twins", engine: "broker" }, severity: "high", device: "gw-1" }]);
});

test("garbage is acknowledged, kept as a dead letter, and told in one alert that counts", async () => {
  const client = await connect(site, device);
  for (const name of ["events", "status", "result"] as const) await client.publishAsync(mine(device, name), "garbage", { qos: 1 });
  await client.publishAsync(mine(device, "events"), makeBatch("gw-1", "epoch000", 0, 3), { qos: 1 });
  await client.endAsync();
  expect(site.broker.status()).toMatchObject({ deadLetters: 3, log: { events: 3 } });
  expect(await alerts()).toMatchObject([{ rule: { id: "picket-broker-dead-letter" }, severity: "medium", count: 3 }]);
});

test("when the disk refuses, the batch is not acknowledged; sent again later, it is stored once", async () => {
  using other = new Database(join(site.dir, "site.db"));
  other.run("PRAGMA busy_timeout = 5000");
  other.run("CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'no room'); END");
  const batch = makeBatch("gw-1", "epoch000", 0, 5);
  const client = await connect(site, device);
  const gone = closed(client);
  let acknowledged = false;
  client.publish(mine(device, "events"), batch, { qos: 1 }, (error) => {
    acknowledged = !error;
  });
  await gone;
  expect(acknowledged).toBe(false);
  other.run("DROP TRIGGER full");
  const again = await connect(site, device);
  for (let n = 0; n < 2; n++) await again.publishAsync(mine(device, "events"), batch, { qos: 1 });
  await again.endAsync();
  expect(site.broker.status().log).toMatchObject({ batches: 1, events: 5 });
});

test("a connection that breaks with batches in flight disturbs nobody", async () => {
  for (let n = 0; n < 20; n++) {
    const client = await connect(site, device);
    client.on("error", () => {});
    for (let b = 0; b < 10; b++)
      client.publish(mine(device, "events"), makeBatch("gw-1", "epoch000", (n * 10 + b) * 5, 5), { qos: 1 }, () => {});
    vanish(client);
  }
  const client = await connect(site, device);
  for (let b = 0; b < 200; b++) await client.publishAsync(mine(device, "events"), makeBatch("gw-1", "epoch000", b * 5, 5), { qos: 1 });
  await client.endAsync();
  expect(site.broker.status().log.events).toBe(1000);
});

/** Connects as an agent does and keeps what comes down. */
async function listening() {
  const heard: { topic: string; text: string }[] = [];
  const client = await connect(site, device);
  client.on("message", (topic, payload) => heard.push({ topic, text: payload.toString() }));
  await client.subscribeAsync([mine(device, "cmd"), mine(device, "pack")], { qos: 1 });
  return {
    client,
    packs: () => heard.filter(({ topic }) => topic === mine(device, "pack")).map(({ text }) => Pack.parse(JSON.parse(text))),
    commands: () => heard.filter(({ topic }) => topic === mine(device, "cmd")).map(({ text }) => text),
    order: () => heard.map(({ topic }) => topic.split("/").at(-1)),
  };
}

const order = async (ctr: number) => {
  const jws = await signCommand(keyring, { site: SITE, dev: "gw-1", ctr });
  const { status, json } = await site.api("POST", "/v1/devices/gw-1/commands", { jws });
  expect(status, JSON.stringify(json)).toBe(200);
  return { jws, command: (json as { command: CommandRecord }).command };
};
const putKeys = async (version: number) => {
  const jws = await signKeyList(keyring, { version, site: SITE });
  expect((await site.api("PUT", "/v1/keys", { jws })).status).toBe(200);
  return jws;
};

test("a device hears keys, then the time, then its commands in order; unanswered ones again at the next connect", async () => {
  const keys = await putKeys(1);
  const [first, second] = [await order(1), await order(2)];
  const agent = await listening();
  await until(() => agent.commands().length === 2);
  expect(agent.order()).toEqual(["pack", "pack", "cmd", "cmd"]);
  expect(agent.packs()).toEqual([
    { kind: "keys", jws: keys },
    { kind: "time", timeMs: expect.any(Number) },
  ]);
  expect(agent.commands()).toEqual([first.jws, second.jws]);
  const result: CommandResult = { v: 1, jti: first.command.jti, act: "isolate", ok: true, code: "done", message: "", timeMs: 1 };
  await agent.client.publishAsync(mine(device, "result"), JSON.stringify(result), { qos: 1 });
  const { commands } = await get<{ commands: CommandRecord[] }>("/v1/devices/gw-1");
  expect(commands.map(({ state }) => state)).toEqual(["sent", "answered"]);
  expect(commands[1]!.result).toEqual(result);
  await agent.client.endAsync();
  const again = await listening();
  await until(() => again.commands().length === 1);
  expect(again.commands()).toEqual([second.jws]);
  await again.client.endAsync();
});

test("a connected device hears new commands and key lists at once", async () => {
  await putKeys(1);
  const agent = await listening();
  await until(() => agent.packs().length === 2);
  const third = await order(3);
  await until(() => agent.commands().length === 1);
  expect(agent.commands()).toEqual([third.jws]);
  const keys = await putKeys(2);
  await until(() => agent.packs().length === 3);
  expect(agent.packs()[2]).toEqual({ kind: "keys", jws: keys });
  expect((await row()).isolationWanted).toBe(true);
  await agent.client.endAsync();
});

test("packs: those for all and those for it at connect, after keys and time; a new one at once, and only to whom it is for", async () => {
  await putKeys(1);
  const put = async (of: Parameters<typeof signPack>[1]) => {
    const jws = await signPack(keyring, { site: SITE, ...of });
    const { status, json } = await site.api("PUT", "/v1/packs", { jws });
    expect(status, JSON.stringify(json)).toBe(200);
    return { kind: "signed" as const, jws };
  };
  const all = await put({ version: 1 });
  const { jws } = await order(1);
  const agent = await listening();
  await until(() => agent.commands().length === 1);
  expect(agent.order()).toEqual(["pack", "pack", "pack", "cmd"]);
  expect(agent.packs()[2]).toEqual(all);
  expect(agent.commands()).toEqual([jws]);
  await enrol(site, "gw-2");
  await put({ version: 1, dev: "gw-2" });
  const own = await put({ version: 1, dev: "gw-1" });
  const next = await put({ version: 2 });
  await until(() => agent.packs().length === 5);
  expect(agent.packs().slice(3)).toEqual([own, next]);
  await agent.client.endAsync();
  await site.restart();
  const again = await listening();
  await until(() => again.packs().length === 4);
  expect(again.packs().slice(2)).toEqual([next, own]);
  await again.client.endAsync();
});

test("a device cannot answer another device's command", async () => {
  await putKeys(1);
  const { command } = await order(1);
  const other = await enrol(site, "gw-2");
  const client = await connect(site, other);
  const result: CommandResult = { v: 1, jti: command.jti, act: "isolate", ok: true, code: "done", message: "", timeMs: 1 };
  await client.publishAsync(mine(other, "result"), JSON.stringify(result), { qos: 1 });
  await client.endAsync();
  const { commands } = await get<{ commands: CommandRecord[] }>("/v1/devices/gw-1");
  expect(commands[0]).toMatchObject({ state: "waiting" });
});

test("a restart of the broker keeps devices, log and the bookkeeping of what was received", async () => {
  const client = await connect(site, device);
  await client.publishAsync(mine(device, "events"), makeBatch("gw-1", "epoch000", 0, 10), { qos: 1 });
  await client.endAsync();
  await site.restart();
  const again = await connect(site, device);
  await again.publishAsync(mine(device, "events"), makeBatch("gw-1", "epoch000", 5, 10), { qos: 1 });
  await again.endAsync();
  expect(site.broker.status()).toMatchObject({ devices: { enrolled: 1 }, log: { batches: 2, events: 15, nextOffset: 3 } });
  expect((await row()).coverage).toEqual({ stored: 15, lost: 0, ratio: 1 });
});

test("the broker does not start where client certificates would not be enforced, and leaves nothing running", async () => {
  const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
  const config = BrokerConfig.parse({ dir: site.dir, host: "127.0.0.1", mqttPort: 0, httpsPort: 0 });
  try {
    await expect(startBroker(config, { log: () => {} })).rejects.toThrow(/NODE_TLS_REJECT_UNAUTHORIZED/);
  } finally {
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
  }
});

test("a port that is taken is an error that names it", async () => {
  const config = BrokerConfig.parse({ dir: site.dir, host: "127.0.0.1", mqttPort: site.broker.mqttPort, httpsPort: 0 });
  await expect(startBroker(config, { log: () => {} })).rejects.toThrow(/EADDRINUSE|in use/);
});
