import { Lines } from "../components/lines.tsx";
import { Prompt } from "../components/prompt.tsx";
import { verdictWords } from "../exception-words.ts";
import type { KeyPress } from "../key-press.ts";
import type { Prompt as Question } from "../state/state.ts";
import { exceptionHints, pressException } from "./exception.ts";
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
    if (prompt?.kind === "exception") return exceptionHints(prompt);
    if (prompt?.kind === "close")
      return prompt.verdict === undefined
        ? [
            ["t", "it was real"],
            ["f", "it was nothing"],
            ["Esc", "cancel"],
          ]
        : [
            ["↵", `close it${verdictWords(prompt.verdict)}`],
            ["Esc", "cancel"],
          ];
    return [
      ["↵", prompt?.kind === "find" ? "show what matches" : "save the note"],
      ["Esc", "cancel"],
    ];
  },
  press(key, at) {
    const { state, dispatch, act } = at;
    if (!state.prompt) return;
    if (key.name === "escape") {
      if (state.prompt.kind === "exception") act.stopPreview();
      dispatch({ kind: "cancel" });
    } else if (state.prompt.kind === "exception") pressException(key, state.prompt, at);
    else if (state.prompt.kind === "close" && state.prompt.verdict === undefined) chooseVerdict(key, state.prompt, at);
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

/** What an alert was is said by a key of its own: nothing is closed by Enter alone. */
function chooseVerdict({ char }: KeyPress, prompt: Extract<Question, { kind: "close" }>, { dispatch }: ScreenContext): void {
  const verdict = char === "t" ? "true_positive" : char === "f" ? "false_positive" : undefined;
  if (verdict) dispatch({ kind: "ask", prompt: { ...prompt, verdict } });
}

function answer(prompt: Question, { dispatch, act }: ScreenContext): void {
  if (prompt.kind === "note") {
    dispatch({ kind: "cancel" });
    const note = prompt.typed.trim();
    const judge = prompt.incident ? act.judgeIncident : act.judge;
    if (note) judge(prompt.alert, { note }, "note saved");
    return;
  }
  if (prompt.kind === "find") {
    dispatch({ kind: "cancel" });
    dispatch({ kind: "find", text: prompt.typed });
    return;
  }
  if (prompt.kind === "close") {
    dispatch({ kind: "cancel" });
    const note = prompt.typed.trim();
    const { alert, verdict, title } = prompt;
    const judge = prompt.incident ? act.judgeIncident : act.judge;
    judge(alert, { status: "closed", verdict, ...(note ? { note } : {}) }, `closed${verdictWords(verdict)}: ${title} (o opens it again)`);
    return;
  }
  if (prompt.kind === "exception" || prompt.typed !== prompt.device) return;
  dispatch({ kind: "cancel" });
  act.order(prompt.act, prompt.device, prompt.reason);
}
