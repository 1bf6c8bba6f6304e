import type { Alert } from "@picket/protocol/alert";
import type { Incident } from "@picket/protocol/incident";
import type { CommandRecord, Device, StreamItem } from "@picket/protocol/rest";
import { alertsOfIncident, listedAlerts, listedDevices, listedRows, worstAlertFirst, worstIncidentFirst } from "./order.ts";
import { type ConsoleState, type Happened, type Job, type Prompt, type Step, type View, viewOf } from "./state.ts";

/** Longest text an operator can type into a prompt; notes are capped by the protocol. */
const MAX_TYPED = 2000;
/** Alerts kept. Beyond it the least urgent go; a console may run for months. */
const MAX_ALERTS = 6000;
const MAX_INCIDENTS = 3000;
const MAX_JOBS = 20;
/** How long the row above the keys says that an order is done. Why one failed stays until somebody dismisses it. */
const DONE_SHOWN_MS = 60_000;

/** The next state. Pure; arriving data never moves a selection, a view or a prompt. */
export function reduce(state: ConsoleState, step: Step): ConsoleState {
  switch (step.kind) {
    case "snapshot":
    case "items":
    case "lost":
    case "tick":
    case "evidence":
    case "history":
    case "preview":
    case "job":
    case "say":
      return settle(state, happened(state, step));
    case "list":
      return {
        ...(state.views[0]?.kind === step.list ? state : entered(state)),
        views: [{ kind: step.list }],
        scroll: 0,
        message: undefined,
      };
    case "open":
      return { ...state, views: [...state.views, step.view].slice(-8), scroll: 0, message: undefined, ...chosenIn(state, step.view) };
    case "back":
      return state.views.length > 1 ? { ...state, views: state.views.slice(0, -1), scroll: 0 } : state;
    case "move":
      return moved(state, step.by, step.last ?? 0);
    case "choose":
      return { ...state, selectedOfIncident: step.alert, scroll: step.scroll, message: undefined };
    case "find":
      return narrowed({ ...state, find: step.text.trim() });
    case "toggle-closed":
      return { ...state, showClosed: !state.showClosed };
    case "toggle-mesh":
      return { ...state, hideMesh: !state.hideMesh };
    case "toggle-wrap":
      return { ...state, wrapped: !state.wrapped };
    case "ask":
      return { ...state, prompt: step.prompt, message: undefined, jobs: state.jobs.filter((job) => job.outcome !== "done") };
    case "type":
      return typed(state, (before) => (before + printable(step.text)).slice(0, MAX_TYPED));
    case "erase":
      return typed(state, (before) => [...before].slice(0, -1).join(""));
    case "cancel":
      return { ...state, prompt: undefined };
    case "dismiss":
      return { ...state, message: undefined, jobs: state.jobs.filter((job) => job.outcome === "pending") };
  }
}

function happened(state: ConsoleState, step: Happened): ConsoleState {
  switch (step.kind) {
    case "snapshot": {
      const alerts = new Map(step.alerts.map((alert) => [alert.id, alert]));
      const devices = new Map(step.devices.map((device) => [device.id, device]));
      const incidents = new Map((step.incidents ?? []).map((incident) => [incident.id, incident]));
      return { ...state, incidents, alerts, devices, site: step.site, ...fresh(step.nowMs) };
    }
    case "items":
      return { ...withItems(state, step.items), ...fresh(step.nowMs) };
    case "lost": {
      const sinceMs = state.connection.state === "lost" ? state.connection.sinceMs : step.nowMs;
      return { ...state, connection: { state: "lost", sinceMs, why: step.why, hint: step.hint }, nowMs: step.nowMs };
    }
    case "tick":
      return { ...state, nowMs: step.nowMs, jobs: withoutOldNews(state.jobs, step.nowMs) };
    case "evidence":
      return { ...state, evidence: bounded(state.evidence, step.alert, step.evidence, 50) };
    case "history":
      return {
        ...state,
        history: bounded(state.history, step.device, step.commands, 50),
        ledgers: step.ledger ? bounded(state.ledgers, step.device, step.ledger, 50) : state.ledgers,
      };
    case "preview": {
      const { prompt } = state;
      // One that was cancelled or changed meanwhile is not waited for any more.
      const waits = prompt?.kind === "exception" && prompt.step === "preview" && prompt.alert === step.alert;
      return waits && prompt.outcome.state === "looking" ? { ...state, prompt: { ...prompt, outcome: step.outcome } } : state;
    }
    case "job": {
      // Begun or ended: it takes the row. In between, what the last key did may be read there.
      const changes = state.jobs.find((job) => job.key === step.job.key)?.outcome !== step.job.outcome;
      return { ...state, jobs: withJob(state.jobs, step.job), message: changes ? undefined : state.message };
    }
    case "say":
      return { ...state, message: step.message };
  }
}

