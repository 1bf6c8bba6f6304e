// Local rules keep to a share of a core, whatever command lines somebody makes up for them.
import type { SensorEvent } from "@picket/protocol/event";
import type { HitOf } from "./local-rules.ts";

/** Of one core. An exec takes about 3 us, but one with a command line made for it ten thousand times that. */
const SHARE = 0.1;
/** Time that may be taken at once, in milliseconds. */
const BURST_MS = 1000;

export type RuleState = { readonly level: "live" | "degraded"; readonly why: string };

const degraded: RuleState = {
  level: "degraded",
  why: `rules on the device took more than ${SHARE * 100} % of a core: until that is made up for, events are judged at the site only`,
};
const live: RuleState = { level: "live", why: "works again" };

/**
 * `match` while it keeps to its share; no hits beyond. An event without hits is judged by the detector as every other, only not first, and may be shed.
 * `nowMs` is a clock that never jumps. `onState` is told when matching is given up and taken up again.
 */
export function withinBudget(
  match: (event: SensorEvent) => HitOf[],
  nowMs: () => number,
  onState: (state: RuleState) => void,
): (event: SensorEvent) => HitOf[] {
  let leftMs = BURST_MS;
  let lastMs = nowMs();
  let isLive = true;
  return (event) => {
    const beganMs = nowMs();
    leftMs = Math.min(BURST_MS, leftMs + (beganMs - lastMs) * SHARE);
    lastMs = beganMs;
    // Taken up again with half the burst in hand, or every second event would change the state.
    if (!isLive && leftMs >= BURST_MS / 2) {
      isLive = true;
      onState(live);
    }
    if (!isLive) return [];
    const hits = match(event);
    leftMs -= nowMs() - beganMs;
    if (leftMs <= 0) {
      isLive = false;
      onState(degraded);
    }
    return hits;
  };
}
