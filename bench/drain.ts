// A device that was away for hours comes back: its whole buffer of 500,000 events over mTLS into a broker with its default quotas, by the agent's
// own buffer and uplink, while it goes on making events. Once at a site where nobody reads the log, once with the detector beside it.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventBuffer } from "../agent/buffer/buffer.ts";
import { mirrorPath } from "../agent/buffer/mirror.ts";
import type { EventSource } from "../agent/lease.ts";
import { startUplink } from "../agent/uplink/uplink.ts";
import { heartbeatOf } from "./fleet.ts";
import { undoneAtEnd } from "./leftovers.ts";
import { cpuSeconds, writtenBytes } from "./program.ts";
import { type BenchOptions, note, percentile, type Result } from "./result.ts";
import { createSite, type DeviceIdentity, type RunningBroker, SITE } from "./site.ts";
import { fileEvents, workloadBoot } from "./workload.ts";

const BACKLOG = 500_000;
const FILL = 10_000;
const DEVICE = "gw-1";
const [OLD, NOW] = ["backlog0", "backlog1"] as const;
const AWAY_MS = 6 * 3_600_000;
/** A device in use: one live event so often. */
const LIVE_MS = 50;
/** Live events with nothing else on its way, to compare. */
const ALONE = 100;
const PATIENCE_MS = 300_000;

export default async function* drain({ scene }: BenchOptions): AsyncIterable<Result> {
  for (const [name, prefix] of [
    ["site", ""],
    ["detector", "with_detector_"],
  ] as const)
    if (scene === undefined || scene === name) yield* comeBack(prefix, name === "detector");
}

async function* comeBack(prefix: string, detected: boolean): AsyncIterable<Result> {
  using site = await createSite();
  const [who] = await site.addDevices([DEVICE]);
  using device = openDevice();
  const filled = await cost(process.pid, BACKLOG, () => fill(device.buffer));
  const buffer = device.reopen();
  await using broker = await site.startBroker({ quotas: true });
  await using _detector = detected ? await site.startDetector(broker, []) : undefined;
  const brokerBefore = { cpu: cpuSeconds(broker.pid), bytes: writtenBytes(broker.pid) };
  let seconds = 0;
  const life = live(buffer, broker, { who: who!, ca: site.ca });
  const drained = await cost(process.pid, BACKLOG, async () => {
    seconds = await life.backlogGone;
  });
  const ms = { backlog: life.ms.splice(0), alone: [] as number[] };
  yield { metric: `${prefix}drain_500k_s`, value: Number(seconds.toFixed(1)), unit: "s" };
  yield { metric: `${prefix}drain_events_per_s`, value: Math.round(BACKLOG / seconds), unit: "events/s" };
  yield { metric: `${prefix}agent_cpu_us_per_event`, value: Number(drained.cpuUs.toFixed(2)), unit: "us" };
  const brokerUs = ((cpuSeconds(broker.pid) - brokerBefore.cpu) / BACKLOG) * 1e6;
  yield { metric: `${prefix}broker_cpu_us_per_event`, value: Number(brokerUs.toFixed(2)), unit: "us" };
  if (brokerBefore.bytes !== undefined) {
    yield { metric: `${prefix}agent_bytes_written_per_event_kept`, value: Math.round(filled.bytes), unit: "bytes" };
    yield { metric: `${prefix}agent_bytes_written_per_event_sent`, value: Math.round(drained.bytes), unit: "bytes" };
    const brokerBytes = (writtenBytes(broker.pid)! - brokerBefore.bytes) / BACKLOG;
    yield { metric: `${prefix}broker_bytes_written_per_event`, value: Math.round(brokerBytes), unit: "bytes" };
  } else note("drain: this kernel does not count what is written: no figures of bytes");
  while (life.ms.length < ALONE) await Bun.sleep(LIVE_MS);
  ms.alone = life.ms.splice(0);
  for (const [when, values] of Object.entries(ms)) {
    for (const share of [50, 99]) {
      const metric = `${prefix}live_event_stored_${when === "alone" ? "without_backlog" : "meanwhile"}_p${share}_ms`;
      yield { metric, value: Number(percentile(values, share / 100).toFixed(1)), unit: "ms" };
    }
    yield { metric: `${prefix}live_events_${when === "alone" ? "without_backlog" : "meanwhile"}`, value: values.length, unit: "events" };
  }
  const sent = await life.stop();
  const stored = site.storedEvents();
  if (stored !== sent) throw new Error(`drain: ${sent} events were sent and ${stored} are in the log`);
}

type Device = Disposable & { readonly buffer: EventBuffer; reopen(): EventBuffer };

