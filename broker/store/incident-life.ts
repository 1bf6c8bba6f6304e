// Incidents together with their alerts: what operators decide about both, and what the sinks are told.
import type { Alert } from "@picket/protocol/alert";
import type { Incident } from "@picket/protocol/incident";
import type { Judgement } from "./alert-life.ts";
import { alertsOf, judgeAlertsOf } from "./alerts.ts";
import type { Store } from "./database.ts";
import { currentId, decide, getIncident } from "./incidents.ts";
import { enqueueIncident } from "./sink-queue.ts";

/** Alerts of one incident that are shown at once. */
const MAX_SHOWN = 500;

/** An incident with its alerts, oldest first. */
export function readIncident(store: Store, site: string, id: string): { incident: Incident; alerts: Alert[] } | undefined {
  const incident = getIncident(store, site, id);
  return incident && { incident, alerts: alertsOf(store, incident.id, MAX_SHOWN) };
}

/** What an operator decides about an incident, and so about its alerts. Returns it with the ids of the alerts that changed, or undefined when there is none. */
export const judgeIncident = (
  store: Store,
  site: string,
  given: string,
  judgement: Omit<Judgement, "exception">,
  by: { readonly operator: string; readonly nowMs: number },
): { incident: Incident; changed: string[] } | undefined =>
  store.commitNow(() => {
    const id = currentId(store, given);
    if (!getIncident(store, site, id)) return undefined;
    decide(store, id, judgement, by);
    const changed = judgeAlertsOf(store, id, judgement, by);
    return { incident: getIncident(store, site, id)!, changed };
  });

/** Queues for the sinks what is news of these incidents; call it in the transaction that stores their alerts, after all of them. */
export function tellIncidents(store: Store, ids: Iterable<string>, nowMs: number): void {
  for (const id of new Set(ids)) {
    const [first] = alertsOf(store, id, 1);
    const incident = first && getIncident(store, first.site, id);
    if (incident) enqueueIncident(store.db, incident, (limit) => alertsOf(store, id, limit), nowMs);
  }
}
