import { Box, useInput, usePaste, useWindowSize } from "ink";
import { useSyncExternalStore } from "react";
import type { Actions } from "./actions.ts";
import { Footer, footerLines } from "./components/footer.tsx";
import { Header, headerRows } from "./components/header.tsx";
import { ColorContext } from "./components/lines.tsx";
import { StatusLine, statusLines } from "./components/status-line.tsx";
import { Tabs } from "./components/tabs.tsx";
import { keysOf } from "./key-press.ts";
import { alertScreen } from "./screens/alert.tsx";
import { alertsScreen } from "./screens/alerts.tsx";
import { deviceScreen } from "./screens/device.tsx";
import { devicesScreen } from "./screens/devices.tsx";
import { incidentScreen } from "./screens/incident.tsx";
import { incidentsScreen } from "./screens/incidents.tsx";
import { promptScreen } from "./screens/prompt.tsx";
import type { Screen, ScreenContext } from "./screens/screen.ts";
import { type ConsoleState, type View, viewOf } from "./state/state.ts";
import type { Store } from "./store.ts";

const screens: Record<View["kind"], Screen> = {
  incidents: incidentsScreen,
  incident: incidentScreen,
  alerts: alertsScreen,
  alert: alertScreen,
  devices: devicesScreen,
  device: deviceScreen,
};

/** More characters than this in one read of the terminal are a paste, and no list key. */
const PASTE = 16;

type Props = { readonly store: Store; readonly act: Actions; readonly color: boolean };

/** The whole console: fills the terminal, follows its size, and gives each key to the screen on top. */
export function App({ store, act, color }: Props) {
  const { columns, rows } = useWindowSize();
  const state = useSyncExternalStore(store.subscribe, store.get);
  useInput((input, key) => {
    const keys = keysOf(input, key);
    for (const press of keys) {
      // Also in the middle: a line end in it may have answered the question it was meant for.
      if (keys.length > PASTE && !store.get().prompt) return notAKey(store);
      const at = contextOf(store.get(), store, act, columns, rows);
      screenOf(at.state).press(press, at);
    }
  });
  // Terminals that mark what is pasted (DEC mode 2004) make it sure. A question takes it as text, line ends as spaces.
  usePaste((text) => {
    if (store.get().prompt) store.dispatch({ kind: "type", text: text.trim().replaceAll(/\s+/g, " ") });
    else notAKey(store);
  });
  return <Frame at={contextOf(state, store, act, columns, rows)} color={color} />;
}

const notAKey = (store: Store) =>
  store.dispatch({ kind: "say", message: { tone: "plain", text: "that looked like a paste: nothing was done" } });

/** Draws a state: no keys, no effects. */
export function Frame({ at, color }: { readonly at: ScreenContext; readonly color: boolean }) {
  const { state, columns } = at;
  const screen = screenOf(state);
  return (
    <ColorContext value={color}>
      <Box flexDirection="column" width={columns}>
        <Header state={state} columns={columns} />
        <Tabs state={state} columns={columns} />
        <Box height={at.rows} flexDirection="column">
          <screen.Body key={state.prompt ? "prompt" : viewOf(state).kind} {...at} />
        </Box>
        <StatusLine state={state} columns={columns} />
        <Footer keys={screen.keys(at)} columns={columns} />
      </Box>
    </ColorContext>
  );
}

export const screenOf = (state: ConsoleState): Screen => (state.prompt ? promptScreen : screens[viewOf(state).kind]);

/** A screen's context in a terminal of this size: what header, tabs, status and keys leave is its body. */
export function contextOf(state: ConsoleState, store: Pick<Store, "dispatch">, act: Actions, columns: number, rows: number): ScreenContext {
  const at: ScreenContext = { state, dispatch: store.dispatch, act, columns, rows: 1 };
  const around =
    headerRows(state, columns) + 1 + statusLines(state, columns).length + footerLines(screenOf(state).keys(at), columns).length;
  return { ...at, rows: Math.max(2, rows - around) };
}