const fresh = (nowMs: number) => ({ connection: { state: "live" }, dataMs: nowMs, nowMs }) as const;

/** Copies each table once for the whole batch: a flood of items must not cost a copy of thousands of alerts each. */
function withItems(state: ConsoleState, items: readonly StreamItem[]): ConsoleState {
  const alerts = new Map(state.alerts);
  const incidents = new Map(state.incidents);
  const became = new Map<string, string>();
  const devices = new Map(state.devices);
  const history = new Map(state.history);
  let site = state.site;
  for (const item of items) {
    switch (item.kind) {
      case "alert":
        alerts.set(item.alert.id, item.alert);
        break;
      case "incident":
        incidents.set(item.incident.id, item.incident);
        for (const gone of item.incident.merged ?? []) if (incidents.delete(gone)) became.set(gone, item.incident.id);
        break;
      case "device":
        devices.set(item.device.id, item.device);
        break;
      case "site":
        site = item.site;
        break;
      case "command": {
        const before = history.get(item.command.device);
        if (before) history.set(item.command.device, withCommand(before, item.command));
      }
    }
  }
  const moved = following(state, became);
  return {
    ...moved,
    incidents: fewer(incidents, moved),
    alerts: pruned(alerts, state.selectedAlert),
    devices,
    history,
    site,
    jobs: stillTrue(state.jobs, devices),
  };
}

/** Without the news that an order is done which somebody has ordered otherwise since. */
function stillTrue(jobs: readonly Job[], devices: ReadonlyMap<string, Device>): readonly Job[] {
  return jobs.filter(({ outcome, act, device }) => {
    const wanted = devices.get(device)?.isolationWanted;
    return outcome !== "done" || wanted === undefined || wanted === (act === "isolate");
  });
}

function withCommand(before: readonly CommandRecord[], command: CommandRecord): readonly CommandRecord[] {
  return [command, ...before.filter((one) => one.jti !== command.jti)].sort((a, b) => b.createdMs - a.createdMs).slice(0, 100);
}

/**
 * The first rows to arrive on an empty list select the top one. Later nothing but the operator moves a selection:
 * when what was selected is gone, nothing is selected, so no key acts on what happens to stand there now.
 */
function settle(before: ConsoleState, state: ConsoleState): ConsoleState {
  const selectedAlert = before.alerts.size === 0 ? listedAlerts(state)[0]?.id : state.selectedAlert;
  const rows = listedRows(state);
  const first = before.incidents.size + before.alerts.size === 0 ? rows[0]?.id : state.selectedIncident;
  const selectedIncident = first !== undefined && (state.incidents.has(first) || state.alerts.has(first)) ? first : undefined;
  const selectedDevice = before.devices.size === 0 ? listedDevices(state)[0]?.id : state.selectedDevice;
  return {
    ...state,
    selectedIncident,
    selectedAlert: selectedAlert !== undefined && state.alerts.has(selectedAlert) ? selectedAlert : undefined,
    selectedDevice: selectedDevice !== undefined && state.devices.has(selectedDevice) ? selectedDevice : undefined,
  };
}

function moved(state: ConsoleState, by: number, last: number): ConsoleState {
  const view = viewOf(state);
  const step = (ids: readonly string[], selected: string | undefined) => {
    const index = selected === undefined ? -1 : ids.indexOf(selected);
    if (index < 0) return ids[by > 0 ? 0 : ids.length - 1];
    return ids[Math.min(Math.max(index + by, 0), ids.length - 1)];
  };
  switch (view.kind) {
    case "incidents": {
      const ids = listedRows(state).map(({ id }) => id);
      return { ...state, selectedIncident: step(ids, state.selectedIncident), message: undefined };
    }
    case "alerts": {
      const ids = listedAlerts(state).map((alert) => alert.id);
      return { ...state, selectedAlert: step(ids, state.selectedAlert), message: undefined };
    }
    case "devices": {
      const ids = listedDevices(state).map((device) => device.id);
      return { ...state, selectedDevice: step(ids, state.selectedDevice), message: undefined };
    }
    case "incident":
    case "alert":
    case "device":
      return { ...state, scroll: Math.min(Math.max(0, Math.min(state.scroll, last) + by), last) };
  }
}

