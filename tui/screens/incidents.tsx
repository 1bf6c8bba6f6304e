import { useRef } from "react";
import { IncidentList, listHeight } from "../components/incident-list.tsx";
import { firstRow, listedRows, type Row } from "../state/order.ts";
import { judgingHints, pressIncident, pressJudging } from "./judging.ts";
import { commonHints, moveOf, pressCommon, type Screen, type ScreenContext } from "./screen.ts";

/** The list of incidents, worst first. What is selected is an incident, not a row. */
export const incidentsScreen: Screen = {
  keys: (at) => [
    ...(rowsIn(at).length > 0 ? [["↑↓", "select"] as const, ["↵", "open"] as const] : []),
    ...judgingHints(selected(at)?.incident ?? selected(at)?.alert),
    ["/", at.state.find === "" ? "find" : `find: ${at.state.find}`],
    ["f", at.state.showClosed ? "hide closed" : "show closed"],
    ...(hasMesh(at) ? [["m", at.state.hideMesh ? "other sites" : "this site only"] as const] : []),
    ["Tab", "devices"],
    ["3", "alerts"],
    ...commonHints(at, false),
  ],
  press(key, at) {
    const move = moveOf(key, listHeight(at.rows) - 1);
    const row = selected(at);
    if (move !== undefined) at.dispatch({ kind: "move", by: move });
    else if (key.char === "f") at.dispatch({ kind: "toggle-closed" });
    else if (key.char === "/") at.dispatch({ kind: "ask", prompt: { kind: "find", typed: at.state.find } });
    else if (key.name === "escape" && at.state.find !== "") at.dispatch({ kind: "find", text: "" });
    else if (key.char === "m" && hasMesh(at)) at.dispatch({ kind: "toggle-mesh" });
    else if (key.name === "enter" && row) open(row, at);
    else if (!(row?.alert ? pressJudging(key, row.alert, at) : pressIncident(key, row?.incident, at))) pressCommon(key, at);
  },
  Body: IncidentsBody,
};

function open({ id, alert }: Row, { dispatch, act }: ScreenContext): void {
  dispatch({ kind: "open", view: alert ? { kind: "alert", id } : { kind: "incident", id } });
  if (alert) act.readEvidence(id);
  else act.readIncident(id);
}

const rowsIn = ({ state }: ScreenContext) => listedRows(state);
const hasMesh = ({ state }: ScreenContext) => [...state.alerts.values()].some((alert) => alert.origin);
const selected = (at: ScreenContext) => rowsIn(at).find(({ id }) => id === at.state.selectedIncident);

function IncidentsBody(at: ScreenContext) {
  const { state, act, columns, rows } = at;
  const listed = rowsIn(at);
  const top = useRef(0);
  const index = listed.findIndex(({ id }) => id === state.selectedIncident);
  top.current = firstRow(top.current, index, listHeight(rows) - 1, listed.length);
  return (
    <IncidentList
      rowsOf={listed}
      selectedId={state.selectedIncident}
      top={top.current}
      nowMs={state.nowMs}
      columns={columns}
      rows={rows}
      empty={emptyText(state, act.demoAttack !== undefined)}
    />
  );
}

function emptyText({ dataMs, devices, find }: ScreenContext["state"], demo: boolean): string[] {
  if (dataMs === undefined) return ["Waiting for the site…"];
  if (find !== "") return [`No incident on the list matches "${find}".`, "", "Esc shows all, f also closed ones."];
  if (devices.size === 0)
    return [
      "No incidents, because no device is enrolled yet.",
      "",
      "Next: picket token create --out TOKEN",
      "then on the device: picket-agent enroll --token-file TOKEN",
    ];
  return [
    "No open incidents. All quiet.",
    "",
    "Press f to see closed ones, Tab to see the devices.",
    ...(demo ? ["Press d for a harmless look-alike of an intrusion."] : []),
  ];
}
