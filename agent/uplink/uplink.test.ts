import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CommandResult, Pack } from "@picket/protocol/command";
import type { OnlineStatus } from "@picket/protocol/status";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { EventBuffer } from "../buffer/buffer.ts";
import { boot, hit, plain } from "../buffer/testing/events.ts";
import { type Site, startTestBroker, type TestBroker, testSite } from "./testing/broker.ts";
import { startUplink, type Uplink, type UplinkOptions } from "./uplink.ts";

const epoch = "test0000";
let site: Site;
beforeAll(async () => {
  site = await testSite();
});

let dir: string;
let buffer: EventBuffer;
let seq: number;
const uplinks: Uplink[] = [];
const brokers: TestBroker[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "pkagt-uplink-"));
  buffer = new EventBuffer({ path: join(dir, "buffer.db"), maxEvents: 100_000, maxBytes: 1e9, epoch: { epoch, boot, device: "pi" } });
  seq = 0;
});
afterEach(async () => {
  for (const uplink of uplinks.splice(0)) await uplink.stop(0);
  for (const broker of brokers.splice(0)) await broker[Symbol.asyncDispose]();
  buffer[Symbol.dispose]();
  rmSync(dir, { recursive: true, force: true });
});

async function start(options: { port?: number; server?: { cert: string; key: string } } = {}): Promise<TestBroker> {
  const broker = await startTestBroker(site, options);
  brokers.push(broker);
  return broker;
}
async function stop(broker: TestBroker) {
  brokers.splice(brokers.indexOf(broker), 1);
  await broker[Symbol.asyncDispose]();
}

const soon = () => Bun.sleep(1);
const status = (): OnlineStatus => ({
  v: 1,
  state: "online",
  timeMs: 1,
  boot,
  epoch,
  version: "0",
  arch: "x64",
  kernel: "6",
  uptimeS: 1,
  capabilities: [],
  isolation: { state: "off" },
  keysVersion: 0,
  produced: seq,
  lost: { kernel: 0, shed: 0, buffer: 0 },
  buffer: buffer.size(),
  epochs: buffer.epochs(),
  rssBytes: 0,
  cpuS: 0,
});

function uplink(port: number, more: Partial<UplinkOptions> = {}): Uplink {
  const made = startUplink({
    site: "lab",
    device: "pi",
    epoch,
    credentials: () => ({ ca: site.ca.cert, ...site.device }),
    targets: () => [{ host: "127.0.0.1", port }],
    source: buffer,
    outbox: { pending: () => [], delivered: () => {} },
    status,
    onHeartbeat: (told) => buffer.reported(told.epochs),
    onCommand: () => {},
    onPack: () => {},
    onConnected: () => {},
    onDisconnected: () => {},
    onGarbage: () => {},
    ...more,
  });
  buffer.onAvailable = made.wake;
  uplinks.push(made);
  return made;
}
function append(count: number, make = plain) {
  for (let n = 0; n < count; n++) buffer.append(make(epoch, seq++));
}
const received = (broker: TestBroker) => broker.batches.flatMap((batch) => batch.events.map((event) => event.seq));
const sorted = (numbers: number[]) => [...new Set(numbers)].toSorted((a, b) => a - b);
const range = (count: number) => Array.from({ length: count }, (_, n) => n);

test("every event arrives once, in order, and leaves the buffer when the broker has it", async () => {
  const broker = await start();
  append(1800);
  uplink(broker.port);
  await broker.until(() => received(broker).length >= 1800);
  expect(received(broker)).toEqual(range(1800));
  expect(broker.batches.every(({ events }) => events.length <= 500)).toBe(true);
  expect(broker.batches[0]!.events[3]).toEqual(plain(epoch, 3));
  await expect.poll(() => buffer.size().events).toBe(0);
  expect(broker.clientIds).toEqual(["device:pi"]);
});

test("a broker killed while batches are on their way gets them again from the next one, and nothing is missing", async () => {
  const first = await start();
  first.hold = true;
  append(1200);
  uplink(first.port, { sleep: soon });
  await first.until(() => first.batches.length === 1);
  append(300);
  const port = first.port;
  await stop(first);
  expect(buffer.size().events).toBe(1500);
  const second = await start({ port });
  await second.until(() => sorted(received(second)).length === 1500);
  // Exactly once on this connection: mqtt.js repeated nothing of its own.
  expect(received(second).toSorted((a, b) => a - b)).toEqual(range(1500));
  await expect.poll(() => buffer.size().events).toBe(0);
});

