// How much of each device is taken, and in whose turn. Over quota nothing is lost: the acknowledgement waits, and the device keeps its events.
import { Bucket, type Rate } from "./bucket.ts";

export type QuotaLimits = {
  readonly messagesPerS: number;
  readonly bytesPerS: number;
  readonly eventsPerS: number;
  readonly connectionsPerMinute: number;
};

/** The kinds of message a device sends. */
export type Lane = "events" | "status" | "result" | "sample";
type Cost = { readonly messages?: number; readonly bytes?: number; readonly events?: number };

/**
 * Bursts: what a full buffer of a device holds (500,000 events in batches of 500, with room), so that catching up after days is not slowed;
 * what goes on after that is held to the rate.
 */
const BURST = { messages: 2000, bytes: 64 << 20, events: 600_000 } as const;
/** A heartbeat comes every 15 s, results as often as operators order something. Both write to the store. */
const LANE_RATE: Partial<Record<Lane, Rate>> = { status: { perS: 1, burst: 60 }, result: { perS: 5, burst: 200 } };
/** What is unreadable costs a row, an alert and its way to the sinks. */
const REJECTED: Cost = { messages: 20 };
/** What is taken in one turn of the event loop, from all devices together: no device waits longer than this for its own turn. */
const TURN = { messages: 128, bytes: 4 << 20 } as const;
/** A device that has not waited for this long is no longer throttled. */
const CALM_MS = 10_000;
/** How long a refused connection is told of. */
const REFUSED_MS = 600_000;
/** An agent renews once in ten days, and tries again when the answer was lost. */
const RENEWALS: Rate = { perS: 1 / 3600, burst: 10 };

export type QuotaPorts = {
  readonly limits: QuotaLimits;
  /** A clock that never goes back, milliseconds. */
  readonly nowMs: () => number;
  /** Calls `wake` after so many milliseconds. */
  readonly later: (ms: number, wake: () => void) => Disposable;
};

export type QuotaCounts = {
  /** Messages that had to wait for their quota, connections refused, and messages that could not be read; since the broker started. */
  readonly delayed: number;
  readonly refusedConnections: number;
  readonly rejected: number;
};
export type Throttled = QuotaCounts & {
  readonly device: string /** For how long without a pause, milliseconds. */;
  readonly forMs: number;
};

/** The connection ended before its message had its turn. */
export class Abandoned extends Error {
  override name = "Abandoned";
}

type Waiting = {
  readonly link: object;
  readonly lane: Lane;
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
};
type State = {
  readonly device: string;
  readonly messages: Bucket;
  readonly bytes: Bucket;
  readonly events: Bucket;
  readonly lanes: Partial<Record<Lane, Bucket>>;
  readonly queue: Waiting[];
  /** What waits does so for the device's own quota, not only for its turn. */
  held: boolean;
  delayed: number;
  refusedConnections: number;
  rejected: number;
  throttledSinceMs: number;
  lastDelayedMs: number;
  lastRefusedMs: number;
};

/** Every device's quotas; they outlive connections, or dialling again would fill them. */
export class Quotas implements Disposable {
  readonly #ports: QuotaPorts;
  readonly #devices = new Map<string, State>();
  /** Connections and renewals, by identity. */
  readonly #rare = new Map<string, Bucket>();
  /** Devices with messages that wait, in the order of their turns. */
  readonly #line = new Set<State>();
  #turn: ReturnType<typeof setImmediate> | undefined;
  #alarm: Disposable | undefined;
  #messages = 0;
  #bytes = 0;

  constructor(ports: QuotaPorts) {
    this.#ports = ports;
  }

  /** Whether this identity may open another connection now. */
  mayConnect({ role, name }: { role: string; name: string }): boolean {
    const { limits, nowMs } = this.#ports;
    const perMinute = limits.connectionsPerMinute;
    if (this.#takeOne(`connect ${role}:${name}`, { perS: perMinute / 60, burst: perMinute })) return true;
    if (role === "device") {
      const state = this.#state(name);
      state.refusedConnections++;
      state.lastRefusedMs = nowMs();
    }
    return false;
  }

  /** Whether this device may have another certificate now. */
  mayRenew(device: string): boolean {
    return this.#takeOne(`renew ${device}`, RENEWALS);
  }

  #takeOne(key: string, rate: Rate): boolean {
    const now = this.#ports.nowMs();
    const bucket = this.#rare.get(key) ?? new Bucket(rate, now);
    this.#rare.set(key, bucket);
    if (bucket.waitMs(now) > 0) return false;
    bucket.take(1, now);
    return true;
  }

  /** Resolves when the message may be taken in; undefined: at once. Rejects with `Abandoned` when its connection ends before. */
  pass(of: { link: object; device: string; lane: Lane; bytes: number }): Promise<void> | undefined {
    const state = this.#state(of.device);
    if (state.queue.length === 0 && this.#hasRoom() && this.#waitMs(state, of.lane) === 0) {
      this.#take(state, of);
      return undefined;
    }
    return new Promise((resolve, reject) => {
      state.queue.push({ ...of, resolve, reject });
      this.#line.add(state);
      this.#schedule();
    });
  }

  /** Charges what was known only after the message was read. */
  spend(device: string, cost: Cost): void {
    const state = this.#state(device);
    const now = this.#ports.nowMs();
    if (cost.messages) state.messages.take(cost.messages, now);
    if (cost.bytes) state.bytes.take(cost.bytes, now);
    if (cost.events) state.events.take(cost.events, now);
  }

  /** A message of this device could not be read. */
  rejected(device: string): void {
    this.#state(device).rejected++;
    this.spend(device, REJECTED);
  }

