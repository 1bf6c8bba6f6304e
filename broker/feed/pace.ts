// Old events wait for the detector, so that the log never gets far ahead of it and what happens now is not behind what happened yesterday.

/** Events older than this when they arrive were kept by their device for want of a connection. */
const OLD_MS = 10 * 60_000;
/** Batches the detector may be behind before old ones wait for it, and how long one waits at most: the device's connection must not look dead. */
const PACE_BATCHES = 256;
const PACE_MS = 5000;

export class Pace {
  readonly #waiting = new Set<() => void>();
  readonly #nowMs: () => number;
  /** Batches that the detector, if there is one, was not fast enough for. */
  readonly #undecided: () => number;

  constructor(nowMs: () => number, undecided: () => number) {
    this.#nowMs = nowMs;
    this.#undecided = undecided;
  }

  /** Undefined when a batch whose first event is of this time may be stored now; otherwise resolves when the detector has caught up, or after some seconds. */
  wait(firstMs: number | undefined): Promise<void> | undefined {
    const isOld = firstMs !== undefined && this.#nowMs() - firstMs > OLD_MS;
    if (!isOld || this.#undecided() < PACE_BATCHES) return undefined;
    return new Promise<void>((resolve) => {
      const go = () => {
        clearTimeout(late);
        this.#waiting.delete(go);
        resolve();
      };
      const late = setTimeout(go, PACE_MS);
      this.#waiting.add(go);
    });
  }

  /** Lets as many in as the detector has made room for. */
  letIn(): void {
    let room = PACE_BATCHES - this.#undecided();
    for (const go of this.#waiting) {
      if (room-- <= 0) return;
      go();
    }
  }
}
