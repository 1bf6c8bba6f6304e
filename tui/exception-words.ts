// Exceptions, what they would have hidden, and what became of an alert, in words: the same on the command line and in the console.
import type { Alert, AlertDecision, AlertRecurrence } from "@picket/protocol/alert";
import { type Exception, type ExceptionPreview, type ExceptionRequest, isWide } from "@picket/protocol/exception";
import { dateWords, spanWords } from "./words.ts";

const DAY_MS = 86_400_000;
const counted = (count: number, noun: string) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** "Image is /usr/bin/rsync". */
export function conditionWords(key: string, values: readonly string[]): string {
  const [field, how, all] = key.split("|");
  const verb = { contains: "contains", startswith: "begins with", endswith: "ends with", cidr: "is in" }[how ?? ""] ?? "is";
  return `${field} ${verb} ${values.join(all === undefined ? " or " : " and ")}`;
}

export const devicesWords = (devices: readonly string[]): string => (devices.length === 0 ? "all devices" : devices.join(", "));

/** What it hides, in one line. */
export function whatWords({ rule, where, devices }: Pick<ExceptionRequest, "rule" | "where" | "devices">): string {
  const conditions = Object.entries(where).map(([key, values]) => conditionWords(key, values));
  const of = rule === "*" ? "every rule" : isWide(rule) ? `every rule of ${rule.slice("engine:".length)}` : `rule ${rule}`;
  return `${of} on ${devicesWords(devices)}${conditions.length > 0 ? ` where ${conditions.join(" and ")}` : ""}`;
}

/** Until when it holds, or how it ended. */
export function endWords({ state, expiresMs, endedMs, endedBy }: Exception, nowMs: number): string {
  if (state === "removed") return `removed ${dateWords(endedMs ?? 0)} by ${endedBy ?? "?"}`;
  if (state === "expired") return `expired ${dateWords(expiresMs)}`;
  const days = Math.ceil((expiresMs - nowMs) / DAY_MS);
  return `until ${dateWords(expiresMs)} (${counted(days, "day")})`;
}

export const usedWords = ({ used, lastUsedMs }: Exception): string =>
  used === 0 ? "never used" : `used ${counted(used, "time")}, last ${dateWords(lastUsedMs ?? 0)}`;

/** What it would have hidden, and first what speaks against it. `nowMs`: to tell how far back it looked. */
export function previewWords(preview: ExceptionPreview, nowMs: number): { readonly warnings: string[]; readonly lines: string[] } {
  const { alerts, matches, devices, rules, examples, truePositives, openCritical, events, total } = preview;
  const warnings = [
    ...(truePositives > 0 ? [`It would hide ${counted(truePositives, "alert")} that somebody closed as a true positive.`] : []),
    ...(openCritical > 0 ? [`It would hide ${counted(openCritical, "critical alert")} that nobody has closed.`] : []),
    ...(rules.length > 1
      ? [`It would hide alerts of ${rules.length} rules: ${rules.slice(0, 5).join("; ")}${rules.length > 5 ? "; …" : ""}.`]
      : []),
    ...(events < total ? [`It was stopped: ${events} of ${total} events were looked at.`] : []),
  ];
  const where = devices
    .slice(0, 5)
    .map(({ device, alerts, matches }) => `${device} (${counted(alerts, "alert")}, ${counted(matches, "event")})`);
  const looked = `In the last ${spanWords(Math.max(60_000, nowMs - preview.sinceMs))}`;
  const hidden = alerts.gone + alerts.smaller;
  return {
    warnings,
    lines: [
      hidden + matches === 0
        ? `${looked} it would have hidden nothing: ${counted(alerts.all, "alert")} of this rule, ${counted(events, "event")} looked at.`
        : `${looked} it would have hidden ${counted(alerts.gone, "alert")} of ${alerts.all}${alerts.smaller > 0 ? `, made ${alerts.smaller} smaller` : ""}, ${counted(matches, "event")} of ${events} looked at.`,
      ...(where.length > 0
        ? [`On ${where.join(", ")}${devices.length > where.length ? ` and ${devices.length - where.length} more` : ""}`]
        : []),
      ...examples.map(({ timeMs, device, words }) => `${dateWords(timeMs)} ${device}: ${words}`),
    ],
  };
}

/** "closed as a false positive". */
export const verdictWords = (verdict: Alert["verdict"]): string => (verdict === undefined ? "" : ` as a ${verdict.replace("_", " ")}`);

/** "closed as a false positive, taken by anna". */
export const statusWords = ({ status, verdict, assignee }: Pick<Alert, "status" | "verdict" | "assignee">): string =>
  `${status}${verdictWords(verdict)}${assignee === undefined || assignee === "" ? "" : `, taken by ${assignee}`}`;

/** One decision: "2026-03-01 03:12:01 anna closed it as a false positive (seen 12 times by then)". */
export function decisionWords({ timeMs, operator, what, verdict, detail, count }: AlertDecision): string {
  const deed = {
    acknowledged: "acknowledged it",
    closed: `closed it${verdictWords(verdict)}`,
    opened: `opened it again${detail === undefined ? "" : `: ${detail}`}`,
    assigned: `gave it to ${detail ?? "?"}`,
    excepted: `made exception ${detail ?? "?"} from it`,
  }[what];
  return `${dateWords(timeMs)} ${operator} ${deed}${what === "closed" ? ` (seen ${counted(count, "time")} by then)` : ""}`;
}

/** How often the same was seen in all: "seen 40 times in 3 days, in 7 alerts (5 closed as false positives)". Undefined when this is the only alert of it. */
export function recurrenceWords({ alerts, count, firstMs, lastMs, true_positive, false_positive }: AlertRecurrence): string | undefined {
  if (alerts < 2) return undefined;
  const closed = [
    ...(false_positive > 0 ? [`${false_positive} closed as false positive`] : []),
    ...(true_positive > 0 ? [`${true_positive} closed as true positive`] : []),
  ];
  return `the same: seen ${counted(count, "time")} in ${spanWords(Math.max(60_000, lastMs - firstMs))}, in ${alerts} alerts${closed.length > 0 ? ` (${closed.join(", ")})` : ""}`;
}

/** How often a closed alert was seen since it was closed; undefined when it was not. */
export function sinceClosedWords({ status, history, count }: Alert): string | undefined {
  const closing = status === "closed" ? history?.findLast(({ what }) => what === "closed") : undefined;
  return closing && count > closing.count ? `seen ${counted(count - closing.count, "time")} since it was closed` : undefined;
}
