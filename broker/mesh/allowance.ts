// How much of a peer is taken. What it may not send yet it keeps: an honest peer that was away for days loses nothing by it.
import { WINDOW } from "@picket/protocol/mesh-limits";

export type Rate = { readonly itemsPerS: number; readonly burst: number; readonly bytesPerS: number; readonly burstBytes: number };

/** The burst is a whole log: who comes back after days catches up at full speed, who floods is held to the rate after it. */
export const STANDARD_RATE: Rate = { itemsPerS: 20, burst: 20_000, bytesPerS: 256 << 10, burstBytes: 128 << 20 };

/** A peer limited to `itemsPerS`, with a burst of ten seconds. */
export const limitedRate = (itemsPerS: number): Rate => ({
  itemsPerS,
  burst: Math.max(1, itemsPerS * 10),
  bytesPerS: itemsPerS * (8 << 10),
  burstBytes: 1 << 20,
});

/** Two token buckets. It outlives connections, or a peer could fill it by dialling again. */
export class Allowance {
  readonly #rate: Rate;
  #items: number;
  #bytes: number;
  #atMs: number;

  constructor(rate: Rate, nowMs: number) {
    this.#rate = rate;
    this.#items = rate.burst;
    this.#bytes = rate.burstBytes;
    this.#atMs = nowMs;
  }

  /** Takes up to `want` items and returns how many may come. */
  take(want: number, nowMs: number): number {
    this.#refill(nowMs);
    if (this.#bytes <= 0) return 0;
    const granted = Math.max(0, Math.min(want, WINDOW, Math.floor(this.#items)));
    this.#items -= granted;
    return granted;
  }

  /** Items that were granted and can no longer come. */
  giveBack(items: number): void {
    this.#items = Math.min(this.#rate.burst, this.#items + items);
  }

  /** Bytes that came: their number is known only then, so it may go below zero. */
  spend(bytes: number): void {
    this.#bytes -= bytes;
  }

  #refill(nowMs: number): void {
    const seconds = Math.max(0, nowMs - this.#atMs) / 1000;
    this.#atMs = nowMs;
    this.#items = Math.min(this.#rate.burst, this.#items + seconds * this.#rate.itemsPerS);
    this.#bytes = Math.min(this.#rate.burstBytes, this.#bytes + seconds * this.#rate.bytesPerS);
  }
}
