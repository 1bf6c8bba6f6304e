// How much the broker takes in: durable events/s, QoS 1 messages/s beside mosquitto, memory per TLS connection beside mosquitto.
import { encodeBatch } from "../protocol/batch.ts";
import { clientId } from "../protocol/names.ts";
import { topic } from "../protocol/topics.ts";
import { type LoadClient, openClient, type Target } from "./load.ts";
import { startMosquitto } from "./mosquitto.ts";
import { cpuSeconds, settledRssBytes } from "./program.ts";
import { beside, median, note, type Result } from "./result.ts";
import { createSite, type DeviceIdentity, SITE } from "./site.ts";
import { fileEvents, workloadBoot } from "./workload.ts";

const DEVICES = 8;
const ROUNDS = 5;
const BATCHES = 250;
const MESSAGES = 2500;
/** Unacknowledged batches of a device, as agent/uplink/sender.ts. */
const BATCH_WINDOW = 4;
const MESSAGE_WINDOW = 20;
const CONNECTIONS = [1, 100, 1000];
const HANDSHAKES_AT_ONCE = 50;

export default async function* ingest(): AsyncIterable<Result> {
  using site = await createSite();
  const devices = await site.addDevices(Array.from({ length: Math.max(...CONNECTIONS) }, (_, at) => `gw-${at}`));
  const senders = devices.slice(0, DEVICES);
  {
    await using broker = await site.startBroker();
    yield* throughput({ port: broker.mqttPort, ca: site.ca }, broker.pid, senders);
    // A broker that refuses everything acknowledges quickly too.
    const sent = ROUNDS * BATCHES * DEVICES * 500;
    const stored = site.storedEvents();
    if (stored !== sent) throw new Error(`ingest: ${sent} events were acknowledged and ${stored} are in the log`);
  }
  await using mosquitto = await startMosquitto(site);
  if (!mosquitto) note("ingest: mosquitto is not installed (apt-get install mosquitto): no comparison");
  {
    await using broker = await site.startBroker();
    const ours = { port: broker.mqttPort, ca: site.ca };
    yield* messages(ours, mosquitto && { port: mosquitto.port, ca: site.ca }, senders);
  }
  await using broker = await site.startBroker();
  const ours = await memory({ port: broker.mqttPort, ca: site.ca }, broker.pid, devices);
  const peers = mosquitto && (await memory({ port: mosquitto.port, ca: site.ca }, mosquitto.pid, devices));
  for (const [at, count] of CONNECTIONS.entries()) {
    const value = megabytes(ours[at]!);
    yield* beside({ metric: `rss_mb_${count}_connections`, value, unit: "MB" }, "mosquitto", peers && megabytes(peers[at]!));
  }
  yield* beside({ metric: "kb_per_connection", value: perConnection(ours), unit: "KB" }, "mosquitto", peers && perConnection(peers));
}

async function* throughput(target: Target, pid: number, devices: readonly DeviceIdentity[]): AsyncIterable<Result> {
  const clients = await connectAll(target, devices);
  const rates: number[] = [];
  const cpu: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const payloads = devices.map(({ name }) => batchesOf(name, "ingest00", { round, count: BATCHES, size: 500 }));
    const cpuBefore = cpuSeconds(pid);
    const seconds = await publishAll(clients, devices, payloads, BATCH_WINDOW);
    const events = devices.length * BATCHES * 500;
    rates.push(events / seconds);
    cpu.push(((cpuSeconds(pid) - cpuBefore) * 1e6) / events);
  }
  for (const client of clients) client[Symbol.dispose]();
  yield { metric: "events_per_s", value: Math.round(median(rates)), unit: "events/s" };
  yield { metric: "broker_cpu_us_per_event", value: Number(median(cpu).toFixed(2)), unit: "us" };
}

/** Messages of five events each, the same bytes to both brokers, in turn. */
async function* messages(ours: Target, peer: Target | undefined, devices: readonly DeviceIdentity[]): AsyncIterable<Result> {
  const own = await connectAll(ours, devices);
  const theirs = peer && (await connectAll(peer, devices));
  const rates: { own: number[]; theirs: number[] } = { own: [], theirs: [] };
  for (let round = 0; round < ROUNDS; round++) {
    const payloads = devices.map(({ name }) => batchesOf(name, "message0", { round, count: MESSAGES, size: 5 }));
    const total = devices.length * MESSAGES;
    rates.own.push(total / (await publishAll(own, devices, payloads, MESSAGE_WINDOW)));
    if (theirs) rates.theirs.push(total / (await publishAll(theirs, devices, payloads, MESSAGE_WINDOW)));
  }
  for (const client of [...own, ...(theirs ?? [])]) client[Symbol.dispose]();
  const value = Math.round(median(rates.own));
  yield* beside({ metric: "messages_per_s", value, unit: "messages/s" }, "mosquitto", theirs && Math.round(median(rates.theirs)));
}

/** Resident memory with each of CONNECTIONS open at once, bytes. */
async function memory(target: Target, pid: number, devices: readonly DeviceIdentity[]): Promise<number[]> {
  const clients: LoadClient[] = [];
  const resident: number[] = [];
  for (const count of CONNECTIONS) {
    while (clients.length < count) {
      const next = devices.slice(clients.length, Math.min(count, clients.length + HANDSHAKES_AT_ONCE));
      clients.push(...(await connectAll(target, next)));
    }
    resident.push(await settledRssBytes(pid));
  }
  for (const client of clients) client[Symbol.dispose]();
  return resident;
}

/** What one more connection costs, between the last two of CONNECTIONS: the first ones pay for code that is loaded once. */
function perConnection(resident: readonly number[]): number {
  const [fewer, more] = [CONNECTIONS.at(-2)!, CONNECTIONS.at(-1)!];
  return Number(((resident.at(-1)! - resident.at(-2)!) / (more - fewer) / 1024).toFixed(1));
}

const megabytes = (bytes: number) => Number((bytes / 2 ** 20).toFixed(1));

const connectAll = (target: Target, devices: readonly DeviceIdentity[]) =>
  Promise.all(devices.map((who) => openClient(target, who, clientId("device", who.name))));

/** Seconds from the first PUBLISH to the last PUBACK. */
async function publishAll(
  clients: readonly LoadClient[],
  devices: readonly DeviceIdentity[],
  payloads: readonly Uint8Array[][],
  window: number,
): Promise<number> {
  const began = performance.now();
  await Promise.all(clients.map((client, at) => client.publish(topic("events", SITE, devices[at]!.name), payloads[at]!, window)));
  return (performance.now() - began) / 1000;
}

/** Batches of one device, numbered without holes from round to round. */
function batchesOf(device: string, epoch: string, of: { round: number; count: number; size: number }): Uint8Array[] {
  const first = of.round * of.count * of.size;
  return Array.from({ length: of.count }, (_, at) => {
    const from = first + at * of.size;
    const events = fileEvents(of.size, { device, epoch, seed: from }).map((event) => ({ ...event, seq: from + event.seq }));
    return encodeBatch({ boot: workloadBoot, oldest: from, events });
  });
}
