// A token bucket that lets what came through and makes the next one wait for it.

/** Units a second in the long run, and how many at once. */
export type Rate = { readonly perS: number; readonly burst: number };

/** Time is given in milliseconds of a clock that never goes back. */
export class Bucket {
  readonly #rate: Rate;
  #left: number;
  #atMs: number;

  constructor(rate: Rate, nowMs: number) {
    this.#rate = rate;
    this.#left = rate.burst;
    this.#atMs = nowMs;
  }

  /** Takes `units`. It may go below zero, or one message larger than the burst could never come. */
  take(units: number, nowMs: number): void {
    this.#refill(nowMs);
    this.#left -= units;
  }

  /** Milliseconds until the next one may come; 0: now. */
  waitMs(nowMs: number): number {
    this.#refill(nowMs);
    return this.#left > 0 ? 0 : Math.ceil((-this.#left / this.#rate.perS) * 1000) + 1;
  }

  #refill(nowMs: number): void {
    this.#left = Math.min(this.#rate.burst, this.#left + (Math.max(0, nowMs - this.#atMs) / 1000) * this.#rate.perS);
    this.#atMs = nowMs;
  }
}