function openDevice(): Device {
  const dir = mkdtempSync(join(tmpdir(), "pkbench-drain-"));
  const mirror = mirrorPath(`pkbench-drain-${process.pid}.tail`);
  const remove = () => {
    rmSync(dir, { recursive: true, force: true });
    if (mirror !== undefined) rmSync(mirror, { force: true });
  };
  const removed = undoneAtEnd(remove);
  const open = (epoch: string) =>
    new EventBuffer({
      ...{ path: join(dir, "buffer.db"), mirror, durability: "balanced", maxEvents: 2 * BACKLOG, maxBytes: 2 ** 40 },
      epoch: { epoch, boot: workloadBoot, device: DEVICE },
    });
  let buffer = open(OLD);
  return {
    buffer,
    reopen: () => {
      buffer[Symbol.dispose]();
      buffer = open(NOW);
      return buffer;
    },
    [Symbol.dispose]: () => {
      buffer[Symbol.dispose]();
      remove();
      removed();
    },
  };
}

/** As the device made them while it had no site, over six hours that ended a moment ago. */
async function fill(buffer: EventBuffer): Promise<void> {
  const began = Date.now() - AWAY_MS;
  for (let at = 0; at < BACKLOG; at += FILL) {
    for (const event of fileEvents(FILL, { device: DEVICE, epoch: OLD, seed: at })) {
      const seq = at + event.seq;
      buffer.append({ ...event, seq, timeMs: began + Math.floor((seq / BACKLOG) * AWAY_MS) });
    }
    buffer.flush();
    await Bun.sleep(0);
  }
}

type Life = {
  /** Resolves with the seconds from the start of the connection to the acknowledgement of the last old event. */
  readonly backlogGone: Promise<number>;
  /** From the moment each live event was made until the site had it on disk, milliseconds. */
  readonly ms: number[];
  /** Ends when all is acknowledged. Resolves with how many events that were. */
  stop(): Promise<number>;
};

/** Connects the buffer to the broker, and makes live events. */
function live(buffer: EventBuffer, broker: RunningBroker, of: { who: DeviceIdentity; ca: string }): Life {
  const ms: number[] = [];
  const madeMs: number[] = [];
  const { promise: backlogGone, resolve, reject } = Promise.withResolvers<number>();
  const patience = setTimeout(() => reject(new Error(`drain: not all sent after ${PATIENCE_MS / 1000} s`)), PATIENCE_MS);
  let began = performance.now();
  let acknowledged = 0;
  let old = 0;
  const source: EventSource = {
    connected: () => {
      began = performance.now();
      buffer.connected();
    },
    lease: (max) => buffer.lease(max),
    release: (lease) => buffer.release(lease),
    waiting: () => buffer.waiting(),
    ack: (lease) => {
      buffer.ack(lease);
      acknowledged += lease.events.length;
      if (lease.epoch === NOW) for (const { seq } of lease.events) ms.push(performance.now() - madeMs[seq]!);
      else old += lease.events.length;
      if (old === BACKLOG) resolve((performance.now() - began) / 1000);
    },
  };
  const uplink = startUplink({
    ...{ site: SITE, device: DEVICE, epoch: NOW, source, outbox: { pending: () => [], delivered: () => {} } },
    credentials: () => ({ ca: of.ca, cert: of.who.cert, key: of.who.key }),
    targets: () => [{ host: "localhost", port: broker.mqttPort, addresses: ["127.0.0.1"] }],
    status: () => heartbeatOf(NOW, { produced: madeMs.length, buffer: buffer.size(), epochs: buffer.epochs() }),
    onHeartbeat: (status) => buffer.reported(status.epochs),
    ...{ onCommand: () => {}, onPack: () => {}, onConnected: () => {} },
    onDisconnected: (why) => note(`drain: disconnected: ${why}`),
    onGarbage: (what) => note(`drain: ${what}`),
  });
  buffer.onAvailable = uplink.wake;
  const making = setInterval(() => {
    const [event] = fileEvents(1, { device: DEVICE, epoch: NOW, seed: madeMs.length });
    buffer.append({ ...event!, seq: madeMs.length, timeMs: Date.now() });
    madeMs.push(performance.now());
  }, LIVE_MS);
  const end = () => {
    clearInterval(making);
    clearTimeout(patience);
  };
  backlogGone.then(() => clearTimeout(patience), end);
  return {
    backlogGone,
    ms,
    stop: async () => {
      end();
      await uplink.stop(10_000);
      if (buffer.size().events > 0) throw new Error(`drain: ${buffer.size().events} events were never acknowledged`);
      return acknowledged;
    },
  };
}

/** CPU microseconds and bytes written by a process while `work` runs, for each of so many events. */
async function cost(pid: number, events: number, work: () => Promise<void>): Promise<{ cpuUs: number; bytes: number }> {
  const [cpu, bytes] = [cpuSeconds(pid), writtenBytes(pid) ?? 0];
  await work();
  return { cpuUs: ((cpuSeconds(pid) - cpu) / events) * 1e6, bytes: ((writtenBytes(pid) ?? 0) - bytes) / events };
}
