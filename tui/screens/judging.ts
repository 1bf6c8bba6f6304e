import type { Alert } from "@picket/protocol/alert";
import type { KeyHint } from "../components/footer.tsx";
import type { KeyPress } from "../key-press.ts";
import { askOrder, type ScreenContext } from "./screen.ts";

/** Keys that decide about one alert: the same on the list and on its page. True when it was one. */
export function pressJudging(key: KeyPress, alert: Alert | undefined, at: ScreenContext): boolean {
  if (key.char === undefined || !"acotnir".includes(key.char)) return false;
  if (!alert) {
    at.dispatch({ kind: "say", message: { tone: "plain", text: "nothing is selected: choose a row with the arrow keys first" } });
    return true;
  }
  const { act, dispatch } = at;
  switch (key.char) {
    case "a":
      act.judge(alert.id, { status: "acknowledged" }, `acknowledged: ${alert.rule.title}`);
      break;
    case "c":
      dispatch({ kind: "ask", prompt: { kind: "close", alert: alert.id, title: alert.rule.title, verdict: undefined, typed: "" } });
      break;
    case "o":
      act.judge(alert.id, { status: "open" }, `open again: ${alert.rule.title}`);
      break;
    case "t":
      act.judge(alert.id, { assignee: act.operator }, `assigned to ${act.operator}: ${alert.rule.title}`);
      break;
    case "n":
      dispatch({ kind: "ask", prompt: { kind: "note", alert: alert.id, typed: "" } });
      break;
    case "i":
    case "r":
      if (alert.origin) refuseOrder(alert.origin.site, at);
      else if (key.char === "r") askOrder("release", alert.device, `after alert: ${alert.rule.title}`, at);
      else askOrder("isolate", alert.device, `alert: ${alert.rule.title}`, at);
      break;
  }
  return true;
}

/** A device of ours may be called like the one of the other site. */
function refuseOrder(site: string, { dispatch }: ScreenContext): void {
  dispatch({ kind: "say", message: { tone: "plain", text: `this device belongs to the site ${site}: only its operators can order it` } });
}

/** What those keys do to this alert now. */
export function judgingHints(alert: Alert | undefined): KeyHint[] {
  if (!alert) return [];
  return [
    ...(alert.status === "open" ? [["a", "ack"] as const] : [["o", "reopen"] as const]),
    ...(alert.status === "closed" ? [] : [["c", "close"] as const]),
    ["t", "take"],
    ["n", "note"],
    ...(alert.origin ? [] : [["i", "isolate"] as const, ["r", "release"] as const]),
  ];
}
