/** Checks at least this often: a wall clock may jump. */
const LOOK_EVERY_MS = 3600_000;
const FIRST_RETRY_MS = 60_000;

/**
 * Calls `renew` when `dueInMs()` says so, again after 1, 2, 4 ... 60 minutes when it fails, without end: an expired certificate may still renew.
 * Disposing stops it. `setTimer` returns how to cancel.
 */
export function startRenewal(of: {
  readonly dueInMs: () => number;
  readonly renew: () => Promise<void>;
  readonly onFailure: (error: unknown, nextMs: number) => void;
  readonly setTimer?: (work: () => void, ms: number) => () => void;
}): Disposable {
  const setTimer = of.setTimer ?? after;
  let cancel = () => {};
  let stopped = false;
  let failures = 0;
  const look = async () => {
    let nextMs = Math.min(Math.max(of.dueInMs(), 0), LOOK_EVERY_MS);
    if (nextMs === 0) {
      try {
        await of.renew();
        failures = 0;
        nextMs = LOOK_EVERY_MS;
      } catch (error) {
        nextMs = Math.min(FIRST_RETRY_MS * 2 ** failures++, LOOK_EVERY_MS);
        if (!stopped) of.onFailure(error, nextMs);
      }
    }
    if (!stopped) cancel = setTimer(look, nextMs);
  };
  void look();
  return {
    [Symbol.dispose]: () => {
      stopped = true;
      cancel();
    },
  };
}

function after(work: () => void, ms: number): () => void {
  const timer = setTimeout(work, ms);
  return () => clearTimeout(timer);
}
