// What stands where in the lists: the worst thing first.
import type { Alert, AlertStatus, Severity } from "@picket/protocol/alert";
import type { Device } from "@picket/protocol/rest";
import { isDark, isolationOf } from "../words.ts";
import type { ConsoleState } from "./state.ts";

const bySeverity: Record<Severity, number> = { critical: 0, high: 1, medium: 2, low: 3 };
const byStatus: Record<AlertStatus, number> = { open: 0, acknowledged: 1, closed: 2 };

/** What a title says by itself. Two chains name what happened; a burst, and more so a sum of signs, only that something did. */
const telling: Record<string, number> = {
  "picket-chain-reverse-shell": 0,
  "picket-chain-credential-access": 1,
  "picket-chain-burst": 3,
  "picket-process-score": 4,
};
const byTelling = ({ rule }: Alert) => telling[rule.id] ?? 2;
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
    byTelling(a) - byTelling(b) ||
    b.lastMs - a.lastMs ||
    a.id.localeCompare(b.id)
  );
}

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
