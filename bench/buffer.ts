// What the device's buffer costs: CPU to take events in and give them out, and what it writes to flash, by durability, with a site and without.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventBuffer } from "../agent/buffer/buffer.ts";
import { mirrorPath } from "../agent/buffer/mirror.ts";
import { writtenBytes } from "../agent/buffer/wear.ts";
import type { Lease } from "../agent/lease.ts";
import { undoneAtEnd } from "./leftovers.ts";
import { cpuSeconds } from "./program.ts";
import { type BenchOptions, median, note, type Result } from "./result.ts";
import { createSite } from "./site.ts";
import { fileEvents, workloadBoot } from "./workload.ts";

const MODES = ["balanced", "strict"] as const;
type Mode = (typeof MODES)[number];
/** As many as one drain of the kernel's ring brings on a busy device. */
const TURN = 50;
const APPENDED = 100_000;
const ROUNDS = 3;
/** A device that is in use: twenty events a second, and a site that acknowledges after this time. */
const PACED = { events: 200, everyMs: 50 };
const PUBACK_MS = 20;
const BACKLOG = 500_000;
const BATCH = { events: 500, bytes: 900 << 10 };
const IDLE_MINUTES = 2;
const DAY_S = 86_400;

export default async function* buffer({ scene, minutes }: BenchOptions): AsyncIterable<Result> {
  if (writtenBytes() === undefined)
    note("buffer: this kernel does not count what is written (CONFIG_TASK_IO_ACCOUNTING): no figures of bytes");
  const scenes: Record<string, () => AsyncIterable<Result>> = { append, paced, drain, idle: () => idle(minutes ?? IDLE_MINUTES) };
  for (const [name, run] of Object.entries(scenes)) if (scene === undefined || scene === name) yield* run();
}

type Opened = Disposable & { readonly buffer: EventBuffer; reopen(epoch: string): EventBuffer };

function open(mode: Mode, epoch: string): Opened {
  const dir = mkdtempSync(join(tmpdir(), "pkbench-buffer-"));
  const mirror = mirrorPath(`pkbench-${process.pid}.tail`);
  const remove = () => {
    rmSync(dir, { recursive: true, force: true });
    if (mirror !== undefined) rmSync(mirror, { force: true });
  };
  const removed = undoneAtEnd(remove);
  const make = (name: string) =>
    new EventBuffer({
      path: join(dir, "buffer.db"),
      mirror,
      maxEvents: 5_000_000,
      maxBytes: 2 ** 40,
      durability: mode,
      epoch: { epoch: name, boot: workloadBoot, device: "gw-1" },
    });
  let buffer = make(epoch);
  return {
    buffer,
    reopen: (name) => {
      buffer[Symbol.dispose]();
      buffer = make(name);
      return buffer;
    },
    [Symbol.dispose]: () => {
      buffer[Symbol.dispose]();
      remove();
      removed();
    },
  };
}

/** CPU microseconds and bytes written while `work` runs, by event. */
async function cost(events: number, work: () => Promise<void>) {
  const cpu = process.cpuUsage();
  const bytes = writtenBytes() ?? 0;
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return { cpuUs: (user + system) / events, bytes: ((writtenBytes() ?? 0) - bytes) / events };
}

/** As fast as can be, nobody takes anything: a storm while the site is away. */
async function* append(): AsyncIterable<Result> {
  const events = fileEvents(APPENDED, { device: "gw-1", epoch: "bench000", seed: 7 });
  for (const mode of MODES) {
    const costs: { cpuUs: number; bytes: number }[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      using opened = open(mode, "bench000");
      costs.push(
        await cost(APPENDED, async () => {
          for (let at = 0; at < APPENDED; at += TURN) {
            for (let one = at; one < at + TURN; one++) opened.buffer.append(events[one]!);
            await Promise.resolve();
          }
          opened.buffer.flush();
        }),
      );
    }
    const cpuUs = median(costs.map((one) => one.cpuUs));
    yield { metric: `${mode}_append_cpu_us_per_event`, value: Number(cpuUs.toFixed(2)), unit: "us" };
    yield { metric: `${mode}_append_events_per_cpu_s`, value: Math.round(1e6 / cpuUs), unit: "events/s" };
    yield { metric: `${mode}_storm_bytes_written_per_event`, value: Math.round(median(costs.map((one) => one.bytes))), unit: "bytes" };
  }
}

