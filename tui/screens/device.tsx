import { Page } from "../components/alert-detail.tsx";
import { devicePage } from "../components/device-detail.ts";
import { type Line, line } from "../line.ts";
import { viewOf } from "../state/state.ts";
import { askOrder, commonHints, moveOf, pressCommon, type Screen, type ScreenContext } from "./screen.ts";

/** One device in full. */
export const deviceScreen: Screen = {
  keys: (at) => [["↑↓", "scroll"], ["i", "isolate"], ["r", "release"], ["Tab", "lists"], ...commonHints(at, true)],
  press(key, at) {
    const move = moveOf(key, at.rows);
    const id = shown(at)?.id;
    if (move !== undefined) at.dispatch({ kind: "move", by: move, last: lastRow(at) });
    else if (key.char === "i") askOrder("isolate", id, "ordered in the console", at);
    else if (key.char === "r") askOrder("release", id, "ordered in the console", at);
    else pressCommon(key, at);
  },
  Body: (at) => <Page lines={page(at)} top={Math.min(at.state.scroll, lastRow(at))} columns={at.columns} rows={at.rows} />,
};

function shown({ state }: ScreenContext) {
  const view = viewOf(state);
  return view.kind === "device" ? state.devices.get(view.id) : undefined;
}

const lastRow = (at: ScreenContext) => Math.max(0, page(at).length - at.rows);

function page(at: ScreenContext): Line[] {
  const { state, columns } = at;
  const device = shown(at);
  if (!device) return [line("  This device is no longer at the site. Esc goes back.")];
  return devicePage({
    ...{ device, alerts: [...state.alerts.values()], nowMs: state.nowMs, columns },
    ...{ commands: state.history.get(device.id), ledger: state.ledgers.get(device.id) },
  });
}
