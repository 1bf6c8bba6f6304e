import type { Alert } from "@picket/protocol/alert";
import { proposalOf, whatIsTooWide } from "@picket/protocol/exception";
import type { KeyHint } from "../components/footer.tsx";
import type { KeyPress } from "../key-press.ts";
import { draftOf, type Prompt } from "../state/state.ts";
import type { ScreenContext } from "./screen.ts";

type Question = Extract<Prompt, { kind: "exception" }>;

/** Days it may be set to by + and -. */
const DAYS = [1, 7, 14, 30, 60, 90, 180, 365];
const STANDARD_DAYS = 30;
const MAX_REASON = 500;

/** Asks for an exception to this alert, or says why there can be none. */
export function askException(alert: Alert | undefined, { dispatch, act }: ScreenContext): void {
  const proposal = alert && !alert.origin ? proposalOf(alert) : undefined;
  if (!alert || !proposal || !act.canPreview) {
    const why = !alert
      ? "nothing is selected: choose a row with the arrow keys first"
      : alert.origin
        ? `this alert was made at the site ${alert.origin.site}: an exception here would not change it`
        : proposal
          ? "this console cannot show what an exception would hide: use picket alert ID except"
          : "this tells of Picket itself: it cannot be excepted";
    dispatch({ kind: "say", message: { tone: "plain", text: why } });
    return;
  }
  dispatch({
    kind: "ask",
    prompt: {
      ...{ kind: "exception", alert: alert.id, title: alert.rule.title, rule: proposal.rule, where: proposal.where, device: alert.device },
      ...{
        dropped: [],
        allDevices: false,
        days: STANDARD_DAYS,
        step: "shape",
        typed: "",
        outcome: { state: "looking", events: 0, total: 0 },
      },
    },
  });
}

export function exceptionHints(prompt: Question): KeyHint[] {
  const cancel = ["Esc", "cancel"] as const;
  switch (prompt.step) {
    case "shape": {
      const count = Object.keys(prompt.where).length;
      return [
        ...(count > 0 ? [[count > 1 ? `1-${count}` : "1", "condition on or off"] as const] : []),
        ["d", prompt.allDevices ? `only ${prompt.device}` : "all devices"],
        ["+ -", "how long"],
        ["↵", "go on"],
        cancel,
      ];
    }
    case "reason":
      return [["↵", "see what it would hide"], cancel];
    case "preview":
      if (prompt.outcome.state === "looking") return [["s", "stop looking"], cancel];
      return [...(prompt.outcome.state === "known" ? [["y", "save it"] as const] : []), ["b", "change it"], cancel];
  }
}

/** One key of the dialog; Escape is taken before. */
export function pressException(key: KeyPress, prompt: Question, at: ScreenContext): void {
  const { dispatch, act } = at;
  const change = (changes: Partial<Question>) => dispatch({ kind: "ask", prompt: { ...prompt, ...changes } });
  switch (prompt.step) {
    case "shape":
      pressShape(key, prompt, change);
      return;
    case "reason":
      if (key.name === "backspace") dispatch({ kind: "erase" });
      else if (key.char !== undefined) dispatch({ kind: "type", text: key.char });
      else if (key.name === "enter" && prompt.typed.trim() !== "") {
        const typed = prompt.typed.trim().slice(0, MAX_REASON);
        change({ step: "preview", typed, outcome: { state: "looking", events: 0, total: 0 } });
        act.preview(prompt.alert, draftOf(prompt));
      }
      return;
    case "preview":
      if (key.char === "s" && prompt.outcome.state === "looking") act.stopPreview();
      else if (key.char === "b" && prompt.outcome.state !== "looking") change({ step: "shape" });
      else if (key.char === "y" && prompt.outcome.state === "known") {
        dispatch({ kind: "cancel" });
        act.except({ ...draftOf(prompt), reason: prompt.typed, ttlS: prompt.days * 86_400, alert: prompt.alert });
      }
  }
}

function pressShape(key: KeyPress, prompt: Question, change: (changes: Partial<Question>) => void): void {
  const names = Object.keys(prompt.where);
  const field = /^[1-9]$/.test(key.char ?? "") ? names[Number(key.char) - 1] : undefined;
  if (field !== undefined) {
    const { dropped } = prompt;
    change({ dropped: dropped.includes(field) ? dropped.filter((name) => name !== field) : [...dropped, field] });
  } else if (key.char === "d") change({ allDevices: !prompt.allDevices });
  else if (key.char === "+" || key.char === "=") change({ days: DAYS.find((days) => days > prompt.days) ?? prompt.days });
  else if (key.char === "-") change({ days: DAYS.findLast((days) => days < prompt.days) ?? prompt.days });
  else if (key.name === "enter" && !whatIsTooWide(draftOf(prompt))) change({ step: "reason" });
}
