import type { Alert } from "@picket/protocol/alert";
import type { Incident } from "@picket/protocol/incident";
import type { KeyHint } from "../components/footer.tsx";
import type { KeyPress } from "../key-press.ts";
import { askOrder, type ScreenContext } from "./screen.ts";

/** What is judged: an alert, or an incident with all its alerts. */
type Subject = Pick<Alert, "id" | "device" | "status" | "origin"> & { readonly title: string; readonly incident?: true };
const ofAlert = ({ id, device, status, origin, rule }: Alert): Subject => ({
  id,
  device,
  status,
  ...(origin ? { origin } : {}),
  title: rule.title,
});

/** Keys that decide about one alert: the same on the list and on its page. True when it was one. */
export const pressJudging = (key: KeyPress, alert: Alert | undefined, at: ScreenContext): boolean =>
  press(key, alert && ofAlert(alert), at);

/** The same for an incident. */
export const pressIncident = (key: KeyPress, incident: Incident | undefined, at: ScreenContext): boolean =>
  press(key, incident && { ...incident, incident: true }, at);

function press(key: KeyPress, subject: Subject | undefined, at: ScreenContext): boolean {
  if (key.char === undefined || !"acotnir".includes(key.char)) return false;
  if (!subject) {
    at.dispatch({ kind: "say", message: { tone: "plain", text: "nothing is selected: choose a row with the arrow keys first" } });
    return true;
  }
  const { act, dispatch } = at;
  const { id, title, device, origin } = subject;
  const what = subject.incident ? "incident" : "alert";
  const mark = subject.incident ? { incident: true as const } : {};
  const judge = subject.incident ? act.judgeIncident : act.judge;
  switch (key.char) {
    case "a":
      judge(id, { status: "acknowledged" }, `acknowledged: ${title}`);
      break;
    case "c":
      dispatch({ kind: "ask", prompt: { kind: "close", alert: id, ...mark, title, verdict: undefined, typed: "" } });
      break;
    case "o":
      judge(id, { status: "open" }, `open again: ${title}`);
      break;
    case "t":
      judge(id, { assignee: act.operator }, `assigned to ${act.operator}: ${title}`);
      break;
    case "n":
      dispatch({ kind: "ask", prompt: { kind: "note", alert: id, ...mark, typed: "" } });
      break;
    case "i":
    case "r":
      if (origin) refuseOrder(origin.site, at);
      else if (key.char === "r") askOrder("release", device, `after ${what}: ${title}`, at);
      else askOrder("isolate", device, `${what}: ${title}`, at);
      break;
  }
  return true;
}

/** A device of ours may be called like the one of the other site. */
function refuseOrder(site: string, { dispatch }: ScreenContext): void {
  dispatch({ kind: "say", message: { tone: "plain", text: `this device belongs to the site ${site}: only its operators can order it` } });
}

/** What those keys do to this alert now. */
export function judgingHints(alert: Pick<Alert, "status" | "origin"> | undefined): KeyHint[] {
  if (!alert) return [];
  return [
    ...(alert.status === "open" ? [["a", "ack"] as const] : [["o", "reopen"] as const]),
    ...(alert.status === "closed" ? [] : [["c", "close"] as const]),
    ["t", "take"],
    ["n", "note"],
    ...(alert.origin ? [] : [["i", "isolate"] as const, ["r", "release"] as const]),
  ];
}
