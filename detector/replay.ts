// Recorded events through the live pipeline. Files have no broker: the device's own time, made robust, stands in for the time of receipt.
import type { Alert, Detection } from "@picket/protocol/alert";
import type { SensorEvent } from "@picket/protocol/event";
import { ORDER_MS } from "@picket/protocol/feed";
import type { Recorded } from "@picket/protocol/recorded";
import { judgeAll, type Problem } from "./engines/together.ts";
import type { Arrival, Engine } from "./finding.ts";
import { createPipeline, type PipelineOptions } from "./pipeline.ts";
import { clean, shortKey } from "./text.ts";

export type ReplayOptions = Omit<PipelineOptions, "site"> & {
  /** Default "replay". */
  readonly site?: string;
  /** The engines besides Sigma. */
  readonly engines?: readonly Engine[];
  /** Told when an engine fails; the events are then judged without it. */
  readonly onProblem?: Problem;
  /** Called after every event. */
  readonly onEvent?: () => void;
};

/** Events engines are given at once. */
const BATCH = 500;

/** Events of one epoch of a device that may wait for one before them. */
const MAX_WAITING = 1000;

const MAX_ID = 160;
/** Nobody stores what is decided step by step here: past this it is let go. */
const MAX_PENDING = 5000;

/**
 * The alerts of a recording, each once, in its final revision: as soon as it cannot grow any more, the rest at the end, oldest first.
 * Memory is bounded by what the pipeline remembers of each device. Ids that events bring are kept.
 */
export async function* replay(events: AsyncIterable<Recorded> | Iterable<Recorded>, options: ReplayOptions): AsyncGenerator<Alert> {
  const pipeline = createPipeline({ ...options, site: options.site ?? "replay", oneClock: false });
  const arrivals = arrivalOf();
  const engines = options.engines ?? [];
  for await (const batch of inBatches(inOrder(events), engines.length === 0 ? 1 : BATCH)) {
    const of = { events: batch.map(({ event }) => event), arrivals: batch.map(arrivals) };
    const findings = await judgeAll(engines, of, options.onProblem ?? (() => {}));
    for (const [at, event] of of.events.entries()) {
      pipeline.handle(event, of.arrivals[at]!, findings?.get(at));
      const { alerts, seen, correlated, closed } = pipeline.pending;
      if (closed > 0 || alerts + seen + correlated > MAX_PENDING) for (const detection of pipeline.take().closed) yield asAlert(detection);
      options.onEvent?.();
    }
  }
  // A recording is over: so is what waits for its time to be.
  pipeline.end();
  const rest = pipeline.growing().sort((a, b) => a.timeMs - b.timeMs || (a.id < b.id ? -1 : 1));
  for (const detection of rest) yield asAlert(detection);
}

/**
 * As a site puts them in order: by number, where one overtook those before it by at most `ORDER_MS` of receipt. A recording that was not received by a site is in order
 * already, and one that lacks events only waits for them.
 */
export async function* inOrder(events: AsyncIterable<Recorded> | Iterable<Recorded>): AsyncGenerator<Recorded> {
  const epochs = new Map<string, InOrder>();
  for await (const one of events) {
    const { device, epoch, seq, receivedMs } = one.event;
    if (receivedMs === undefined) {
      yield one;
      continue;
    }
    const key = `${device}\n${epoch}`;
    let of = epochs.get(key);
    if (!of) {
      of = { next: seq, waiting: [], sinceMs: receivedMs };
      epochs.set(key, of);
    }
    yield* put(of, one, receivedMs);
  }
  for (const { waiting } of epochs.values()) yield* waiting;
}

/** `next`: the number that is missing before `waiting`. `sinceMs`: when the first of them came. */
type InOrder = { next: number; readonly waiting: Recorded[]; sinceMs: number };

function* put(of: InOrder, one: Recorded, nowMs: number): Generator<Recorded> {
  const { waiting } = of;
  if (waiting.length === 0) of.sinceMs = nowMs;
  let at = waiting.length;
  while (at > 0 && waiting[at - 1]!.event.seq > one.event.seq) at--;
  waiting.splice(at, 0, one);
  const isLate = (of: Recorded) => Math.abs(nowMs - of.event.receivedMs!) > ORDER_MS;
  let due = Math.abs(nowMs - of.sinceMs) > ORDER_MS ? waiting.findLastIndex(isLate) + 1 : 0;
  if (waiting.length > MAX_WAITING) due = Math.max(due, 1);
  for (let done = 0; waiting.length > 0 && (done < due || waiting[0]!.event.seq <= of.next); done++) {
    const first = waiting.shift()!;
    of.next = Math.max(of.next, first.event.seq + 1);
    yield first;
  }
  if (due > 0) of.sinceMs = Math.min(...waiting.map(({ event }) => event.receivedMs!), nowMs);
}

async function* inBatches(events: AsyncIterable<Recorded> | Iterable<Recorded>, size: number): AsyncGenerator<Recorded[]> {
  let batch: Recorded[] = [];
  for await (const one of events) {
    batch.push(one);
    if (batch.length < size) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/** When and as what an event of a recording would have reached the detector. */
function arrivalOf(): (of: Recorded) => Arrival {
  const clocks = new Map<string, DeviceClock>();
  // A recording has no boot ids but those its agents said at their start; without one, an epoch is taken for a boot.
  const boots = new Map<string, string>();
  return ({ id, event }) => {
    let clock = clocks.get(event.device);
    if (!clock) {
      clock = new DeviceClock();
      clocks.set(event.device, clock);
    }
    // The time of receipt only decides what is forgotten. An event's own receivedMs would be better, but not every line has one.
    const receivedMs = clock.hear(event.timeMs);
    const epoch = `${event.device}:${event.epoch}`;
    if (event.type === "agent.start") boots.set(epoch, event.body.bootId);
    return { id: shortKey(clean(id, MAX_ID + 1), MAX_ID), boot: boots.get(epoch) ?? event.epoch, receivedMs, silent: false };
  };
}

const asAlert = (detection: Detection): Alert => ({ ...detection, status: "open", notes: [] });

/** When each event of a recording was received: as the broker noted it, or else its own time, made robust. */
export function deviceTime(): (event: SensorEvent) => number {
  const clocks = new Map<string, DeviceClock>();
  return ({ device, timeMs, receivedMs }) => {
    if (receivedMs !== undefined) return receivedMs;
    let clock = clocks.get(device);
    if (!clock) {
      clock = new DeviceClock();
      clocks.set(device, clock);
    }
    return clock.hear(timeMs);
  };
}

const JUMP_MS = 3_600_000;
const AGREE = 8;

/**
 * The time a device has reached, as far as its events agree: one line from the year 9999, or from 1970, must not end every
 * window. A jump of more than an hour counts when eight events in a row are near it.
 */
export class DeviceClock {
  #nowMs: number | undefined;
  #candidateMs = 0;
  #agreeing = 0;

  /** Takes an event's time and returns the device's. Milliseconds. */
  hear(timeMs: number): number {
    if (this.#nowMs === undefined) this.#nowMs = timeMs;
    if (Math.abs(timeMs - this.#nowMs) <= JUMP_MS) {
      this.#agreeing = 0;
      this.#nowMs = Math.max(this.#nowMs, timeMs);
      return this.#nowMs;
    }
    this.#agreeing = Math.abs(timeMs - this.#candidateMs) <= JUMP_MS ? this.#agreeing + 1 : 1;
    this.#candidateMs = timeMs;
    if (this.#agreeing >= AGREE) {
      this.#nowMs = timeMs;
      this.#agreeing = 0;
    }
    return this.#nowMs;
  }
}
