// How often something was seen on a device, across restarts: the broker keeps the totals.
import type { Seen } from "@picket/protocol/feed";
import { shortKey } from "../text.ts";

/** Past this a thing is common for good, and its total is not sent any more. */
export const SATURATED = 1000;
/** Different things remembered for a device and kind; what comes after them is never taken for rare. */
export const MAX_KEYS = 4096;
/** A thing seen more often than this on a device is its habit. */
export const RARE = 6;
const MAX_KEY = 512;

/** How the broker's totals are split: parent and child programs, programs that connect, and execs at all. */
export type SightingKind = "pair" | "connect" | "exec";

type Count = {
  readonly device: string;
  readonly kind: SightingKind;
  readonly key: string;
  /** Total at the cursor, as the broker keeps it. */
  seed: number;
  /** Seen while re-reading what lies before the cursor: already part of `seed`. */
  silent: number;
  /** All seen in this session. */
  session: number;
  changed: boolean;
};

/** One sighting; `ordinalOf` says the how-manieth it was. */
export type Sighting = { readonly of: Count; readonly index: number };

/** The how-manieth sighting of its thing this was, from 1. Meaningful once the silent re-read is over. */
export function ordinalOf(sighting: Sighting): number {
  const { seed, silent } = sighting.of;
  if (seed >= SATURATED) return SATURATED;
  return Math.max(0, seed - silent) + sighting.index;
}

export class Sightings {
  readonly #devices = new Map<string, Record<SightingKind, Map<string, Count>>>();
  #changed: Count[] = [];

  /** Takes the broker's totals, before anything is noted. */
  seed(seen: readonly Seen[]): void {
    for (const { device, kind, key, count } of seen) if (isKind(kind)) this.#count(device, kind, key).seed = count;
  }

  /** Notes one sighting. Undefined when there are too many different things to tell whether this one is rare. */
  note(device: string, kind: SightingKind, name: string, silent: boolean): Sighting | undefined {
    const key = shortKey(name, MAX_KEY);
    const counts = this.#of(device)[kind];
    let count = counts.get(key);
    if (!count) {
      if (counts.size >= MAX_KEYS) return undefined;
      count = this.#count(device, kind, key);
    }
    const sighting = { of: count, index: ++count.session };
    if (silent) count.silent++;
    else if (!count.changed && ordinalOf(sighting) <= SATURATED && count.seed < SATURATED) {
      count.changed = true;
      this.#changed.push(count);
    }
    return sighting;
  }

  /** The latest sighting so far, without adding one. */
  latest(device: string, kind: SightingKind, name: string): Sighting {
    const count = this.#of(device)[kind].get(name) ?? this.#count(device, kind, name);
    return { of: count, index: count.session };
  }

  forget(device: string): void {
    this.#devices.delete(device);
    this.#changed = this.#changed.filter((count) => count.device !== device);
  }

  /** Totals that changed and were not taken yet. */
  get pending(): number {
    return this.#changed.length;
  }

  /** New totals since the last call, at most `SATURATED` each. */
  take(): Seen[] {
    return this.#changed.splice(0).map((count) => {
      count.changed = false;
      const total = Math.max(count.seed, count.silent) + count.session - count.silent;
      return { device: count.device, kind: count.kind, key: count.key, count: Math.min(SATURATED, total) };
    });
  }

  #of(device: string): Record<SightingKind, Map<string, Count>> {
    let kinds = this.#devices.get(device);
    if (!kinds) {
      kinds = { pair: new Map(), connect: new Map(), exec: new Map() };
      this.#devices.set(device, kinds);
    }
    return kinds;
  }

  #count(device: string, kind: SightingKind, key: string): Count {
    const count: Count = { device, kind, key, seed: 0, silent: 0, session: 0, changed: false };
    this.#of(device)[kind].set(key, count);
    return count;
  }
}

const isKind = (kind: string): kind is SightingKind => kind === "pair" || kind === "connect" || kind === "exec";
