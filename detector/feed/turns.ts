// Who may use the detector's one thread, and for how long. It decides when something is judged, never how: what comes out is the same.
import { FAIR_MS } from "./meter.ts";

/** Judging goes on this long before the connection has its turn again: a batch made to be slow must not look like a dead detector to the broker. */
const TURN_MS = 100;
/** A lane's turn: how long what happens now may have to wait for it. */
const LANE_TURN_MS = 30;
/** Lanes get a turn this often however busy the main cursor is, so that a backlog ends one day. */
const LANE_EVERY_MS = 150;
/** How soon a lane asks again while it may not. */
const ASK_AGAIN_MS = 10;

/** Of a core, what one device may use beyond that, and how much of it at once, milliseconds. */
const SHARE = 0.05;
const BURST_MS = 500;

export class Turns {
  readonly #nowMs: () => number;
  /** Whether the main cursor has something to judge. */
  readonly #mainBusy: () => boolean;
  #lanesMs = Number.NEGATIVE_INFINITY;
  readonly #debts = new Map<string, { ms: number; atMs: number }>();

  /** `nowMs` never jumps. */
  constructor(nowMs: () => number, mainBusy: () => boolean) {
    this.#nowMs = nowMs;
    this.#mainBusy = mainBusy;
  }

  /** How long judging may go on now, milliseconds; 0: not now. */
  turnMs(lane: number): number {
    if (lane === 0) return TURN_MS;
    const nowMs = this.#nowMs();
    if (this.#mainBusy() && nowMs - this.#lanesMs < LANE_EVERY_MS) return 0;
    this.#lanesMs = nowMs;
    return LANE_TURN_MS;
  }

  later(lane: number, work: () => void): void {
    if (lane !== 0 && this.#mainBusy()) setTimeout(work, ASK_AGAIN_MS);
    else setImmediate(work);
  }

  /** Whether a device used more than its share by events that cost more than events do: command lines made to be slow. */
  isUnfair({ device, ms, events }: { device: string; ms: number; events: number }): boolean {
    const beyond = ms - events * FAIR_MS;
    const debt = this.#debts.get(device);
    if (beyond <= 0 && !debt) return false;
    const nowMs = this.#nowMs();
    const left = Math.max(0, (debt?.ms ?? 0) - (debt ? (nowMs - debt.atMs) * SHARE : 0) + beyond);
    if (left === 0) this.#debts.delete(device);
    else this.#debts.set(device, { ms: left, atMs: nowMs });
    return left > BURST_MS;
  }
}
