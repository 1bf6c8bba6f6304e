import type { Alert, TreeNode } from "@picket/protocol/alert";
import { eventId, type SensorEvent } from "@picket/protocol/event";
import type { Device } from "@picket/protocol/rest";
import { advice } from "../advice.ts";
import { cut, wrap } from "../cells.ts";
import { commandLine, eventWords, inOrder } from "../event-words.ts";
import { decisionWords, recurrenceWords, sinceClosedWords, statusWords } from "../exception-words.ts";
import { blank, column, fill, type Line, line, span } from "../line.ts";
import type { Evidence } from "../state/state.ts";
import { foldTree, matchedOn } from "../tree.ts";
import { agoWords, clockWords, dateWords, isolationOf, isolationWords, originWords, presenceWords, summaryWords } from "../words.ts";
import { severitySpan } from "./alert-list.tsx";
import { Lines } from "./lines.tsx";

type Props = {
  readonly lines: readonly Line[];
  readonly top: number;
  readonly columns: number;
  readonly rows: number;
};

/** A page of rows with the last one telling what lies below. */
export function Page({ lines, top, columns, rows }: Props) {
  const below = lines.length - top - rows;
  const shown = lines.slice(top, top + rows);
  if (below > 0) shown[rows - 1] = line(span(`  ↓ ${below + 1} more rows`, "faint"));
  return <Lines lines={fill(shown, rows)} columns={columns} />;
}

type Of = {
  readonly alert: Alert;
  readonly device: Device | undefined;
  readonly evidence: Evidence | undefined;
  readonly nowMs: number;
  readonly columns: number;
  /** Long commands on several rows instead of cut. */
  readonly wrapped: boolean;
};

/** Everything about one alert, so that the first screen answers: what, where, what to do, and what in the tree of processes made it. */
export function alertPage(of: Of): Line[] {
  const { alert, device, columns } = of;
  const { now, later } = advice(alert, device, "console");
  const steps = (list: readonly string[]) => list.flatMap((step, index) => stepLines(`${index + 1}. `, step, columns));
  return [
    line(" ", severitySpan(alert.severity, 9), span(alert.rule.title, "title")),
    ...factLines(of),
    blank,
    ...summaryLines(of),
    ...section("What to do", steps(now)),
    ...section("Process tree", treeLines(alert, columns, of.wrapped)),
    ...section(
      "Notes",
      alert.notes.flatMap((note) => [
        line(span(`  ${dateWords(note.timeMs)} ${note.operator}`, "faint")),
        ...wrap(note.text, columns - 5).map((row) => line("    ", row)),
      ]),
    ),
    ...section(
      "History",
      (alert.history ?? []).flatMap((decision) => wrap(decisionWords(decision), columns - 4).map((row) => line("  ", row))),
    ),
    ...section("Once it is known to be real", steps(later)),
    ...section(`Evidence (${alert.events.length} event${alert.events.length === 1 ? "" : "s"})`, evidenceLines(of)),
    ...section("Rule", ruleLines(alert, columns)),
  ];
}

/** Rows a summary takes before it is cut. It names commands, which an attacker may make as long as he likes. */
const SUMMARY_ROWS = 4;

function summaryLines({ alert, columns, wrapped }: Of): Line[] {
  const rows = wrap(summaryWords(alert), columns - 5);
  const shown = wrapped ? rows : rows.slice(0, SUMMARY_ROWS);
  return shown.map((row, index) => line("  ", row, index === shown.length - 1 && shown.length < rows.length ? " …" : ""));
}

function factLines({ alert, device, nowMs, evidence, columns }: Of): Line[] {
  const seen = evidence && "events" in evidence ? evidence.seen : undefined;
  const again = [sinceClosedWords(alert), seen && recurrenceWords(seen)].filter((words) => words !== undefined);
  const notes = alert.notes.length === 0 ? "" : ` · ${alert.notes.length} note${alert.notes.length === 1 ? "" : "s"}`;
  return [
    line(
      "  on ",
      span(alert.device, "title"),
      alert.origin
        ? ` of the site ${originWords(alert.origin)}`
        : device
          ? ` (${deviceWords(device, nowMs)})`
          : " (not in the list of devices)",
      ` · ${agoWords(alert.lastMs, nowMs)} · ${periodWords(alert)}`,
    ),
    line(
      span(`  ${statusWords(alert)}${notes} · score ${alert.score} of 100 · seen ${alert.count}×`, "faint"),
      span(alert.attack.techniques.length > 0 ? ` · ${alert.attack.techniques.join(" ")}` : "", "faint"),
    ),
    ...again.flatMap((words) => wrap(words, columns - 4).map((row) => line(span(`  ${row}`, "faint")))),
  ];
}

