// How often something was seen on a device, across restarts: the broker keeps the totals.
import type { Seen } from "@picket/protocol/feed";
import { shortKey } from "../text.ts";
import { Marks } from "./marks.ts";

/** Past this a thing is common for good, and its total is not sent any more. */
export const SATURATED = 1000;
/** Different things remembered for a device and kind; what comes after them is never taken for rare. */
export const MAX_KEYS = 4096;
/** A thing seen more often than this on a device is its habit. */
export const RARE = 6;
const MAX_KEY = 512;

/** On so many devices it is a habit of the site, and rare on none of them. Three, so that one that was broken into cannot vouch for another. */
export const SITE_HABIT = 3;

/** How the broker's totals are split: parent and child programs, programs that connect, where to, and execs at all. */
const kinds = ["pair", "connect", "far", "exec"] as const;
export type SightingKind = (typeof kinds)[number];
type OfKinds<T> = Record<SightingKind, T>;
const ofKinds = <T>(make: () => T): OfKinds<T> => ({ pair: make(), connect: make(), far: make(), exec: make() });

/** On how many devices of the site a thing was seen. */
type OnSite = { devices: number };

type Count = {
  readonly device: string;
  readonly kind: SightingKind;
  readonly key: string;
  readonly site: OnSite;
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

/** On how many devices of the site this was seen, this one included. */
export const devicesOf = (sighting: Sighting): number => sighting.of.site.devices;

/** Whether it was seen at most six times on its device, and is no habit of the site. */
export const isRare = (sighting: Sighting): boolean => ordinalOf(sighting) <= RARE && devicesOf(sighting) < SITE_HABIT;

export class Sightings {
  readonly #devices = new Map<string, OfKinds<Map<string, Count>>>();
  readonly #site = ofKinds(() => new Map<string, OnSite>());
  /** Kept at the broker beside the totals. */
  readonly marks = new Marks();
  #changed: Count[] = [];

  /** Takes the broker's totals, before anything is noted. */
  seed(seen: readonly Seen[]): void {
    for (const row of seen) {
      const { device, kind, key, count } = row;
      if (isKind(kind)) this.#count(device, kind, key).seed = count;
      else this.marks.seed(row);
    }
  }

  /** Devices of the site that started a program, as far as it is known. */
  get devices(): number {
    return this.#site.exec.get("all")?.devices ?? 0;
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
    // Where there is none it stays unknown: only what was noted is known again after a restart.
    const count = this.#of(device)[kind].get(name) ?? newCount(device, kind, name, { devices: 0 });
    return { of: count, index: count.session };
  }

  forget(device: string): void {
    for (const of of Object.values(this.#devices.get(device) ?? {}))
      for (const { kind, key, site } of of.values()) if (--site.devices === 0) this.#site[kind].delete(key);
    this.#devices.delete(device);
    this.#changed = this.#changed.filter((count) => count.device !== device);
    this.marks.forget(device);
  }

  /** Totals and marks that changed and were not taken yet. */
  get pending(): number {
    return this.#changed.length + this.marks.pending;
  }

  /** New totals since the last call, at most `SATURATED` each. */
  take(): Seen[] {
    const totals = this.#changed.splice(0).map((count) => {
      count.changed = false;
      const total = Math.max(count.seed, count.silent) + count.session - count.silent;
      return { device: count.device, kind: count.kind, key: count.key, count: Math.min(SATURATED, total) };
    });
    return [...totals, ...this.marks.take()];
  }

  #of(device: string): OfKinds<Map<string, Count>> {
    let of = this.#devices.get(device);
    if (!of) {
      of = ofKinds(() => new Map<string, Count>());
      this.#devices.set(device, of);
    }
    return of;
  }

  #count(device: string, kind: SightingKind, key: string): Count {
    const of = this.#of(device)[kind];
    const known = of.get(key);
    if (known) return known;
    const site = this.#site[kind].get(key) ?? { devices: 0 };
    this.#site[kind].set(key, site);
    site.devices++;
    const count = newCount(device, kind, key, site);
    of.set(key, count);
    return count;
  }
}

const newCount = (device: string, kind: SightingKind, key: string, site: OnSite): Count => ({
  device,
  kind,
  key,
  site,
  seed: 0,
  silent: 0,
  session: 0,
  changed: false,
});

const isKind = (kind: string): kind is SightingKind => (kinds as readonly string[]).includes(kind);
