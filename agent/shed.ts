// The agent keeps its share of the machine: above a rate, of one process or of all, it lets go of the least valuable events, and says how many.
import type { EventType, SensorEvent } from "@picket/protocol/event";

/** 2: never shed. 1: shed when nothing is left of the allowance. 0: shed when half of it is gone. */
function worth(event: SensorEvent): 0 | 1 | 2 {
  if (event.hits?.length) return 2;
  return byType[event.type];
}

// Exhaustive: a new event type must say what it is worth.
const byType: Record<EventType, 0 | 1 | 2> = {
  "process.exec": 1,
  "process.exit": 0,
  "process.ptrace": 1,
  "process.memfd": 1,
  "process.io_uring": 1,
  "process.setuid": 1,
  "file.open": 0,
  "file.create": 0,
  "file.modify": 0,
  "file.rename": 0,
  "file.delete": 0,
  "file.chmod": 0,
  // Comes once for each file, and the site may never learn of it again.
  "file.hash": 1,
  "file.integrity": 2,
  "net.connect": 1,
  "net.listen": 1,
  "net.accept": 0,
  "net.dns": 0,
  "kernel.module": 2,
  "kernel.bpf": 1,
  "kernel.mount": 1,
  "device.usb": 1,
  "auth.login": 1,
  "auth.sudo": 1,
  "log.line": 0,
  "host.metrics": 0,
  "host.inventory": 0,
  "agent.start": 2,
  "agent.stop": 2,
  "sensor.state": 2,
  "sensor.lost": 2,
  "response.result": 2,
};

/** Seconds of an allowed rate that may come at once. */
const BURST_S = 10;
/** Processes told apart. The one that has been quiet for longest is forgotten first, with an allowance that is most likely full again. */
const MAX_PROCESSES = 1024;

/** How much the agent must let go of to keep to its share of the machine (own-use.ts): nothing, all worth 0, all worth 0 and 1. */
export type Strain = 0 | 1 | 2;

export type Rates = {
  /** Kept of all, on average. May change. */
  eventsPerS: number;
  /** Kept of one process, on average: files and connections, of which it can make thousands a second. */
  readonly eventsPerProcessPerS: number;
};

/**
 * Tells whether an event is kept. Token buckets with a burst of ten seconds: one for all, and one for each process, so that a single busy one leaves
 * room for the others. `nowMs` is a clock that never jumps.
 */
export function createShedder(rates: Rates, nowMs: () => number, strain: () => Strain = () => 0): (event: SensorEvent) => boolean {
  const all = createBucket(rates.eventsPerS, nowMs());
  const processes = new Map<string, Bucket>();
  const bucketOf = (key: string, now: number): Bucket => {
    const bucket = processes.get(key) ?? createBucket(rates.eventsPerProcessPerS, now);
    processes.delete(key);
    processes.set(key, bucket);
    const oldest = processes.size > MAX_PROCESSES ? processes.keys().next().value : undefined;
    if (oldest !== undefined) processes.delete(oldest);
    return bucket;
  };
  return (event) => {
    const now = nowMs();
    all.full = rates.eventsPerS * BURST_S;
    const value = worth(event);
    const key = processOf(event);
    const own = key === undefined ? undefined : bucketOf(key, now);
    const keep = value === 2 || (strain() <= value && has(all, value, now) && (!own || has(own, value, now)));
    if (!keep) return false;
    take(all, now);
    if (own) take(own, now);
    return true;
  };
}

/** Whose allowance an event is taken from. A program start is the child's first and its end the last: they would be in nobody's way. */
function processOf({ type, body }: SensorEvent): string | undefined {
  if (!/^(?:file|net)\./.test(type) || !("process" in body) || !body.process) return undefined;
  return `${body.process.pid} ${body.process.startTicks}`;
}

type Bucket = { full: number; left: number; lastMs: number };
const createBucket = (perS: number, now: number): Bucket => ({ full: perS * BURST_S, left: perS * BURST_S, lastMs: now });

function has(bucket: Bucket, value: 0 | 1, now: number): boolean {
  refill(bucket, now);
  return value === 1 ? bucket.left >= 1 : bucket.left >= bucket.full / 2;
}

function take(bucket: Bucket, now: number): void {
  refill(bucket, now);
  bucket.left = Math.max(0, bucket.left - 1);
}

function refill(bucket: Bucket, now: number): void {
  bucket.left = Math.min(bucket.full, bucket.left + ((now - bucket.lastMs) / 1000) * (bucket.full / BURST_S));
  bucket.lastMs = now;
}
