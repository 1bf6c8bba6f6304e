// Keeps trying to be connected to one peer.
import { setTimeout as sleep } from "node:timers/promises";

const FIRST_MS = 100;
const LAST_MS = 15_000;
/** A connection that lasted this long starts the pauses anew. */
const STEADY_MS = 30_000;

/** 100 ms x 2^n up to 15 s, of which a random half to all, so that peers of a broker that restarts do not come back in one instant. */
export const pauseMs = (failures: number, random: number): number =>
  Math.round(Math.min(LAST_MS, FIRST_MS * 2 ** Math.min(failures, 10)) * (0.5 + random / 2));

/**
 * Runs `attempt` again and again until `signal` aborts. An attempt resolves, with the reason, when a connection it had is over, and rejects when it
 * got none. Never rejects.
 */
export async function keepDialling(of: {
  readonly attempt: (signal: AbortSignal) => Promise<string>;
  readonly failed: (why: string) => void;
  readonly signal: AbortSignal;
  readonly random: () => number;
}): Promise<void> {
  let failures = 0;
  while (!of.signal.aborted) {
    const began = performance.now();
    try {
      await of.attempt(of.signal);
    } catch (error) {
      if (of.signal.aborted) return;
      of.failed(error instanceof Error ? error.message : String(error));
    }
    if (performance.now() - began > STEADY_MS) failures = 0;
    await sleep(pauseMs(failures++, of.random()), undefined, { signal: of.signal }).catch(() => undefined);
  }
}
