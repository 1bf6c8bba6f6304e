// Which indicators a list had before, and since which generation: by 64 bits of their hash, 24 bytes each, so that a list of a million fits.
import type { Indicator } from "@picket/protocol/ioc-value";

export class KnownIocs {
  readonly #high: Uint32Array;
  readonly #low: Uint32Array;
  readonly #added: Uint32Array;
  readonly #mask: number;
  #left: number;

  /** For at most so many. */
  constructor(count: number) {
    const slots = 2 ** Math.ceil(Math.log2(Math.max(16, count * 2)));
    this.#high = new Uint32Array(slots);
    this.#low = new Uint32Array(slots);
    this.#added = new Uint32Array(slots);
    this.#mask = slots - 1;
    this.#left = count;
  }

  /** `added` is above 0. Of equals the first counts. */
  add(of: Indicator, added: number): void {
    if (this.#left === 0) return;
    const slot = this.#slot(of);
    if (this.#added[slot] !== 0) return;
    this.#added[slot] = added;
    this.#left--;
  }

  /** Undefined when it was not in the list. */
  addedOf(of: Indicator): number | undefined {
    const slot = this.#slot(of);
    const added = this.#added[slot]!;
    if (added !== 0) return added;
    // A place that was only looked at stays free.
    this.#high[slot] = this.#low[slot] = 0;
    return undefined;
  }

  #slot({ kind, value }: Indicator): number {
    const hash = Bun.hash.wyhash(`${kind} ${value}`) as bigint;
    const [high, low] = [Number(hash >> 32n), Number(hash & 0xffffffffn)];
    for (let slot = low & this.#mask; ; slot = (slot + 1) & this.#mask) {
      if (this.#added[slot] === 0) {
        this.#high[slot] = high;
        this.#low[slot] = low;
        return slot;
      }
      if (this.#high[slot] === high && this.#low[slot] === low) return slot;
    }
  }
}
