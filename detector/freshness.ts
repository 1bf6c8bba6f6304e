// What the detector may still know. Everything it remembers was received in the last LOOKBACK_MS, or was committed:
// exactly what a restarted detector gets back, so both decide the same.
import { LOOKBACK_MS } from "@picket/protocol/feed";

/** Longest time between the first and the last event of one alert, and how long anything is remembered. Milliseconds. */
export const WINDOW_MS = LOOKBACK_MS;

/**
 * Whether something received at `thenMs` still counts when a batch received at `nowMs` is judged. Both times are the broker's;
 * a difference the wrong way round means its clock was set back, and what was remembered is worth nothing.
 */
export const isFresh = (thenMs: number, nowMs: number, windowMs: number = WINDOW_MS): boolean => Math.abs(nowMs - thenMs) <= windowMs;