/** Twenty events a second for ten seconds. */
async function* paced(): AsyncIterable<Result> {
  const count = PACED.events;
  for (const mode of MODES)
    for (const where of ["site", "offline"] as const) {
      const events = fileEvents(count, { device: "gw-1", epoch: "bench000", seed: 7 });
      using opened = open(mode, "bench000");
      const { buffer: source } = opened;
      const send = async (lease: Lease) => {
        await Bun.sleep(PUBACK_MS);
        source.ack(lease);
      };
      source.onAvailable = () => {
        for (let lease = source.lease(BATCH); lease; lease = source.lease(BATCH)) void send(lease);
      };
      if (where === "offline") source.onAvailable = () => {};
      const { cpuUs, bytes } = await cost(count, async () => {
        for (const event of events) {
          source.append(event);
          await Bun.sleep(PACED.everyMs);
        }
        source.flush();
      });
      yield { metric: `${mode}_${where}_bytes_written_per_event`, value: Math.round(bytes), unit: "bytes" };
      yield { metric: `${mode}_${where}_cpu_us_per_event`, value: Math.round(cpuUs), unit: "us" };
    }
}

/** Everything of a long outage given out and acknowledged, 500 at a time, four batches on their way. */
async function* drain(): AsyncIterable<Result> {
  using opened = open("balanced", "backlog0");
  const { buffer: source } = opened;
  for (let at = 0; at < BACKLOG; at += 10_000) {
    for (const event of fileEvents(10_000, { device: "gw-1", epoch: "backlog0", seed: at }))
      source.append({ ...event, seq: at + event.seq });
    source.flush();
    await Bun.sleep(0);
  }
  const next = opened.reopen("backlog1");
  let drained = 0;
  const flying: Lease[] = [];
  const { cpuUs, bytes } = await cost(BACKLOG, async () => {
    for (let lease = next.lease(BATCH); lease; lease = next.lease(BATCH)) {
      drained += lease.events.length;
      flying.push(lease);
      if (flying.length === 4) next.ack(flying.shift()!);
      await Promise.resolve();
    }
    for (const lease of flying) next.ack(lease);
    next.flush();
  });
  if (drained !== BACKLOG || next.size().events !== 0) throw new Error(`buffer: ${drained} of ${BACKLOG} events came out`);
  yield { metric: "drain_500k_cpu_s", value: Number(((cpuUs * BACKLOG) / 1e6).toFixed(2)), unit: "s" };
  yield { metric: "drain_events_per_cpu_s", value: Math.round(1e6 / cpuUs), unit: "events/s" };
  yield { metric: "drain_bytes_written_per_event", value: Math.round(bytes), unit: "bytes" };
}

/** A compiled agent of a device, at a site that answers, on a host where nobody does anything on purpose. */
async function* idle(minutes: number): AsyncIterable<Result> {
  if (process.getuid?.() !== 0) {
    note("buffer: only root can start an agent: no figures of an idle device");
    return;
  }
  using site = await createSite();
  await using broker = await site.startBroker();
  await using agent = await site.startAgent(broker, "bench-device");
  // The first inventory, and hashes of what runs.
  await Bun.sleep(30_000);
  const written = () => Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${agent.pid}/io`, "latin1"))?.[1] ?? 0);
  const [bytes, cpu, events] = [written(), cpuSeconds(agent.pid), site.storedEvents()];
  await Bun.sleep(minutes * 60_000);
  const seconds = minutes * 60;
  yield { metric: "idle_bytes_written_per_day", value: Math.round(((written() - bytes) / seconds) * DAY_S), unit: "bytes" };
  yield { metric: "idle_events_per_s", value: Number(((site.storedEvents() - events) / seconds).toFixed(1)), unit: "events/s" };
  yield { metric: "idle_cpu_percent", value: Number((((cpuSeconds(agent.pid) - cpu) / seconds) * 100).toFixed(2)), unit: "% of a core" };
}
