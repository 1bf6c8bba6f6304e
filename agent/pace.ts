// A budget of bytes a second, for work that may wait.

/** Resolves when `bytes` more may be spent. */
export type Pace = (bytes: number) => Promise<void>;

/** At most this long ahead: what was not spent while idle is not saved up for longer. */
const BURST_MS = 250;

/** `nowMs` is a clock that never jumps. */
export function createPace(
  bytesPerS: number,
  nowMs: () => number = () => performance.now(),
  sleep: (ms: number) => Promise<void> = Bun.sleep,
): Pace {
  let freeMs = Number.NEGATIVE_INFINITY;
  return async (bytes) => {
    freeMs = Math.max(freeMs, nowMs() - BURST_MS) + (bytes / bytesPerS) * 1000;
    const waitMs = freeMs - nowMs();
    if (waitMs > 0) await sleep(waitMs);
  };
}
