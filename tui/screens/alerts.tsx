import { useRef } from "react";
import { AlertList } from "../components/alert-list.tsx";
import { firstRow, listedAlerts } from "../state/order.ts";
import { judgingHints, pressJudging } from "./judging.ts";
import { commonHints, moveOf, pressCommon, type Screen, type ScreenContext } from "./screen.ts";

/** The list of alerts, worst first. What is selected is an alert, not a row. */
export const alertsScreen: Screen = {
  keys: (at) => [
    ...(at.state.alerts.size > 0 ? [["↑↓", "select"] as const, ["↵", "open"] as const] : []),
    ...judgingHints(selected(at)),
    ["f", at.state.showClosed ? "hide closed" : "show closed"],
    ...(hasMesh(at) ? [["m", at.state.hideMesh ? "other sites" : "this site only"] as const] : []),
    ["Tab", "incidents"],
    ...commonHints(at, false),
  ],
  press(key, at) {
    const move = moveOf(key, at.rows - 1);
    const alert = selected(at);
    if (move !== undefined) at.dispatch({ kind: "move", by: move });
    else if (key.char === "f") at.dispatch({ kind: "toggle-closed" });
    else if (key.char === "m" && hasMesh(at)) at.dispatch({ kind: "toggle-mesh" });
    else if (key.name === "enter" && alert) {
      at.dispatch({ kind: "open", view: { kind: "alert", id: alert.id } });
      at.act.readEvidence(alert.id);
    } else if (!pressJudging(key, alert, at)) pressCommon(key, at);
  },
  Body: AlertsBody,
};

const hasMesh = ({ state }: ScreenContext) => [...state.alerts.values()].some((alert) => alert.origin);
const selected = ({ state }: ScreenContext) => (state.selectedAlert === undefined ? undefined : state.alerts.get(state.selectedAlert));

function AlertsBody({ state, act, columns, rows }: ScreenContext) {
  const alerts = listedAlerts(state);
  const top = useRef(0);
  const index = alerts.findIndex((alert) => alert.id === state.selectedAlert);
  top.current = firstRow(top.current, index, rows - 1, alerts.length);
  return (
    <AlertList
      alerts={alerts}
      selectedId={state.selectedAlert}
      top={top.current}
      nowMs={state.nowMs}
      columns={columns}
      rows={rows}
      empty={emptyText(state, act.demoAttack !== undefined)}
    />
  );
}

function emptyText({ dataMs, devices }: ScreenContext["state"], demo: boolean): string[] {
  if (dataMs === undefined) return ["Waiting for the site…"];
  if (devices.size === 0)
    return [
      "No alerts, because no device is enrolled yet.",
      "",
      "Next: picket token create --out TOKEN",
      "then on the device: picket-agent enroll --token-file TOKEN",
    ];
  return [
    "No open alerts. All quiet.",
    "",
    "Press f to see closed ones, Tab to see the devices.",
    ...(demo ? ["Press d for a harmless look-alike of an intrusion."] : []),
  ];
}
