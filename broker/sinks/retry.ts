// When a message that could not be delivered is tried again, and when no more. Pure: the caller brings clock and chance.

const FIRST_DELAY_MS = 5_000;
const MAX_DELAY_MS = 3600_000;
/** After this a message is given up, counted as failed. */
export const GIVE_UP_AFTER_MS = 3 * 24 * 3600_000;
/** A board without a clock can wake up "days later" in a second: so age alone never ends a message. */
const MIN_ATTEMPTS = 3;
/** Tries for a message that the receiver answers with "this message is wrong": it must not hold up the others for three days. */
const MAX_REJECTIONS = 5;

export type Failure = {
  readonly error: string;
  /** The receiver refused this message itself (400, 413, 415, 422), rather than being unable to take any. */
  readonly rejected: boolean;
  /** What the receiver asked for (Retry-After). */
  readonly retryAfterMs?: number;
};

/**
 * Milliseconds until the next try, or "give up". `attempts` counts the failed one too. Doubles from 5 s to 1 h, give or take a fifth,
 * so that a receiver that comes back is not met by everybody at once.
 */
export function nextTry(of: { attempts: number; ageMs: number; failure: Failure; random: number }): number | "give up" {
  if (of.failure.rejected && of.attempts >= MAX_REJECTIONS) return "give up";
  if (of.ageMs >= GIVE_UP_AFTER_MS && of.attempts >= MIN_ATTEMPTS) return "give up";
  const backoffMs = Math.min(FIRST_DELAY_MS * 2 ** Math.min(of.attempts - 1, 20), MAX_DELAY_MS) * (0.8 + 0.4 * of.random);
  return Math.round(Math.max(backoffMs, Math.min(of.failure.retryAfterMs ?? 0, MAX_DELAY_MS)));
}

/** How long to wait for a planned try. A plan further off than any can be was made with another clock: then the time is now. */
export function waitMs(nextMs: number, nowMs: number): number {
  const left = nextMs - nowMs;
  return left > MAX_DELAY_MS * 1.2 ? 0 : Math.max(0, left);
}