/** "2026-03-01 03:12:01 to 03:14:07", with the date again where it is another day. */
export function periodWords({ firstMs, lastMs }: Pick<Alert, "firstMs" | "lastMs">): string {
  const [first, last] = [dateWords(firstMs), dateWords(lastMs)];
  if (first === last) return first;
  return `${first} to ${first.slice(0, 10) === last.slice(0, 10) ? clockWords(lastMs) : last}`;
}

export const deviceWords = (device: Device, nowMs: number) => {
  const isolation = isolationOf(device);
  return `${presenceWords(device, nowMs)}${isolation === "no" ? "" : `, ${isolationWords[isolation]}`}`;
};

function ruleLines({ rule, attack }: Alert, columns: number): Line[] {
  const by = rule.author ? ` by ${rule.author}` : "";
  const covers = [...attack.techniques, ...attack.tactics].join(", ");
  return [`${rule.engine} rule ${rule.id}${by}`, ...(covers ? [`ATT&CK ${covers}`] : [])].flatMap((text) =>
    wrap(text, columns - 3).map((row) => line(span(`  ${row}`, "faint"))),
  );
}

export const section = (title: string, lines: readonly Line[]): Line[] =>
  lines.length > 0 ? [blank, line(span(` ${title}`, "title")), ...lines] : [];

export const stepLines = (mark: string, text: string, columns: number) =>
  wrap(text, columns - mark.length - 3).map((row, index) => line("  ", index === 0 ? mark : " ".repeat(mark.length), row));

function treeLines(alert: Alert, columns: number, wrapped: boolean): Line[] {
  if (alert.tree.length === 0) return alert.process ? rowsOf("  ", commandLine(alert.process), "", columns, wrapped) : [];
  const { title } = alert.rule;
  if (wrapped) return alert.tree.flatMap((node) => nodeLines(node, title, node.depth, columns, true));
  const { hidden, nodes } = foldTree(alert.tree);
  const first = nodes[0]?.depth ?? 0;
  return [
    ...(hidden > 0 ? [line(span(`  … ${hidden} more above`, "faint"))] : []),
    ...nodes.flatMap((node) => nodeLines(node, title, hidden > 0 ? node.depth - first + 1 : node.depth, columns, false)),
  ];
}

export function nodeLines(node: TreeNode, title: string, level: number, columns: number, wrapped: boolean): Line[] {
  // Deep trees keep room for the command: what matters is the order, which the rows keep.
  const depth = Math.min(level, 12);
  const branch = depth === 0 ? "  " : `  ${"  ".repeat(depth - 1)}└ `;
  const lines = rowsOf(branch, commandLine(node), `  [${node.pid}]`, columns, wrapped);
  const under = `  ${"  ".repeat(depth)}`;
  return [...lines, ...matchedOn(node, title).map((rule) => line(under, span(`◆ ${rule}`, "high")))];
}

/** `text` on one row, cut, or on as many as it needs; `end` is never cut off. */
function rowsOf(indent: string, text: string, end: string, columns: number, wrapped: boolean): Line[] {
  if (!wrapped) return [line(indent, cut(text, Math.max(8, columns - indent.length - end.length)), span(end, "faint"))];
  return wrap(text + end, Math.max(20, columns - indent.length - 1)).map((row, index) =>
    line(index === 0 ? indent : " ".repeat(indent.length), row),
  );
}

function evidenceLines({ alert, evidence, columns, wrapped }: Of): Line[] {
  if (alert.events.length === 0) return [line(span("  None: this alert is about something that did not happen.", "faint"))];
  if (alert.origin) return [line(span(`  The events stay at the site ${alert.origin.site}: telemetry does not travel.`, "faint"))];
  if (!evidence) return [line(span("  reading…", "faint"))];
  if ("error" in evidence) return [line(span(`  cannot be read: ${evidence.error}`, "bad"))];
  const lines = inOrder(evidence.events).flatMap((event) => eventLines(event, columns, wrapped));
  const missing = alert.events.filter((id) => !evidence.events.some((event) => eventId(event) === id)).length;
  return missing > 0 ? [...lines, line(span(`  ${missing} no longer in the site's log (retention)`, "faint"))] : lines;
}

function eventLines(event: SensorEvent, columns: number, wrapped: boolean): Line[] {
  const head = [span(`  ${clockWords(event.timeMs)}  `, "faint"), column(event.type, 16)];
  const words = eventWords(event);
  if (!wrapped) return [line(...head, words)];
  return wrap(words, Math.max(20, columns - 29)).map((row, index) => (index === 0 ? line(...head, row) : line(" ".repeat(28), row)));
}
