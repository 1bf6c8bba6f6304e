import type { Alert } from "@picket/protocol/alert";
import type { Ledger } from "@picket/protocol/ledger";
import type { CommandRecord, Device } from "@picket/protocol/rest";
import type { Capability } from "@picket/protocol/status";
import { wrap } from "../cells.ts";
import { hoursLine, hourWords, LEGEND, ledgerRows, minuteWords, worstHours } from "../ledger.ts";
import { blank, column, type Line, line, type Span, span, type Tone } from "../line.ts";
import { worstAlertFirst } from "../state/order.ts";
import {
  commandView,
  coverageWords,
  dateWords,
  type IsolationView,
  isDark,
  isolationOf,
  presenceWords,
  settingsWords,
  spanWords,
  whyWords,
} from "../words.ts";
import { severitySpan } from "./alert-list.tsx";

type Of = {
  readonly device: Device;
  readonly alerts: readonly Alert[];
  readonly commands: readonly CommandRecord[] | undefined;
  readonly ledger: Ledger | undefined;
  readonly nowMs: number;
  readonly columns: number;
};

/** Everything about one device: can we see it, what did we miss, what was ordered, what is open. */
export function devicePage(of: Of): Line[] {
  const { device, nowMs, columns } = of;
  const open = of.alerts.filter((alert) => !alert.origin && alert.device === device.id && alert.status === "open").sort(worstAlertFirst);
  return [
    line(
      " ",
      span(device.id, "title"),
      "  ",
      span(presenceWords(device, nowMs), isDark(device) ? "bad" : device.trust === "revoked" ? "faint" : "good"),
    ),
    blank,
    ...(open.length > 0 ? [alertCount(open)] : []),
    ...isolationLines(device, nowMs, columns),
    ...coverageLines(device, columns),
    ...agentLines(device, nowMs),
    ...settingsLines(device, columns),
    fact(
      "certificate",
      `valid until ${dateWords(device.certificateExpiresMs)}, enrolled ${dateWords(device.enrolledMs)}`,
      device.certificateExpiresMs < nowMs ? "bad" : "plain",
    ),
    ...section("Its events, in the last 24 hours and in all", ledgerLines(of.ledger, nowMs, columns)),
    ...section("Sensor", sensorLines(device.status?.capabilities ?? [], columns)),
    ...section("Open alerts", alertLines(open, nowMs)),
    ...section("Orders", commandLines(of)),
  ];
}

const fact = (name: string, ...parts: [text: string, tone?: Tone]): Line => line("  ", column(name, 13, "faint"), span(...parts));
const section = (title: string, lines: readonly Line[]): Line[] =>
  lines.length > 0 ? [blank, line(span(` ${title}`, "title")), ...lines] : [];
const wrapped = (first: Span, text: string, columns: number, tone: Tone = "plain"): Line[] =>
  wrap(text, columns - 16).map((row, index) => line("  ", index === 0 ? first : column("", 13), span(row, tone)));

const isolationSays: Record<IsolationView, { text: string; tone: Tone }> = {
  no: { text: "not isolated", tone: "plain" },
  isolating: { text: "isolation ordered, the device has not confirmed it yet", tone: "medium" },
  isolated: { text: "ISOLATED: only its connection to the site is left", tone: "medium" },
  releasing: { text: "release ordered, the device still says it is isolated", tone: "medium" },
  "self-released": {
    text: "let itself go: the site was unreachable until its dead-man timer ended; order isolation again with i",
    tone: "bad",
  },
};

function isolationLines(device: Device, nowMs: number, columns: number): Line[] {
  const { text, tone } = isolationSays[isolationOf(device)];
  const state = device.status?.isolation;
  const since =
    state?.sinceMs === undefined || state.state === "off" ? "" : `, for ${spanWords(Math.max(1000, nowMs - state.sinceMs))} now`;
  const left = state?.deadManLeftMs === undefined ? "" : `. It lets itself go in ${spanWords(state.deadManLeftMs)} if the site stays away`;
  const reason = state?.reason ? `. Reason: ${state.reason}` : "";
  return wrapped(column("network", 13, "faint"), text + since + left + reason, columns, tone);
}

function coverageLines(device: Device, columns: number): Line[] {
  const { stored, lost } = device.coverage;
  const text = `${coverageWords(device.coverage)}: ${stored} events stored, ${lost === 0 ? "none" : lost} lost`;
  return wrapped(column("coverage", 13, "faint"), text, columns, lost > 0 ? "bad" : "plain");
}

