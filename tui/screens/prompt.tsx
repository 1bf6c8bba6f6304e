import { Lines } from "../components/lines.tsx";
import { Prompt } from "../components/prompt.tsx";
import type { Prompt as Question } from "../state/state.ts";
import type { Screen, ScreenContext } from "./screen.ts";

/** A question over any screen. It takes every key; Escape leaves everything as it was. */
export const promptScreen: Screen = {
  keys: ({ state }) => {
    const { prompt } = state;
    if (prompt?.kind === "order") {
      const confirmed = prompt.typed === prompt.device;
      return [
        ["↵", confirmed ? `${prompt.act} ${prompt.device}` : "(type the name first)"],
        ["Esc", "cancel"],
      ];
    }
    return [
      ["↵", "save the note"],
      ["Esc", "cancel"],
    ];
  },
  press(key, at) {
    const { state, dispatch } = at;
    if (!state.prompt) return;
    if (key.name === "escape") dispatch({ kind: "cancel" });
    else if (key.name === "backspace") dispatch({ kind: "erase" });
    else if (key.name === "enter") answer(state.prompt, at);
    else if (key.char !== undefined) dispatch({ kind: "type", text: key.char });
  },
  Body: ({ state, act, columns, rows }) => {
    const { prompt } = state;
    const device = prompt?.kind === "order" ? state.devices.get(prompt.device) : undefined;
    if (!prompt) return <Lines lines={[]} columns={columns} />;
    return <Prompt prompt={prompt} device={device} deadManMs={act.deadManMs} nowMs={state.nowMs} columns={columns} rows={rows} />;
  },
};

function answer(prompt: Question, { dispatch, act }: ScreenContext): void {
  if (prompt.kind === "note") {
    dispatch({ kind: "cancel" });
    const note = prompt.typed.trim();
    if (note) act.judge(prompt.alert, { note }, "note saved");
    return;
  }
  if (prompt.typed !== prompt.device) return;
  dispatch({ kind: "cancel" });
  act.order(prompt.act, prompt.device, prompt.reason);
}
