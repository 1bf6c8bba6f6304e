import type { Alert } from "@picket/protocol/alert";
import { proposalOf } from "@picket/protocol/exception";
import { alertPage, Page } from "../components/alert-detail.tsx";
import type { KeyHint } from "../components/footer.tsx";
import { type Line, line } from "../line.ts";
import { viewOf } from "../state/state.ts";
import { askException } from "./exception.ts";
import { judgingHints, pressJudging } from "./judging.ts";
import { commonHints, moveOf, pressCommon, type Screen, type ScreenContext } from "./screen.ts";

/** One alert in full. */
export const alertScreen: Screen = {
  keys: (at) => [
    ["↑↓", "scroll"],
    ["w", at.state.wrapped ? "show less" : "show all"],
    ...judgingHints(shown(at)),
    ...exceptionHint(shown(at)),
    ["↵", "device"],
    ...commonHints(at, true),
  ],
  press(key, at) {
    const move = moveOf(key, at.rows);
    const alert = shown(at);
    if (move !== undefined) at.dispatch({ kind: "move", by: move, last: lastRow(at) });
    else if (key.char === "e") askException(alert, at);
    else if (key.char === "w") at.dispatch({ kind: "toggle-wrap" });
    else if (key.name === "enter" && alert && deviceOf(alert, at)) {
      at.dispatch({ kind: "open", view: { kind: "device", id: alert.device } });
      at.act.readHistory(alert.device);
    } else if (!pressJudging(key, alert, at)) pressCommon(key, at);
  },
  Body: (at) => <Page lines={page(at)} top={Math.min(at.state.scroll, lastRow(at))} columns={at.columns} rows={at.rows} />,
};

/** Not where there can be none. */
const exceptionHint = (alert: Alert | undefined): KeyHint[] => (alert && !alert.origin && proposalOf(alert) ? [["e", "except"]] : []);

function shown({ state }: ScreenContext) {
  const view = viewOf(state);
  return view.kind === "alert" ? state.alerts.get(view.id) : undefined;
}

/** A device of another site may be called like one of ours. */
const deviceOf = (alert: Alert, { state }: ScreenContext) => (alert.origin ? undefined : state.devices.get(alert.device));

const lastRow = (at: ScreenContext) => Math.max(0, page(at).length - at.rows);

function page(at: ScreenContext): Line[] {
  const { state, columns } = at;
  const alert = shown(at);
  if (!alert) return [line("  This alert is no longer at the site. Esc goes back.")];
  return alertPage({
    alert,
    device: deviceOf(alert, at),
    evidence: state.evidence.get(alert.id),
    nowMs: state.nowMs,
    columns,
    wrapped: state.wrapped,
  });
}
