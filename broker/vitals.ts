// What the running broker counts of its own work, since it started. What survives a restart is in the store.
import { type Distribution, Histogram } from "@picket/protocol/metrics";

/** From a fast disk's fsync to one that is about to fail, seconds. */
const COMMIT_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export type VitalSigns = {
  readonly events: number;
  readonly batches: number;
  readonly bytes: number;
  /** When events were last stored; undefined since the start. */
  readonly storedMs: number | undefined;
  /** Acknowledgements that had to wait, for the disk or for the detector. */
  readonly withheld: { readonly disk: number; readonly pace: number };
  readonly commit: Distribution;
};

export class Vitals {
  #events = 0;
  #batches = 0;
  #bytes = 0;
  #storedMs: number | undefined;
  readonly #withheld = { disk: 0, pace: 0 };
  readonly #commit = new Histogram(COMMIT_BOUNDS);

  stored({ runs, payload, receivedMs }: { runs: readonly (readonly [number, number])[]; payload: Uint8Array; receivedMs: number }): void {
    for (const [, count] of runs) this.#events += count;
    this.#batches++;
    this.#bytes += payload.length;
    this.#storedMs = receivedMs;
  }

  /** Counts an acknowledgement that waits; passes on what it waits for. */
  withhold(why: "disk" | "pace", wait: Promise<void> | undefined): Promise<void> | undefined {
    if (wait) this.#withheld[why]++;
    return wait;
  }

  committed(seconds: number): void {
    this.#commit.observe(seconds);
  }

  signs(): VitalSigns {
    return {
      ...{ events: this.#events, batches: this.#batches, bytes: this.#bytes, storedMs: this.#storedMs },
      withheld: { ...this.#withheld },
      commit: this.#commit.distribution(),
    };
  }
}
