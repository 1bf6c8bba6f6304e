// Frozen frequency tables: in how many minutes a device, or all devices of a site, had a program, a pair, a network, a port, a place.
import { type Kind, kinds } from "./keys.ts";
import type { Minute } from "./window.ts";

/** What is known of a past. */
export type Known = {
  /** Minutes it was learnt from. */
  readonly minutes: number;
  /** In how many of them the key was there. */
  count(kind: Kind, hash: number): number;
};

/** Sorted by hash; minutes saturate at 65,535. */
export type Frequencies = { readonly hashes: Uint32Array; readonly minutes: Uint16Array };
export type Table = { readonly minutes: number; readonly of: Readonly<Record<Kind, Frequencies>> };

/** Keys of a kind kept of one device and of a site: the most frequent ones. */
export const MAX_DEVICE_KEYS = 2000;
export const MAX_SITE_KEYS = 20_000;
const SATURATED = 0xffff;

/** Counts minutes. */
export class Tally {
  minutes = 0;
  readonly #of = Object.fromEntries(kinds.map((kind) => [kind, new Map<number, number>()])) as Record<Kind, Map<number, number>>;

  add(minute: Minute): void {
    this.minutes++;
    for (const kind of kinds) {
      const counts = this.#of[kind];
      for (const hash of minute.keys[kind].hashes) counts.set(hash, (counts.get(hash) ?? 0) + 1);
    }
  }

  count(kind: Kind, hash: number): number {
    return this.#of[kind].get(hash) ?? 0;
  }

  /** The most frequent keys, of those that `keep` takes. */
  table(maxKeys: number, keep: (kind: Kind, hash: number) => boolean = () => true): Table {
    const of = Object.fromEntries(
      kinds.map((kind) => {
        const most = [...this.#of[kind]]
          .filter(([hash]) => keep(kind, hash))
          .sort((a, b) => b[1] - a[1] || a[0] - b[0])
          .slice(0, maxKeys);
        most.sort((a, b) => a[0] - b[0]);
        return [
          kind,
          {
            hashes: Uint32Array.from(most, ([hash]) => hash),
            minutes: Uint16Array.from(most, ([, count]) => Math.min(count, SATURATED)),
          },
        ];
      }),
    ) as Record<Kind, Frequencies>;
    return { minutes: this.minutes, of };
  }
}

/** A table as what is known. */
export const knownOf = ({ minutes, of }: Table): Known => ({
  minutes,
  count(kind, hash) {
    const { hashes, minutes: counts } = of[kind];
    let from = 0;
    let to = hashes.length - 1;
    while (from <= to) {
      const at = (from + to) >>> 1;
      const there = hashes[at]!;
      if (there === hash) return counts[at]!;
      if (there < hash) from = at + 1;
      else to = at - 1;
    }
    return 0;
  },
});

/** What all others know: a site's past without that of one device. */
export const without = (all: Known, one: Known): Known => ({
  minutes: all.minutes - one.minutes,
  count: (kind, hash) => Math.max(0, all.count(kind, hash) - one.count(kind, hash)),
});