  /** The connection ended: what it sent and nobody took in is not acknowledged, and comes again. */
  abandon(link: object, device: string): void {
    const state = this.#devices.get(device);
    if (!state) return;
    const gone = state.queue.filter((one) => one.link === link);
    if (gone.length === 0) return;
    const kept = state.queue.filter((one) => one.link !== link);
    state.queue.splice(0, state.queue.length, ...kept);
    if (kept.length === 0) {
      this.#line.delete(state);
      state.held = false;
    }
    for (const { reject } of gone) reject(new Abandoned("the connection ended while its message waited for the device's quota"));
  }

  counts(device: string): QuotaCounts {
    const { delayed, refusedConnections, rejected } = this.#devices.get(device) ?? { delayed: 0, refusedConnections: 0, rejected: 0 };
    return { delayed, refusedConnections, rejected };
  }

  /** Sums of all devices, since the broker started. */
  totals(): { delayed: number; refusedConnections: number } {
    let [delayed, refusedConnections] = [0, 0];
    for (const state of this.#devices.values()) {
      delayed += state.delayed;
      refusedConnections += state.refusedConnections;
    }
    return { delayed, refusedConnections };
  }

  /** Devices that are held back now, or whose connections were refused a moment ago; those held back longest first. */
  throttled(): Throttled[] {
    const now = this.#ports.nowMs();
    return [...this.#devices.values()]
      .map((state) => {
        const held = state.held || now - state.lastDelayedMs < CALM_MS;
        return { state, forMs: held ? now - state.throttledSinceMs : 0, shown: held || now - state.lastRefusedMs < REFUSED_MS };
      })
      .filter(({ shown }) => shown)
      .map(({ state, forMs }) => ({ device: state.device, forMs, ...this.counts(state.device) }))
      .sort((a, b) => b.forMs - a.forMs);
  }

  [Symbol.dispose](): void {
    if (this.#turn) clearImmediate(this.#turn);
    this.#alarm?.[Symbol.dispose]();
    for (const { queue } of this.#line) for (const { reject } of queue.splice(0)) reject(new Abandoned("the broker stops"));
    this.#line.clear();
  }

  #state(device: string): State {
    const known = this.#devices.get(device);
    if (known) return known;
    const { limits } = this.#ports;
    const now = this.#ports.nowMs();
    const bucket = (perS: number, burst: number) => new Bucket({ perS, burst: Math.max(burst, perS) }, now);
    const state: State = {
      device,
      messages: bucket(limits.messagesPerS, BURST.messages),
      bytes: bucket(limits.bytesPerS, BURST.bytes),
      events: bucket(limits.eventsPerS, BURST.events),
      lanes: Object.fromEntries(Object.entries(LANE_RATE).map(([lane, rate]) => [lane, new Bucket(rate, now)])),
      queue: [],
      ...{ held: false, delayed: 0, refusedConnections: 0, rejected: 0 },
      ...{ throttledSinceMs: Number.NEGATIVE_INFINITY, lastDelayedMs: Number.NEGATIVE_INFINITY },
      lastRefusedMs: Number.NEGATIVE_INFINITY,
    };
    this.#devices.set(device, state);
    return state;
  }

  #hasRoom(): boolean {
    return this.#messages < TURN.messages && this.#bytes < TURN.bytes;
  }

  #waitMs(state: State, lane: Lane): number {
    const now = this.#ports.nowMs();
    return Math.max(
      state.messages.waitMs(now),
      state.bytes.waitMs(now),
      lane === "events" ? state.events.waitMs(now) : 0,
      state.lanes[lane]?.waitMs(now) ?? 0,
    );
  }

  #take(state: State, { lane, bytes }: { lane: Lane; bytes: number }): void {
    const now = this.#ports.nowMs();
    state.messages.take(1, now);
    state.bytes.take(bytes, now);
    state.lanes[lane]?.take(1, now);
    this.#messages++;
    this.#bytes += bytes;
    this.#schedule();
  }

  #schedule(): void {
    this.#turn ??= setImmediate(() => this.#next());
  }

  /** One message of each device in turn, until this turn is full or nobody may come. */
  #next(): void {
    this.#turn = undefined;
    this.#messages = 0;
    this.#bytes = 0;
    let ready = [...this.#line];
    let soonestMs = Number.POSITIVE_INFINITY;
    while (ready.length > 0) {
      const again: State[] = [];
      for (const state of ready) {
        // What is left comes in the turn that was asked for when this one began to take.
        if (!this.#hasRoom()) return;
        const head = state.queue[0];
        if (!head) continue;
        const waitMs = this.#waitMs(state, head.lane);
        if (waitMs > 0) {
          this.#noteDelay(state);
          soonestMs = Math.min(soonestMs, waitMs);
          continue;
        }
        this.#serve(state);
        again.push(state);
      }
      ready = again;
    }
    this.#alarm?.[Symbol.dispose]();
    this.#alarm = Number.isFinite(soonestMs) ? this.#ports.later(soonestMs, () => this.#schedule()) : undefined;
  }

  /** Takes the device's first message, and moves the device to the end of the line. */
  #serve(state: State): void {
    const head = state.queue.shift()!;
    this.#line.delete(state);
    if (state.held) state.delayed++;
    if (state.queue.length > 0) this.#line.add(state);
    else state.held = false;
    this.#take(state, head);
    head.resolve();
  }

  #noteDelay(state: State): void {
    const now = this.#ports.nowMs();
    if (now - state.lastDelayedMs >= CALM_MS) state.throttledSinceMs = now;
    state.lastDelayedMs = now;
    state.held = true;
  }
}
