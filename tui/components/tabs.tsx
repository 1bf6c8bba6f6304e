import { line, type Span, span } from "../line.ts";
import { listedAlerts, listedRows } from "../state/order.ts";
import { type ConsoleState, type ListName, viewOf } from "../state/state.ts";
import { Lines } from "./lines.tsx";

type Props = { readonly state: ConsoleState; readonly columns: number };

/** Where the operator is. Brackets mark it too, for eyes and terminals without color. */
export function Tabs({ state, columns }: Props) {
  const view = viewOf(state);
  const root = state.views[0]?.kind ?? "incidents";
  const tab = (name: ListName, text: string): Span => (root === name ? span(`[${text}]`, "title") : span(` ${text} `, "faint"));
  const parts = [
    span(" "),
    tab("incidents", `Incidents ${listedRows(state).length}`),
    span(" "),
    tab("devices", `Devices ${state.devices.size}`),
    span(" "),
    tab("alerts", `Alerts ${alertCount(state)}`),
  ];
  const crumbs = state.views.slice(1).map((step) => span(` › ${step.kind === "device" ? step.id : step.kind}`));
  const isList = view.kind === "alerts" || view.kind === "incidents";
  const rest = state.showClosed && isList ? [span("  closed ones shown", "faint")] : [];
  return <Lines lines={[line(...parts, ...crumbs, ...rest)]} columns={columns} />;
}

/** How many are listed, and of how many when the site has more open ones than it gives at once. */
function alertCount(state: ConsoleState): string {
  const listed = listedAlerts(state).length;
  const open = [...state.alerts.values()].filter((alert) => alert.status === "open").length;
  const all = state.site?.alerts.open ?? 0;
  return open >= 1000 && all > open ? `${listed} (${all} open at the site)` : String(listed);
}
