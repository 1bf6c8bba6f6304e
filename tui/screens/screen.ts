import type { ReactElement } from "react";
import type { Actions } from "../actions.ts";
import type { KeyHint } from "../components/footer.tsx";
import type { KeyPress } from "../key-press.ts";
import type { ConsoleState, Step } from "../state/state.ts";
import { isolationOf } from "../words.ts";

/** What a screen works with. `rows` and `columns` are those of its body. */
export type ScreenContext = {
  readonly state: ConsoleState;
  readonly dispatch: (step: Step) => void;
  readonly act: Actions;
  readonly columns: number;
  readonly rows: number;
};

/** A screen owns its keys and says them; components draw. */
export type Screen = {
  readonly keys: (at: ScreenContext) => readonly KeyHint[];
  readonly press: (key: KeyPress, at: ScreenContext) => void;
  readonly Body: (at: ScreenContext) => ReactElement;
};

/** Keys that work on every screen but a prompt. True when it was one. */
export function pressCommon(key: KeyPress, { state, dispatch, act }: ScreenContext): boolean {
  if (key.char === "q") act.quit();
  else if (key.char === "1") dispatch({ kind: "list", list: "incidents" });
  else if (key.char === "2") dispatch({ kind: "list", list: "devices" });
  else if (key.char === "3") dispatch({ kind: "list", list: "alerts" });
  else if (key.name === "tab") dispatch({ kind: "list", list: nextList(state) });
  else if (key.char === "d" && act.demoAttack) act.demoAttack();
  else if (key.name === "escape") dispatch({ kind: state.views.length > 1 ? "back" : "dismiss" });
  else return false;
  return true;
}

const lists = ["incidents", "devices", "alerts"] as const;

/** The list after the one that is shown, or that the page was opened from. */
export const nextList = ({ views }: ConsoleState) => lists[(lists.findIndex((name) => name === views[0]?.kind) + 1) % lists.length]!;

export const commonHints = ({ act }: ScreenContext, back: boolean): KeyHint[] => [
  ...(act.demoAttack ? [["d", "demo attack"] as const] : []),
  ...(back ? [["Esc", "back"] as const] : []),
  ["q", "quit"],
];

/** Moves by key, in rows; `page` is the height of what scrolls. */
export function moveOf(key: KeyPress, page: number): number | undefined {
  if (key.name === "up" || key.char === "k") return -1;
  if (key.name === "down" || key.char === "j") return 1;
  if (key.name === "pageup") return -Math.max(1, page - 1);
  if (key.name === "pagedown" || key.char === " ") return Math.max(1, page - 1);
  if (key.name === "home" || key.char === "g") return -1_000_000;
  if (key.name === "end" || key.char === "G") return 1_000_000;
  return undefined;
}

/** Asks for confirmation of an order, or says why there is nothing to order. */
export function askOrder(act: "isolate" | "release", device: string | undefined, reason: string, { state, dispatch }: ScreenContext): void {
  const why = notOrderable(act, device, state);
  if (why !== undefined || device === undefined) dispatch({ kind: "say", message: { tone: "plain", text: why ?? "" } });
  else dispatch({ kind: "ask", prompt: { kind: "order", act, device, reason: reason.slice(0, 256), typed: "" } });
}

function notOrderable(act: "isolate" | "release", id: string | undefined, state: ConsoleState): string | undefined {
  if (id === undefined) return "nothing is selected: choose a row with the arrow keys first";
  const device = state.devices.get(id);
  if (!device) return `${id} is not in the list of devices`;
  if (device.trust === "revoked") return `${id} is revoked: it takes no orders`;
  const isolation = isolationOf(device);
  if (act === "isolate" && isolation === "isolated") return `${id} is isolated already; r releases it`;
  if (act === "release" && isolation === "no") return `${id} is not isolated; i isolates it`;
  return undefined;
}
