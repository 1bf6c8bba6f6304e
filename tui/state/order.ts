// What stands where in the lists: the worst thing first.
import type { Alert, AlertStatus, Severity } from "@picket/protocol/alert";
import { type Incident, tellingOf } from "@picket/protocol/incident";
import type { Device } from "@picket/protocol/rest";
import { isDark, isolationOf } from "../words.ts";
import type { ConsoleState } from "./state.ts";

const bySeverity: Record<Severity, number> = { critical: 0, high: 1, medium: 2, low: 3 };
const byStatus: Record<AlertStatus, number> = { open: 0, acknowledged: 1, closed: 2 };

const MINUTE_MS = 60_000;

/**
 * Open before acknowledged before closed, then severity, then those of this site before those of others, then the latest. One intrusion makes many alerts within seconds: those of one minute
 * begin with the most telling. The id makes it total, so rows never swap for nothing.
 */
export function worstAlertFirst(a: Alert, b: Alert): number {
  return (
    byStatus[a.status] - byStatus[b.status] ||
    bySeverity[a.severity] - bySeverity[b.severity] ||
    Number(a.origin !== undefined) - Number(b.origin !== undefined) ||
    Math.floor(b.lastMs / MINUTE_MS) - Math.floor(a.lastMs / MINUTE_MS) ||
    tellingOf(a.rule.id) - tellingOf(b.rule.id) ||
    b.lastMs - a.lastMs ||
    a.id.localeCompare(b.id)
  );
}

/** Open before acknowledged before closed, then severity, then the latest. The id makes it total, so rows never swap for nothing. */
export const worstIncidentFirst = (a: Ranked, b: Ranked): number =>
  byStatus[a.status] - byStatus[b.status] ||
  bySeverity[a.severity] - bySeverity[b.severity] ||
  Math.floor(b.lastMs / MINUTE_MS) - Math.floor(a.lastMs / MINUTE_MS) ||
  b.score - a.score ||
  b.lastMs - a.lastMs ||
  a.id.localeCompare(b.id);
type Ranked = Pick<Incident, "id" | "status" | "severity" | "score" | "lastMs">;

/** A row of the list of incidents. Those of other sites come as alerts: the worst of each stands for it. */
export type Row = { readonly id: string } & (
  | { readonly incident: Incident; readonly alert?: undefined }
  | { readonly alert: Alert; readonly incident?: undefined }
);

type ListState = Pick<ConsoleState, "incidents" | "alerts" | "showClosed" | "hideMesh" | "selectedIncident" | "find">;

/** The incidents on the list, worst first, those of other sites last among their like. The selected one stays until the operator moves on, even when it was closed meanwhile. */
export function listedRows(state: ListState): Row[] {
  const own = [...state.incidents.values()].map((incident): Row => ({ id: incident.id, incident }));
  const rows = [...own, ...(state.hideMesh ? [] : ofOtherSites(state))];
  return rows
    .filter(
      (row) => (state.showClosed || rankedOf(row).status !== "closed" || row.id === state.selectedIncident) && matches(row, state.find),
    )
    .sort(
      (a, b) =>
        byStatus[rankedOf(a).status] - byStatus[rankedOf(b).status] ||
        bySeverity[rankedOf(a).severity] - bySeverity[rankedOf(b).severity] ||
        Number(a.alert !== undefined) - Number(b.alert !== undefined) ||
        worstIncidentFirst(rankedOf(a), rankedOf(b)),
    );
}

export const rankedOf = (row: Row): Ranked => row.incident ?? row.alert;

function ofOtherSites({ alerts }: ListState): Row[] {
  const groups = Map.groupBy(
    [...alerts.values()].filter(({ origin }) => origin !== undefined),
    ({ origin, incident, id }) => `${origin!.site} ${incident ?? id}`,
  );
  return [...groups.values()].map((group): Row => {
    const worst = group.sort(worstAlertFirst)[0]!;
    return { id: worst.id, alert: worst };
  });
}

function matches({ incident, alert }: Row, find: string): boolean {
  if (find === "") return true;
  const words = incident
    ? [
        incident.id,
        incident.title,
        incident.device,
        incident.assignee,
        incident.severity,
        ...incident.attack.tactics,
        ...incident.attack.techniques,
        ...incident.story,
      ]
    : [alert.id, alert.rule.title, alert.device, alert.origin?.site, alert.severity, ...alert.attack.techniques, alert.summary];
  return words.join("\n").toLowerCase().includes(find.toLowerCase());
}

/** In the order of the list of alerts. */
export const alertsOfIncident = (alerts: ReadonlyMap<string, Alert>, incident: string): Alert[] =>
  [...alerts.values()].filter((alert) => alert.incident === incident && !alert.origin).sort(worstAlertFirst);

const trouble = (device: Device) =>
  device.trust === "revoked"
    ? 0
    : (device.openAlerts > 0 ? 16 : 0) +
      (isDark(device) ? 8 : 0) +
      (isolationOf(device) !== "no" ? 4 : 0) +
      (device.coverage.lost > 0 ? 2 : 0) +
      1;

/** Devices with open alerts, then those we cannot see, then those cut off, then those that lost events, then the quiet; revoked ones last. */
export const worstDeviceFirst = (a: Device, b: Device) => trouble(b) - trouble(a) || a.id.localeCompare(b.id);

/** The alerts on the list. The selected one stays until the operator moves on, even when it was closed meanwhile. */
export function listedAlerts(state: Pick<ConsoleState, "alerts" | "showClosed" | "hideMesh" | "selectedAlert">): Alert[] {
  return [...state.alerts.values()]
    .filter((alert) => !(state.hideMesh && alert.origin) || alert.id === state.selectedAlert)
    .filter((alert) => state.showClosed || alert.status !== "closed" || alert.id === state.selectedAlert)
    .sort(worstAlertFirst);
}

/** The devices on the list. */
export const listedDevices = (state: Pick<ConsoleState, "devices">): Device[] => [...state.devices.values()].sort(worstDeviceFirst);

/** First row to show so that `index` is on the screen, moving as little as possible. */
export function firstRow(before: number, index: number, rows: number, count: number): number {
  const last = Math.max(0, count - rows);
  const wanted = index < 0 ? before : Math.min(Math.max(before, index - rows + 1), index);
  return Math.min(Math.max(0, wanted), last);
}
