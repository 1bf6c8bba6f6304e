// What counts against a peer. Enough of it within an hour and Picket itself limits the peer.
import type { MeshRefusal } from "@picket/protocol/mesh";

/** An honest peer sends none of the first kind; the others can come of a restored backup, a site made anew, or a slow clock. */
const weights: Record<MeshRefusal, number> = {
  malformed: 5,
  oversize: 5,
  forged: 2,
  disputed: 0.1,
  "too-many": 1,
  loop: 1,
  "unknown-origin": 0.2,
  stale: 0.2,
  replayed: 0.02,
};
export const VIOLATION = 20;
/** How long a peer that broke the protocol may not connect; doubled with each further time within the hour. */
const BAR_MS = 500;
const MAX_BAR_MS = 60_000;
const LIMIT = 100;
const HOUR_MS = 3600_000;

/** Points against one peer, forgotten after an hour. */
export class Strikes {
  #points = 0;
  #sinceMs = 0;
  #violations = 0;
  #barredUntilMs = 0;

  get barredUntilMs(): number {
    return this.#barredUntilMs;
  }

  /** Adds to the points; true when this brings the peer over the limit. */
  add(what: readonly MeshRefusal[] | number, nowMs: number): boolean {
    if (nowMs - this.#sinceMs > HOUR_MS) {
      this.#points = this.#violations = 0;
      this.#sinceMs = nowMs;
    }
    if (typeof what === "number") this.#barredUntilMs = nowMs + Math.min(MAX_BAR_MS, BAR_MS * 2 ** this.#violations++);
    const before = this.#points;
    this.#points += typeof what === "number" ? what : what.reduce((sum, why) => sum + weights[why], 0);
    return before < LIMIT && this.#points >= LIMIT;
  }
}
