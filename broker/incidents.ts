// Incidents as the API and the live stream ask for them.
import type { ApiDeps } from "./api/deps.ts";
import type { Changes } from "./changes.ts";
import { incidentsOf } from "./store/alerts.ts";
import type { Store } from "./store/database.ts";
import { judgeIncident, readIncident } from "./store/incident-life.ts";
import { getIncident, listIncidents } from "./store/incidents.ts";

/** What an operator decides is told to whoever listens: the incident, and each alert that changed with it. */
export function incidentsPort(of: { site: string; store: Store; changes: Changes; nowMs: () => number }): ApiDeps["incidents"] {
  const { site, store, changes, nowMs } = of;
  return {
    list: (filter) => listIncidents(store, site, filter),
    get: (id) => getIncident(store, site, id),
    read: (id) => readIncident(store, site, id),
    judge: (id, judgement, operator) => {
      const judged = judgeIncident(store, site, id, judgement, { operator, nowMs: nowMs() });
      if (!judged) return undefined;
      changes.tell({ kind: "incident", id: judged.incident.id });
      for (const alert of judged.changed) changes.tell({ kind: "alert", id: alert, created: false });
      return judged.incident;
    },
    ofAlert: (id) => incidentsOf(store, [id])[0],
  };
}