test("connections cut again and again lose nothing", async () => {
  const broker = await start();
  broker.delayMs = 2;
  uplink(broker.port, { sleep: soon });
  for (let round = 0; round < 8; round++) {
    append(150);
    const batches = broker.batches.length;
    await broker.until(() => broker.batches.length > batches);
    broker.cut();
  }
  await broker.until(() => sorted(received(broker)).length === 1200);
  await expect.poll(() => buffer.size().events).toBe(0);
  expect(sorted(received(broker))).toEqual(range(1200));
});

test("hits overtake what waits, even when the window is full", async () => {
  const broker = await start();
  broker.hold = true;
  append(4000);
  uplink(broker.port);
  await broker.until(() => broker.batches.length === 1);
  append(1, hit);
  buffer.flush();
  broker.hold = false;
  await broker.until(() => received(broker).length === 4001);
  // Four batches were on their way before the hit was seen, and nothing else went before it.
  expect(broker.batches.map(({ events }) => events[0]!.seq).slice(0, 6)).toEqual([0, 500, 1000, 1500, 4000, 2000]);
  expect(broker.batches[4]!.events).toEqual([hit(epoch, 4000)]);
  expect(broker.batches[4]!.oldest).toBe(0);
});

test("while one batch is on its way small ones are gathered, not sent one by one", async () => {
  const broker = await start();
  broker.delayMs = 100;
  uplink(broker.port);
  append(1);
  buffer.flush();
  await broker.until(() => broker.batches.length === 1);
  for (let n = 0; n < 20; n++) {
    append(1);
    buffer.flush();
  }
  await broker.until(() => received(broker).length === 21);
  expect(broker.batches.map(({ events }) => events.length)).toEqual([1, 20]);
});

test("a heartbeat comes at once and then at its interval; the Last Will says offline, a clean stop says stopped", async () => {
  const broker = await start();
  const first = uplink(broker.port, { heartbeatMs: 30, sleep: soon });
  await broker.until(() => broker.statuses.filter(({ state }) => state === "online").length >= 3);
  expect(broker.statuses[0]).toMatchObject({ state: "online", epochs: [[epoch, 0, 0]] });
  broker.cut();
  await broker.until(() => broker.statuses.some(({ state }) => state === "offline"));
  await broker.until(() => broker.statuses.at(-1)!.state === "online");
  append(10);
  buffer.flush();
  const offline = broker.statuses.filter(({ state }) => state === "offline").length;
  await first.stop(2000);
  expect(received(broker)).toEqual(range(10));
  expect(broker.statuses.at(-1)).toEqual({ v: 1, state: "stopped", epoch });
  expect(broker.statuses.filter(({ state }) => state === "offline")).toHaveLength(offline);
});

test("heartbeats come as often as was said last, also over the next connection", async () => {
  const broker = await start();
  const beats = () => broker.statuses.filter(({ state }) => state === "online").length;
  const one = uplink(broker.port, { heartbeatMs: 3_600_000, sleep: soon });
  await broker.until(() => beats() === 1);
  one.heartbeatEvery(20);
  await broker.until(() => beats() >= 4);
  broker.cut();
  const before = beats();
  await broker.until(() => beats() >= before + 4);
});

test("it never stops trying, waits 50 ms x 2^n up to 12.8 s with jitter, and says why", async () => {
  const closed = createTcpServer();
  await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  const waits: number[] = [];
  const reasons: string[] = [];
  const enough = Promise.withResolvers<void>();
  uplink(port, {
    random: () => 0.5,
    onDisconnected: (why) => reasons.push(why),
    sleep: (ms, signal) => {
      waits.push(ms);
      if (waits.length < 12) return Promise.resolve();
      enough.resolve();
      return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
    },
  });
  await enough.promise;
  expect(waits).toEqual([38, 75, 150, 300, 600, 1200, 2400, 4800, 9600, 9600, 9600, 9600]);
  expect(reasons[0]).toMatch(/ECONNREFUSED|connect/i);
});

test("commands and packs reach their callbacks; garbage, other topics and unknown packs are survived", async () => {
  const broker = await start();
  const commands: string[] = [];
  const packs: Pack[] = [];
  const garbage: string[] = [];
  const online = Promise.withResolvers<void>();
  uplink(broker.port, {
    onCommand: (jws) => commands.push(jws),
    onPack: (pack) => packs.push(pack),
    onGarbage: (what) => garbage.push(what),
    onConnected: () => online.resolve(),
  });
  await online.promise;
  const d = "picket/v1/lab/d/pi";
  await broker.send(`${d}/pack`, "{");
  await broker.send(`${d}/pack`, '{"kind":"surprise"}');
  await broker.send(`${d}/pack`, Buffer.from([0xff, 0xfe, 0]));
  await broker.send(`${d}/cmd`, "x".repeat(20_000));
  await broker.send(`${d}/cmd`, "a.b.c");
  await broker.send(`${d}/pack`, '{"kind":"time","timeMs":5}');
  await expect.poll(() => packs).toEqual([{ kind: "time", timeMs: 5 }]);
  expect(commands).toEqual(["a.b.c"]);
  expect(garbage).toHaveLength(4);
});

