// Things that mean something only by their number: logins refused, hosts tried, files renamed, connections at regular times. Each is a function of the last minutes.
import { isFresh } from "../freshness.ts";
import { shortKey } from "../text.ts";

/** Different things counted at once for a device; the one that was quiet for longest goes first. */
const MAX_KEYS = 128;
/** Longer ones are told apart by their hash. Characters. */
const MAX_OF = 64;
const MAX_KEY = 256;

/** A long `of` is kept as its hash: a device chooses how long it is, and nobody asks what it was, only whether it is another. */
export type Counted = { readonly of: string | number; readonly timeMs: number; readonly receivedMs: number };

/** What was counted under a key in the last `windowMs`, by the device's time and by that of receipt: at most `most`, newest kept. */
export class Tally {
  readonly #windowMs: number;
  readonly #most: number;
  readonly #keys = new Map<string, Counted[]>();

  constructor(windowMs: number, most: number) {
    this.#windowMs = windowMs;
    this.#most = most;
  }

  /** Adds one and returns what counts now, in the order it came. */
  add(name: string, item: Counted): readonly Counted[] {
    const key = shortKey(name, MAX_KEY);
    const before = this.#keys.get(key);
    const kept = before ? before.filter((one) => this.#counts(one, item)) : [];
    kept.push(typeof item.of === "string" && item.of.length > MAX_OF ? { ...item, of: Bun.hash.xxHash32(item.of) } : item);
    if (kept.length > this.#most) kept.shift();
    // The youngest end: what is at the old end was not mentioned for longest.
    if (before) this.#keys.delete(key);
    this.#keys.set(key, kept);
    if (this.#keys.size > MAX_KEYS) this.#keys.delete(this.#keys.keys().next().value!);
    return kept;
  }

  #counts = (one: Counted, now: Counted): boolean =>
    isFresh(one.receivedMs, now.receivedMs, this.#windowMs) && Math.abs(now.timeMs - one.timeMs) <= this.#windowMs;
}

/** How many different things are among them. */
export const different = (of: readonly Counted[]): number => new Set(of.map((one) => one.of)).size;

/** Shortest and longest time between two connections that are called regular, and how far one may be from the middle one. */
const SHORTEST_MS = 4000;
const LONGEST_MS = 180_000;
const JITTER = 0.25;

/** Whether the last `count` of them came at regular times. */
export function isRegular(of: readonly Counted[], count: number): boolean {
  if (of.length < count) return false;
  const last = of.slice(-count);
  const gaps = last.slice(1).map((one, at) => one.timeMs - last[at]!.timeMs);
  const middle = gaps.toSorted((a, b) => a - b)[Math.floor(gaps.length / 2)]!;
  return middle >= SHORTEST_MS && middle <= LONGEST_MS && gaps.every((gap) => Math.abs(gap - middle) <= middle * JITTER);
}
