// What a Sigma correlation that came true says as an alert, and as part of an incident.
import type { Detection } from "@picket/protocol/alert";
import { processOf, type SensorEvent } from "@picket/protocol/event";
import { MAX_GROUP_KEY, type Raise, unionAttack } from "./alerts.ts";
import type { ProcessNode } from "./correlate/node.ts";
import { processOfAlert, treeOf } from "./correlate/tree.ts";
import { type Arrival, severityOf } from "./finding.ts";
import { aboutAlert } from "./incident-facts.ts";
import type { About } from "./incidents/about.ts";
import { MAX_SUMMARY } from "./sentence.ts";
import type { Fired } from "./sigma-correlation/correlations.ts";
import { clean, shortKey } from "./text.ts";

/** The event that decided it, when one did: what has to be over is decided by the time that went by. */
export type Deciding = { readonly event: SensorEvent; readonly node: ProcessNode | undefined; readonly arrival: Arrival };

const OVERFLOW: Detection["rule"] = {
  id: "picket-correlation-overflow",
  title: "A device brings more than correlations can remember",
  engine: "correlation",
};

type Untold = Omit<Raise, "rule" | "incident">;

export function raiseOf(fired: Fired, by: Deciding | undefined): Untold {
  const { of, device, group, eventId, before, timeMs, receivedMs } = fired;
  const process = by?.event.device === device ? processOf(by.event) : undefined;
  return {
    ...{ severity: severityOf(of), score: Math.min(100, Math.max(0, Math.round(of.score))) },
    ...{ device, group: shortKey(group, MAX_GROUP_KEY), eventId, before, timeMs, receivedMs },
    anchorMs: by?.arrival.anchorMs,
    renews: true,
    details: () => ({
      attack: unionAttack([of.attack]),
      ...(process ? { process: processOfAlert(process) } : {}),
      tree: process && by?.node ? treeOf(by.node, [], by.arrival.receivedMs) : [],
      summary: clean(fired.summary(), MAX_SUMMARY),
    }),
  };
}

/** With what its deciding event names; of another device's alert with what it says. */
export function aboutFired(fired: Fired, by: Deciding | undefined): About {
  const { device, timeMs, receivedMs } = fired;
  const deed = { verb: "", object: clean(fired.summary(), MAX_SUMMARY), weight: 7 };
  if (by?.event.device === device) return { ...aboutAlert(by.event, by.node, by.arrival), deed };
  return { device, timeMs, receivedMs, line: [], gives: [], seeks: [], deed, around: () => [] };
}

/** What had to be forgotten of a device before its time is said, and counted. */
export function overflowOf(device: string, { id: eventId, receivedMs }: Arrival, timeMs: number): { rule: Detection["rule"] } & Untold {
  return {
    rule: OVERFLOW,
    ...{ severity: "medium", score: 35, device, group: "overflow", eventId, timeMs, receivedMs },
    details: () => ({
      attack: { tactics: [], techniques: [] },
      tree: [],
      summary: `${device} matches rules of correlations with more different values than is kept of one device: what was touched the longest ago is forgotten`,
    }),
  };
}