test.each([
  { name: "a packet far larger than agreed", bytes: [0x30, 0xff, 0xff, 0xff, 0x7f], why: /268435455 bytes/ },
  { name: "a malformed length", bytes: [0x30, 0xff, 0xff, 0xff, 0xff, 0x7f], why: /Infinity bytes/ },
  { name: "bytes that are no MQTT", bytes: [0, 0, 0, 0, 0, 0], why: /./ },
])("$name ends the connection, and the next one works", async ({ bytes, why }) => {
  const broker = await start();
  const reasons: string[] = [];
  const online = Promise.withResolvers<void>();
  uplink(broker.port, { onConnected: () => online.resolve(), onDisconnected: (reason) => reasons.push(reason), sleep: soon });
  await online.promise;
  broker.raw(Uint8Array.from(bytes));
  await broker.until(() => broker.clientIds.length === 2);
  expect(reasons[0]).toMatch(why);
  append(3);
  await broker.until(() => received(broker).length === 3);
});

test("results go out until they are acknowledged, each once per connection", async () => {
  const broker = await start();
  const result = (n: number): CommandResult => ({
    v: 1,
    jti: `00000000-0000-4000-8000-00000000000${n}`,
    act: "isolate",
    ok: true,
    code: "done",
    message: "",
    timeMs: n,
  });
  const pending = [result(1)];
  const made = uplink(broker.port, {
    outbox: { pending: () => pending, delivered: (done) => void pending.splice(pending.indexOf(done), 1) },
  });
  await broker.until(() => broker.results.length === 1);
  pending.push(result(2));
  made.resultsChanged();
  made.resultsChanged();
  await broker.until(() => broker.results.length === 2);
  await expect.poll(() => pending.length).toBe(0);
  expect(broker.results.map(({ timeMs }) => timeMs)).toEqual([1, 2]);
});

test("a new certificate is taken up by a new connection, and nothing is sent twice or lost", async () => {
  const broker = await start();
  const renewed = await site.ca.issue({ name: "pi", role: "device" });
  let certificate = site.device;
  const asked: string[] = [];
  const made = uplink(broker.port, {
    credentials: () => {
      asked.push(certificate.cert);
      return { ca: site.ca.cert, ...certificate };
    },
  });
  append(400);
  await broker.until(() => received(broker).length === 400);
  certificate = renewed;
  append(400);
  buffer.flush();
  made.reconnect();
  await broker.until(() => broker.clientIds.length === 2);
  append(400);
  await broker.until(() => sorted(received(broker)).length === 1200);
  expect(received(broker)).toEqual(range(1200));
  expect(asked).toEqual([site.device.cert, renewed.cert]);
  expect(broker.statuses.map(({ state }) => state)).not.toContain("offline");
});

