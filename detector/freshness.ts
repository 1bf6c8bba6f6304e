// What the detector may still know. Everything it remembers was received in the last LOOKBACK_MS, or was committed:
// exactly what a restarted detector gets back, so both decide the same.
import { LOOKBACK_MS } from "@picket/protocol/feed";

/** Longest time between the first and the last event of one alert, and how long anything is remembered. Milliseconds. */
export const WINDOW_MS = LOOKBACK_MS;

// A chain that was found rests on steps, and those on links between processes. What is decided now may rest on a chain found DERIVED_MS ago, on
// steps STEP_MS before it, on links LINK_MS before those: together no more than the lookback, or a restarted detector would know less.
/** How long a found chain adds to the score of its process. */
export const DERIVED_MS = LOOKBACK_MS / 2;
/** How far apart the steps of a chain may be received. */
export const STEP_MS = LOOKBACK_MS / 5;
/** How long a parent counts after an event last stated it. Every exec states all ancestors. */
export const LINK_MS = LOOKBACK_MS - DERIVED_MS - STEP_MS;

/**
 * Whether something received at `thenMs` still counts when a batch received at `nowMs` is judged. Both times are the broker's;
 * a difference the wrong way round means its clock was set back, and what was remembered is worth nothing.
 */
export const isFresh = (thenMs: number, nowMs: number, windowMs: number = WINDOW_MS): boolean => Math.abs(nowMs - thenMs) <= windowMs;
