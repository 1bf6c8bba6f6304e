// How much the broker takes in: durable events/s and QoS 1 messages/s at 1, 100 and 1,000 connections, CPU and bytes to disk of each, and
// memory per TLS connection, all beside mosquitto with the same bytes.
import { batchesOf, connectAll, publishAll } from "./fleet.ts";
import type { LoadClient, Target } from "./load.ts";
import { startMosquitto } from "./mosquitto.ts";
import { cpuSeconds, settledRssBytes, writtenBytes } from "./program.ts";
import { beside, median, note, type Result } from "./result.ts";
import { type BenchSite, createSite, type DeviceIdentity } from "./site.ts";

const CONNECTIONS = [1, 100, 1000];
const ROUNDS = 3;
/** `messages` are those of all connections together in one round; `window` those of one connection on their way. */
const LOADS = [
  // A device that sends as fast as it can, as agent/uplink/sender.ts does.
  { each: "event", rate: "events_per_s", size: 500, messages: 1000, window: 4, epoch: "ingest00" },
  { each: "message", rate: "messages_per_s", size: 5, messages: 20_000, window: 20, epoch: "message0" },
] as const;
type Load = (typeof LOADS)[number];

type Measured = { readonly pid: number; readonly target: Target };
type Figures = { readonly perS: number; readonly cpuUs: number; readonly bytes: number | undefined };

export default async function* ingest(): AsyncIterable<Result> {
  using site = await createSite();
  const devices = await site.addDevices(Array.from({ length: Math.max(...CONNECTIONS) }, (_, at) => `gw-${at}`));
  {
    await using mosquitto = await startMosquitto(site);
    if (!mosquitto) note("ingest: mosquitto is not installed (apt-get install mosquitto): no comparison");
    yield* throughput(site, devices, mosquitto && { pid: mosquitto.pid, target: { port: mosquitto.port, ca: site.ca } });
  }
  // Both anew: memory that a burst left behind would hide what connections take.
  await using broker = await site.startBroker();
  await using mosquitto = await startMosquitto(site);
  const peer = mosquitto && { pid: mosquitto.pid, target: { port: mosquitto.port, ca: site.ca } };
  const ours = await memory({ port: broker.mqttPort, ca: site.ca }, broker.pid, devices);
  const peers = peer && (await memory(peer.target, peer.pid, devices));
  for (const [at, count] of CONNECTIONS.entries()) {
    const value = megabytes(ours[at]!);
    yield* beside({ metric: `rss_mb_${count}_connections`, value, unit: "MB" }, "mosquitto", peers && megabytes(peers[at]!));
  }
  yield* beside({ metric: "kb_per_connection", value: perConnection(ours), unit: "KB" }, "mosquitto", peers && perConnection(peers));
}

async function* throughput(site: BenchSite, devices: readonly DeviceIdentity[], peer: Measured | undefined): AsyncIterable<Result> {
  let sent = 0;
  for (const load of LOADS)
    for (const count of CONNECTIONS) {
      await using broker = await site.startBroker();
      const own = { pid: broker.pid, target: { port: broker.mqttPort, ca: site.ca } };
      // Numbers go on where the same devices were with fewer connections.
      const epoch = `${load.epoch.slice(0, 7)}${CONNECTIONS.indexOf(count)}`;
      const senders = devices.slice(0, count);
      yield* inTurn(load, senders, epoch, own, peer);
      sent += ROUNDS * Math.ceil(load.messages / count) * count * load.size;
      // A broker that refuses everything acknowledges quickly too.
      const stored = site.storedEvents();
      if (stored !== sent) throw new Error(`ingest: ${sent} events were acknowledged and ${stored} are in the log`);
    }
}

/** The same bytes to both brokers, in turn. */
async function* inTurn(
  load: Load,
  devices: readonly DeviceIdentity[],
  epoch: string,
  own: Measured,
  peer: Measured | undefined,
): AsyncIterable<Result> {
  const sides = await Promise.all(
    [own, peer].map(async (side) => side && { ...side, clients: await connectAll(side.target, devices), figures: [] as Figures[] }),
  );
  const count = Math.ceil(load.messages / devices.length);
  for (let round = 0; round < ROUNDS; round++) {
    const payloads = devices.map(({ name }) => batchesOf(name, epoch, { round, count, size: load.size }));
    for (const side of sides) if (side) side.figures.push(await once(side, devices, payloads, load));
  }
  for (const side of sides) for (const client of side?.clients ?? []) client[Symbol.dispose]();
  const [ours, theirs] = sides.map((side) => side && middle(side.figures));
  const at = `${devices.length}_connections`;
  yield* beside(
    { metric: `${load.rate}_${at}`, value: Math.round(ours!.perS), unit: `${load.each}s/s` },
    "mosquitto",
    theirs && Math.round(theirs.perS),
  );
  const cpu = `cpu_us_per_${load.each}_${at}`;
  yield* beside({ metric: cpu, value: rounded(ours!.cpuUs), unit: "us" }, "mosquitto", theirs && rounded(theirs.cpuUs));
  if (ours!.bytes !== undefined) yield { metric: `bytes_written_per_${load.each}_${at}`, value: Math.round(ours!.bytes), unit: "bytes" };
}

async function once(
  { pid, clients }: Measured & { readonly clients: readonly LoadClient[] },
  devices: readonly DeviceIdentity[],
  payloads: readonly (readonly Uint8Array[])[],
  load: Load,
): Promise<Figures> {
  const count = payloads.length * payloads[0]!.length * (load.each === "event" ? load.size : 1);
  const [cpu, bytes] = [cpuSeconds(pid), writtenBytes(pid)];
  const seconds = await publishAll(clients, devices, payloads, load.window);
  const cpuUs = ((cpuSeconds(pid) - cpu) * 1e6) / count;
  return { perS: count / seconds, cpuUs, bytes: bytes === undefined ? undefined : (writtenBytes(pid)! - bytes) / count };
}

const middle = (of: readonly Figures[]): Figures => ({
  perS: median(of.map(({ perS }) => perS)),
  cpuUs: median(of.map(({ cpuUs }) => cpuUs)),
  bytes: of[0]!.bytes === undefined ? undefined : median(of.map(({ bytes }) => bytes!)),
});

/** Resident memory with each of CONNECTIONS open at once, bytes. */
async function memory(target: Target, pid: number, devices: readonly DeviceIdentity[]): Promise<number[]> {
  const clients: LoadClient[] = [];
  const resident: number[] = [];
  for (const count of CONNECTIONS) {
    clients.push(...(await connectAll(target, devices.slice(clients.length, count))));
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
const rounded = (us: number) => Number(us.toFixed(2));