/** A way to a broker on which, from `stall` on, nothing passes any more while both ends stay open. */
async function stallable(port: number) {
  const sockets: Socket[] = [];
  const server = createTcpServer((near) => {
    const far = connectTcp({ host: "127.0.0.1", port });
    sockets.push(near, far);
    near.pipe(far);
    far.pipe(near);
    for (const socket of [near, far]) socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    stall: () => {
      for (const socket of sockets) socket.unpipe().pause();
    },
    [Symbol.dispose]: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

test.each([
  { name: "an idle connection", heartbeatMs: 60_000 },
  // What is sent into it must not make it look alive.
  { name: "a connection with heartbeats", heartbeatMs: 200 },
])("$name that is half open is noticed and made anew; what was on its way goes again", async ({ heartbeatMs }) => {
  const broker = await start();
  using way = await stallable(broker.port);
  const reasons: string[] = [];
  let port = way.port;
  uplink(0, {
    targets: () => [{ host: "127.0.0.1", port }],
    heartbeatMs,
    askMs: 50,
    sleep: soon,
    onDisconnected: (why) => reasons.push(why),
  });
  append(1);
  await broker.until(() => received(broker).length === 1);
  way.stall();
  port = broker.port;
  append(7);
  // The first may have lost its acknowledgement.
  await broker.until(() => sorted(received(broker)).length === 8);
  expect(reasons[0]).toMatch(/the broker said nothing for/);
});

test("a broker that has nothing to say but answers is kept", async () => {
  const broker = await start();
  const reasons: string[] = [];
  uplink(broker.port, { heartbeatMs: 60_000, askMs: 20, onDisconnected: (why) => reasons.push(why) });
  await broker.until(() => broker.pings >= 20);
  expect(reasons).toEqual([]);
  expect(broker.clientIds).toHaveLength(1);
});

test("several ways to the broker are tried in order, and the best one again at the next connection", async () => {
  const broker = await start();
  const closed = createTcpServer();
  await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
  const first = (closed.address() as AddressInfo).port;
  await new Promise((resolve) => closed.close(resolve));
  const stranger = await start({ server: (await testSite()).server });
  const hosts: string[] = [];
  uplink(0, {
    targets: () => [
      { host: "127.0.0.1", port: first },
      { host: "127.0.0.1", port: stranger.port },
      { host: "localhost", port: broker.port },
    ],
    onConnected: (host) => hosts.push(host),
    sleep: soon,
  });
  await expect.poll(() => hosts).toEqual(["localhost"]);
  await start({ port: first });
  broker.cut();
  await expect.poll(() => hosts).toEqual(["localhost", "127.0.0.1"]);
  expect(stranger.clientIds).toEqual([]);
});

test("while isolated it connects to the addresses it is given, and still checks the name", async () => {
  const broker = await start();
  const online = Promise.withResolvers<void>();
  uplink(broker.port, {
    targets: () => [{ host: "localhost", port: broker.port, addresses: ["127.0.0.1"] }],
    onConnected: () => online.resolve(),
  });
  await online.promise;
  expect(uplinks[0]!.reachable()).toBe(true);
});

test.each([
  { name: "a device of the same CA posing as the broker", role: "device" as const, hosts: ["127.0.0.1"], why: /belongs to a device/ },
  { name: "a detector of the same CA", role: "detector" as const, hosts: ["127.0.0.1"], why: /belongs to a detector/ },
  { name: "the site's certificate for another address", role: "site" as const, hosts: ["127.0.0.9"], why: /altnames/ },
])("refused: $name", async ({ role, hosts, why }) => {
  const broker = await start({ server: await site.ca.issue({ name: "evil", role, hosts }) });
  await refusedBecause(broker, why);
});

test("refused: a broker of another CA, and an expired one", async () => {
  const stranger = await testSite();
  await refusedBecause(await start({ server: stranger.server }), /certificate/i);
  const expired = await site.ca.issue({ name: "lab", role: "site", hosts: ["127.0.0.1"], notAfter: new Date(Date.now() - 1000) });
  await refusedBecause(await start({ server: expired }), /expired/i);
});

async function refusedBecause(broker: TestBroker, why: RegExp) {
  append(5);
  const reason = Promise.withResolvers<string>();
  const made = uplink(broker.port, { onDisconnected: (text) => reason.resolve(text), onConnected: () => reason.resolve("connected") });
  expect(await reason.promise).toMatch(why);
  expect(broker.batches).toEqual([]);
  expect(broker.clientIds).toEqual([]);
  await made.stop(0);
}

const wantTopic = "picket/v1/lab/d/pi/want";

test("what the site asks for is handed on, garbage is told; without samples it is not even heard", async () => {
  const broker = await start();
  const wants: string[] = [];
  const garbage: string[] = [];
  uplink(broker.port, {
    onSampleWant: (payload) => wants.push(Buffer.from(payload).toString()) === 1,
    onGarbage: (what) => void garbage.push(what),
  });
  await broker.until(() => broker.statuses.length > 0);
  for (; wants.length === 0; await soon()) await broker.send(wantTopic, "one");
  await broker.send(wantTopic, "two");
  await expect.poll(() => garbage).toContain("a want that cannot be read");
  for (const one of uplinks.splice(0)) await one.stop(0);
  const told: string[] = [];
  const statuses = broker.statuses.length;
  const packs: Pack[] = [];
  uplink(broker.port, { onGarbage: (what) => void told.push(what), onPack: (pack) => void packs.push(pack) });
  await broker.until(() => broker.statuses.length > statuses);
  await broker.send(wantTopic, "three");
  await broker.send("picket/v1/lab/d/pi/pack", JSON.stringify({ kind: "time", timeMs: 1 }));
  await expect.poll(() => packs.length).toBe(1);
  expect(told).toEqual([]);
});

test("a piece of a file on its way when the connection breaks is given up, not waited for", async () => {
  const broker = await start();
  let connected = 0;
  const made = uplink(broker.port, { sleep: soon, onConnected: () => void connected++ });
  await expect.poll(() => connected).toBe(1);
  broker.hold = true;
  append(1);
  await broker.until(() => broker.batches.length === 1);
  const sent = made.sendSample(Buffer.from("piece")).then(
    () => "sent",
    () => "given up",
  );
  broker.cut();
  expect(await sent).toBe("given up");
  broker.hold = false;
  await expect.poll(() => connected).toBe(2);
  await made.sendSample(Buffer.from("piece"));
});