/** The last day by the hour, the worst hours in words, and what became of everything. */
function ledgerLines(ledger: Ledger | undefined, nowMs: number, columns: number): Line[] {
  if (!ledger) return [];
  return [
    line("  ", column("by the hour", 13, "faint"), hoursLine(ledger, nowMs)),
    line("  ", column("", 13), span(LEGEND, "faint")),
    ...worstHours(ledger, 2).flatMap((hour) =>
      wrapped(column(`  ${minuteWords(hour.hourMs)}`, 13, "faint"), hourWords(hour), columns, "bad"),
    ),
    ...ledgerRows(ledger).flatMap(({ name, count, words, bad }) =>
      wrap(words, Math.max(16, columns - 30)).map((row, index) => {
        const tone = bad ? "bad" : "plain";
        const head = index === 0 ? [column(name, 13, "faint"), column(String(count), 11, tone, "right")] : [column("", 24)];
        return line("  ", ...head, "  ", span(row, tone));
      }),
    ),
  ];
}

function agentLines(device: Device, nowMs: number): Line[] {
  const { status } = device;
  if (!status) return [fact("agent", "has not reported yet")];
  return [
    fact("agent", `${status.version}, ${Math.round(status.rssBytes / 1048576)} MB, up ${spanWords(status.uptimeS * 1000)} (host)`),
    fact("system", `${status.arch}, Linux ${status.kernel}`),
    ...(status.buffer.events > 0
      ? [fact("waiting", `${status.buffer.events} event${status.buffer.events === 1 ? "" : "s"} on the device, not sent yet`, "medium")]
      : []),
    ...(Math.abs(status.timeMs - (device.lastSeenMs ?? status.timeMs)) > 60_000
      ? [fact("clock", `differs from the site's by ${spanWords(Math.abs(status.timeMs - (device.lastSeenMs ?? nowMs)))}`, "medium")]
      : []),
  ];
}

function settingsLines({ status }: Device, columns: number): Line[] {
  if (!status) return [];
  const { words, refused } = settingsWords(status);
  return wrapped(column("settings", 13, "faint"), words, columns, refused ? "bad" : "plain");
}

/** "1 CRITICAL, 40 medium": they themselves stand below. */
function alertCount(open: readonly Alert[]): Line {
  const counts = new Map<Alert["severity"], number>();
  for (const { severity } of open) counts.set(severity, (counts.get(severity) ?? 0) + 1);
  const spans = [...counts].flatMap(([severity, count], index) => [
    index > 0 ? ", " : "",
    span(`${count} `),
    severitySpan(severity, severity.length),
  ]);
  return line("  ", column("open alerts", 13, "faint"), ...spans);
}

/** `open`: the worst first. */
function alertLines(open: readonly Alert[], nowMs: number): Line[] {
  const rows = open
    .slice(0, 5)
    .map((alert) =>
      line("  ", severitySpan(alert.severity, 9), column(spanWords(nowMs - alert.lastMs), 8, "plain", "right"), "  ", alert.rule.title),
    );
  return open.length > 5 ? [...rows, line(span(`  and ${open.length - 5} more`, "faint"))] : rows;
}

const levels: Record<Exclude<Capability["level"], "live">, { word: string; tone: Tone }> = {
  degraded: { word: "DEGRADED", tone: "medium" },
  off: { word: "OFF", tone: "bad" },
};

/** What does not work in full, with what to do; what works is only named. */
function sensorLines(capabilities: readonly Capability[], columns: number): Line[] {
  const live = capabilities.filter(({ level }) => level === "live").map(({ name }) => name);
  const rest = capabilities.flatMap(({ name, level, why, todo }) => {
    if (level === "live") return [];
    const { word, tone } = levels[level];
    const text = wrap(whyWords({ why, todo }), columns - 8);
    return [line("  ", column(name, 19), " ", span(word, tone)), ...text.map((row) => line("      ", row))];
  });
  return live.length > 0 ? [...rest, ...wrapped(column("live", 13, "good"), live.join(", "), columns)] : rest;
}

function commandLines({ commands, device, nowMs, columns }: Of): Line[] {
  if (!commands) return [line(span("  reading…", "faint"))];
  if (commands.length === 0) return [line(span("  none so far", "faint"))];
  return commands.slice(0, 10).flatMap((command) => {
    const view = commandView(command, device, nowMs);
    const tone = view.outcome === "failed" ? "bad" : view.outcome === "done" ? "good" : "medium";
    const head = line("  ", span(dateWords(command.createdMs), "faint"), `  ${command.act}`, span(` by ${command.operator}`, "faint"));
    return [head, ...wrap(view.words, columns - 8).map((row) => line("      ", span(row, tone)))];
  });
}
