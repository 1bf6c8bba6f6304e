import { Page } from "../components/alert-detail.tsx";
import { type IncidentLine, incidentPage } from "../components/incident-detail.ts";
import { line } from "../line.ts";
import { alertsOfIncident } from "../state/order.ts";
import { viewOf } from "../state/state.ts";
import { judgingHints, pressIncident } from "./judging.ts";
import { commonHints, moveOf, pressCommon, type Screen, type ScreenContext } from "./screen.ts";

/** One incident in full. The arrows go from alert to alert, and past the first and last one through the page. */
export const incidentScreen: Screen = {
  keys: (at) => [
    ["↑↓", "alert, scroll"],
    ["↵", "open the alert"],
    ["w", at.state.wrapped ? "show less" : "show all"],
    ...judgingHints(shown(at)),
    ["v", "device"],
    ...commonHints(at, true),
  ],
  press(key, at) {
    const move = moveOf(key, at.rows);
    const incident = shown(at);
    const { selectedOfIncident: alert, alerts } = at.state;
    if (move !== undefined) go(move, at);
    else if (key.char === "w") at.dispatch({ kind: "toggle-wrap" });
    else if (key.char === "v" && incident && at.state.devices.has(incident.device)) {
      at.dispatch({ kind: "open", view: { kind: "device", id: incident.device } });
      at.act.readHistory(incident.device);
    } else if (key.name === "enter" && alert !== undefined && alerts.get(alert)?.incident === incident?.id) {
      at.dispatch({ kind: "open", view: { kind: "alert", id: alert } });
      at.act.readEvidence(alert);
    } else if (!pressIncident(key, incident, at)) pressCommon(key, at);
  },
  Body: (at) => <Page lines={page(at)} top={topOf(at)} columns={at.columns} rows={at.rows} />,
};

/** One step is to the next alert while there is one that way; anything else scrolls. */
function go(by: number, at: ScreenContext): void {
  const lines = page(at);
  const rows = lines.flatMap(({ alert }, row) => (alert === undefined ? [] : [{ alert, row }]));
  const now = rows.findIndex(({ alert }) => alert === at.state.selectedOfIncident);
  const next = Math.abs(by) === 1 ? rows[now < 0 ? 0 : now + by] : undefined;
  const top = topOf(at);
  if (!next) {
    at.dispatch({ kind: "move", by, last: lastRow(at) });
    return;
  }
  // The last row of a page may be taken by what it says of those below.
  const scroll = Math.min(Math.max(top, next.row - (at.rows - 2)), next.row);
  at.dispatch({ kind: "choose", alert: next.alert, scroll: Math.min(scroll, lastRow(at)) });
}

function shown({ state }: ScreenContext) {
  const view = viewOf(state);
  return view.kind === "incident" ? state.incidents.get(view.id) : undefined;
}

const lastRow = (at: ScreenContext) => Math.max(0, page(at).length - at.rows);
const topOf = (at: ScreenContext) => Math.min(at.state.scroll, lastRow(at));

function page(at: ScreenContext): IncidentLine[] {
  const { state, columns } = at;
  const incident = shown(at);
  if (!incident) return [line("  This incident is no longer at the site. Esc goes back.")];
  return incidentPage({
    incident,
    alerts: alertsOfIncident(state.alerts, incident.id),
    selectedId: state.selectedOfIncident,
    device: state.devices.get(incident.device),
    nowMs: state.nowMs,
    columns,
    rows: at.rows,
    wrapped: state.wrapped,
  });
}
