// The calls of the REST interface that are about incidents; rest.ts puts them into its table.
import * as z from "zod";
import { Alert, AlertStatus, AlertVerdict, Severity } from "./alert.ts";
import { Incident } from "./incident.ts";
import { deviceId } from "./names.ts";

const none = z.object({});
const byId = z.object({ id: z.uuid() });

export const incidentRoutes = {
  incidents: {
    method: "GET",
    path: "/v1/incidents",
    summary: "Incidents, those that changed last first. `severity` means this one and above",
    auth: "operator",
    params: none,
    query: z.object({
      severity: Severity.optional(),
      device: deviceId.optional(),
      status: AlertStatus.optional(),
      sinceMs: z.coerce.number().int().nonnegative().optional(),
      limit: z.coerce.number().int().min(1).max(1000).default(200),
    }),
    body: undefined,
    response: z.object({ incidents: z.array(Incident) }),
  },
  incident: {
    method: "GET",
    path: "/v1/incidents/:id",
    summary: "One incident with its alerts, oldest first, 500 at most. The id of one that was found to be part of another finds that one",
    auth: "operator",
    params: byId,
    query: none,
    body: undefined,
    response: z.object({ incident: Incident, alerts: z.array(Alert) }),
  },
  judgeIncident: {
    method: "PATCH",
    path: "/v1/incidents/:id",
    summary:
      "Acknowledge, close, reopen, assign or annotate an incident. Closing or opening it closes or opens its alerts, acknowledging it those that are open; who takes it takes those that are not closed. `verdict` says what it was and goes with `status` closed",
    auth: "operator",
    params: byId,
    query: none,
    body: z
      .object({
        status: AlertStatus.optional(),
        verdict: AlertVerdict.optional(),
        assignee: z.string().max(64).optional(),
        note: z.string().max(2000).optional(),
      })
      .refine(({ status, verdict }) => verdict === undefined || status === "closed", "a verdict goes with status closed"),
    response: z.object({ incident: Incident }),
  },
} as const;
