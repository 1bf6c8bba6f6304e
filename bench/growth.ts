// How the site's costs grow with its devices: 10, 100 and 1,000 of them send the same number of events together, and say what an agent says of itself.
import { encodeBatch } from "../protocol/batch.ts";
import { routes } from "../protocol/rest.ts";
import { topic } from "../protocol/topics.ts";
import { catchUp } from "./catch-up.ts";
import { batchesOf, connectAll, heartbeatOf, publishAll } from "./fleet.ts";
import type { LoadClient } from "./load.ts";
import { mixedEvents } from "./mixed.ts";
import { cpuSeconds, rssBytes, writtenBytes } from "./program.ts";
import { type BenchOptions, median, percentile, type Result } from "./result.ts";
import { type BenchSite, createSite, type DeviceIdentity, type RunningBroker, SITE } from "./site.ts";
import { workloadBoot } from "./workload.ts";

const DEVICES = [10, 100, 1000];
const ROUNDS = 3;
/** Of all devices together, in one round. */
const BATCHES = 2000;
const BATCH_EVENTS = 50;
const WINDOW = 4;
const EPOCH = "growth00";
/** Calls of each kind, one after another; the first ones pay for code that is compiled. */
const [CALLS, WARM_UP] = [40, 5];
const LEDGER_MS = 2000;
/** Of the backlog the detector catches up with. */
const BACKLOG = { batches: 2000, events: 100 } as const;

export default async function* growth({ scene }: BenchOptions): AsyncIterable<Result> {
  for (const count of DEVICES) {
    const named = (result: Result): Result => ({ ...result, metric: `${result.metric}_${count}_devices` });
    if (scene === undefined || scene === "site") for await (const result of ofSite(count)) yield named(result);
    if (scene === undefined || scene === "detector") for await (const result of catchUp(backlog(count))) yield named(result);
  }
}

async function* ofSite(count: number): AsyncIterable<Result> {
  using site = await createSite();
  const devices = await site.addDevices(Array.from({ length: count }, (_, at) => `gw-${at}`));
  await using broker = await site.startBroker();
  const clients = await connectAll({ port: broker.mqttPort, ca: site.ca }, devices);
  const beat = () =>
    Promise.all(
      clients.map((client, at) =>
        client.publish(topic("status", SITE, devices[at]!.name), [Buffer.from(JSON.stringify(heartbeatOf(EPOCH)))], 1),
      ),
    );
  await beat();
  yield* ingest(broker, devices, clients);
  // Heartbeats again: now there is something to judge for each device.
  await Bun.sleep(LEDGER_MS);
  const before = cpuSeconds(broker.pid);
  await beat();
  yield { metric: "cpu_us_per_heartbeat", value: Math.round(((cpuSeconds(broker.pid) - before) / count) * 1e6), unit: "us" };
  yield* questions(site, broker);
  yield { metric: "broker_rss_mb", value: Number((rssBytes(broker.pid) / 2 ** 20).toFixed(1)), unit: "MB" };
  for (const client of clients) client[Symbol.dispose]();
}

async function* ingest(broker: RunningBroker, devices: readonly DeviceIdentity[], clients: readonly LoadClient[]): AsyncIterable<Result> {
  const count = Math.ceil(BATCHES / devices.length);
  const events = count * devices.length * BATCH_EVENTS;
  const rounds: { rate: number; cpu: number; bytes: number | undefined }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const payloads = devices.map(({ name }) => batchesOf(name, EPOCH, { round, count, size: BATCH_EVENTS }));
    const [cpu, bytes] = [cpuSeconds(broker.pid), writtenBytes(broker.pid)];
    const seconds = await publishAll(clients, devices, payloads, WINDOW);
    // What the ledger enters a moment later is a part of the cost.
    await Bun.sleep(LEDGER_MS);
    rounds.push({
      rate: events / seconds,
      cpu: ((cpuSeconds(broker.pid) - cpu) / events) * 1e6,
      bytes: bytes === undefined ? undefined : (writtenBytes(broker.pid)! - bytes) / events,
    });
  }
  yield { metric: "events_per_s", value: Math.round(median(rounds.map(({ rate }) => rate))), unit: "events/s" };
  yield { metric: "broker_cpu_us_per_event", value: Number(median(rounds.map(({ cpu }) => cpu)).toFixed(2)), unit: "us" };
  const written = rounds.flatMap(({ bytes }) => bytes ?? []);
  if (written.length > 0) yield { metric: "bytes_written_per_event", value: Math.round(median(written)), unit: "bytes" };
}

/** What `picket devices`, the console at its start and `picket doctor` ask for. */
async function* questions(site: BenchSite, broker: RunningBroker): AsyncIterable<Result> {
  for (const name of ["devices", "site", "doctor"] as const) {
    const ms: number[] = [];
    const cpu = cpuSeconds(broker.pid);
    for (let call = 0; call < WARM_UP + CALLS; call++) {
      const began = performance.now();
      const response = await fetch(`https://127.0.0.1:${broker.httpsPort}${routes[name].path}`, {
        headers: { authorization: `Bearer ${site.token}` },
        tls: { ca: site.ca },
      });
      if (!response.ok) throw new Error(`growth: ${routes[name].path}: ${response.status} ${await response.text()}`);
      await response.arrayBuffer();
      if (call >= WARM_UP) ms.push(performance.now() - began);
    }
    const cpuMs = ((cpuSeconds(broker.pid) - cpu) / (WARM_UP + CALLS)) * 1000;
    for (const share of [50, 99])
      yield { metric: `api_${name}_p${share}_ms`, value: Number(percentile(ms, share / 100).toFixed(1)), unit: "ms" };
    yield { metric: `api_${name}_cpu_ms`, value: Number(cpuMs.toFixed(1)), unit: "ms" };
  }
}

/** Batches of all devices in turn, as they come from the log. */
function backlog(devices: number): Uint8Array[] {
  const each = BACKLOG.batches / devices;
  const ofDevice = Array.from({ length: devices }, (_, at) => {
    const events = mixedEvents(each * BACKLOG.events, { device: `gw-${at}`, epoch: EPOCH, seed: at });
    return Array.from({ length: each }, (_, batch) =>
      encodeBatch({ boot: workloadBoot, oldest: 0, events: events.slice(batch * BACKLOG.events, (batch + 1) * BACKLOG.events) }),
    );
  });
  return Array.from({ length: each }, (_, batch) => ofDevice.map((batches) => batches[batch]!)).flat();
}