/** The first alert of an incident whose page opens. */
function chosenIn({ alerts }: ConsoleState, view: View): Pick<ConsoleState, "selectedOfIncident"> | undefined {
  if (view.kind !== "incident") return undefined;
  return { selectedOfIncident: alertsOfIncident(alerts, view.id)[0]?.id };
}

/** Selects the first row that is left, where the selected one is not. */
function narrowed(state: ConsoleState): ConsoleState {
  const rows = listedRows({ ...state, selectedIncident: undefined });
  return rows.some(({ id }) => id === state.selectedIncident) ? state : { ...state, selectedIncident: rows[0]?.id };
}

/** Who comes to a list starts at what is on it, not at what was closed while he was elsewhere. */
function entered(state: ConsoleState): ConsoleState {
  const alerts = listedAlerts({ ...state, selectedAlert: undefined });
  const selectedAlert = alerts.some(({ id }) => id === state.selectedAlert) ? state.selectedAlert : alerts[0]?.id;
  return narrowed({ ...state, selectedAlert });
}

/** What was looked at goes on under its new name. */
function following(state: ConsoleState, became: ReadonlyMap<string, string>): ConsoleState {
  if (became.size === 0) return state;
  return {
    ...state,
    selectedIncident: became.get(state.selectedIncident ?? "") ?? state.selectedIncident,
    views: state.views.map((view) => (view.kind === "incident" ? { ...view, id: became.get(view.id) ?? view.id } : view)),
  };
}

function fewer(incidents: Map<string, Incident>, { selectedIncident, views }: ConsoleState): Map<string, Incident> {
  if (incidents.size <= MAX_INCIDENTS) return incidents;
  const kept = new Set([selectedIncident, ...views.map((view) => ("id" in view ? view.id : undefined))]);
  const spare = [...incidents.values()].sort(worstIncidentFirst).slice(MAX_INCIDENTS - 300);
  for (const { id } of spare) if (!kept.has(id)) incidents.delete(id);
  return incidents;
}

function typed(state: ConsoleState, change: (before: string) => string): ConsoleState {
  return state.prompt ? { ...state, prompt: { ...state.prompt, typed: change(state.prompt.typed) } as Prompt } : state;
}

const printable = (text: string) => text.replaceAll(/[\p{Control}\p{Surrogate}]/gu, "");

function withJob(jobs: readonly Job[], job: Job): readonly Job[] {
  return [...jobs.filter((one) => one.key !== job.key), job].sort((a, b) => a.key - b.key).slice(-MAX_JOBS);
}

function withoutOldNews(jobs: readonly Job[], nowMs: number): readonly Job[] {
  const old = (job: Job) => job.outcome === "done" && nowMs - (job.endedMs ?? job.startedMs) > DONE_SHOWN_MS;
  return jobs.some(old) ? jobs.filter((job) => !old(job)) : jobs;
}

function pruned(alerts: Map<string, Alert>, keep: string | undefined): Map<string, Alert> {
  if (alerts.size <= MAX_ALERTS) return alerts;
  // Those of other sites first: what a peer floods must not push out what happened here.
  const ofOthers = (alert: Alert) => Number(alert.origin !== undefined);
  const spare = [...alerts.values()].sort((a, b) => ofOthers(a) - ofOthers(b) || worstAlertFirst(a, b)).slice(MAX_ALERTS - 500);
  for (const alert of spare) if (alert.id !== keep) alerts.delete(alert.id);
  return alerts;
}

/** `map` with one entry set, forgetting the oldest beyond `limit`. */
function bounded<V>(map: ReadonlyMap<string, V>, key: string, value: V, limit: number): ReadonlyMap<string, V> {
  const next = new Map(map);
  next.delete(key);
  next.set(key, value);
  for (const old of next.keys()) {
    if (next.size <= limit) break;
    next.delete(old);
  }
  return next;
}
