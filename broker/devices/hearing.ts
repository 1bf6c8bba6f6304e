// Whether the broker itself can hear: what it misses while it was down, frozen or off its network is nobody's silence.

/** Between two looks, more than this means that the broker stood still. */
export const FROZEN_MS = 30_000;

export class Hearing {
  readonly #hasNetwork: () => boolean;
  /** Since when devices on this host, and since when those elsewhere, could be heard. */
  #hereMs: number;
  #thereMs: number;
  #lookedMs: number;
  #hadNetwork: boolean;
  #deaf = false;

  /** `hasNetwork`: whether an interface that leads out of this host is up. */
  constructor(nowMs: number, hasNetwork: () => boolean) {
    this.#hereMs = this.#thereMs = this.#lookedMs = nowMs;
    this.#hasNetwork = hasNetwork;
    this.#hadNetwork = hasNetwork();
  }

  /** Call every some seconds. Returns what changed, to be logged. */
  look(nowMs: number): "off" | "on" | "frozen" | undefined {
    const frozen = nowMs - this.#lookedMs > FROZEN_MS;
    this.#lookedMs = nowMs;
    const has = this.#hasNetwork();
    this.#hadNetwork ||= has;
    const was = this.#deaf;
    // A site that never had a network has its devices on this host.
    this.#deaf = this.#hadNetwork && !has;
    if (frozen) this.#hereMs = nowMs;
    if (this.#deaf || was || frozen) this.#thereMs = nowMs;
    if (this.#deaf !== was) return was ? "on" : "off";
    return frozen ? "frozen" : undefined;
  }

  sinceMs(onThisHost: boolean): number {
    return onThisHost ? this.#hereMs : this.#thereMs;
  }
}
