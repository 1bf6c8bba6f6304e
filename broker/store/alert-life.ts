// What operators decide about an alert, ours or another site's: the columns that hold it, and how one decision follows another.
import type { Alert, AlertDecision, AlertStatus, AlertVerdict, Detection } from "@picket/protocol/alert";
import { severities } from "@picket/protocol/alert";

/** As stored. */
export type Judged = {
  readonly status: AlertStatus;
  readonly verdict: AlertVerdict | null;
  readonly assignee: string | null;
  readonly notes: string;
  readonly history: string;
};
export const judgedColumns = "status, verdict, assignee, notes, history";
/** For an UPDATE that binds a `Judged`. */
export const setJudged = "status = $status, verdict = $verdict, assignee = $assignee, notes = $notes, history = $history";

const MAX_NOTES = 200;
const MAX_HISTORY = 100;

/** What an alert shows of it. */
export function judgedOf(row: Judged): Pick<Alert, "status" | "verdict" | "assignee" | "notes" | "history"> {
  const history = JSON.parse(row.history) as AlertDecision[];
  return {
    status: row.status,
    ...(row.verdict === null ? {} : { verdict: row.verdict }),
    ...(history.length === 0 ? {} : { history }),
    ...(row.assignee === null ? {} : { assignee: row.assignee }),
    notes: JSON.parse(row.notes) as Alert["notes"],
  };
}

export type Judgement = {
  readonly status?: AlertStatus | undefined;
  /** With `status` closed. */
  readonly verdict?: AlertVerdict | undefined;
  readonly assignee?: string | undefined;
  readonly note?: string | undefined;
  /** Number of the exception made from it. */
  readonly exception?: number | undefined;
};

/** What is judged: an alert, or an incident by the events it counts. */
export type Judgeable = Pick<Alert, "status" | "verdict" | "assignee" | "notes" | "history" | "count">;

/** An alert after a decision. What is left out stays; what changes nothing is no decision; the newest notes and decisions are kept. A verdict ends with the closing it belongs to. */
export function judged(alert: Judgeable, judgement: Judgement, by: { operator: string; nowMs: number }): Judged {
  const { note, exception } = judgement;
  const status = judgement.status ?? alert.status;
  const verdict = status === "closed" ? (judgement.verdict ?? (alert.status === "closed" ? alert.verdict : undefined)) : undefined;
  const at = { timeMs: by.nowMs, operator: by.operator, count: alert.count };
  const decisions: AlertDecision[] = [];
  if (exception !== undefined) decisions.push({ ...at, what: "excepted", detail: String(exception) });
  if (status !== alert.status || verdict !== alert.verdict)
    decisions.push({ ...at, what: status === "open" ? "opened" : status, ...(verdict === undefined ? {} : { verdict }) });
  const assignee = judgement.assignee ?? alert.assignee;
  if (assignee !== undefined && assignee !== alert.assignee) decisions.push({ ...at, what: "assigned", detail: assignee });
  const notes = note ? [...alert.notes, { timeMs: by.nowMs, operator: by.operator, text: note }] : alert.notes;
  return {
    status,
    verdict: verdict ?? null,
    assignee: assignee ?? null,
    notes: JSON.stringify(notes.slice(-MAX_NOTES)),
    history: JSON.stringify([...(alert.history ?? []), ...decisions].slice(-MAX_HISTORY)),
  };
}

/**
 * Why a closed alert that grew is to be looked at again: it is worse than what was judged, or shows techniques that were not in it. Undefined while it is
 * more of the same, which only counts up: within its ten minutes nobody is told twice of what they have just closed.
 */
export function whyReopen(before: Detection, now: Detection): string | undefined {
  if (severities.indexOf(now.severity) > severities.indexOf(before.severity))
    return `${now.severity} now; ${before.severity} when it was closed`;
  const added = now.attack.techniques.filter((technique) => !before.attack.techniques.includes(technique));
  return added.length > 0 ? `${added.join(", ")} came to it` : undefined;
}

/** A closed alert, opened again by the site. */
export const reopened = (alert: Alert, why: string, nowMs: number): Judged => {
  const opened = judged(alert, { status: "open" }, { operator: "picket", nowMs });
  const history = JSON.parse(opened.history) as AlertDecision[];
  return { ...opened, history: JSON.stringify([...history.slice(0, -1), { ...history.at(-1)!, detail: why }]) };
};
