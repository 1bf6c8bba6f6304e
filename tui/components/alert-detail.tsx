import type { Alert, TreeNode } from "@picket/protocol/alert";
import { eventId, type SensorEvent } from "@picket/protocol/event";
import type { Device } from "@picket/protocol/rest";
import { advice } from "../advice.ts";
import { cut, wrap } from "../cells.ts";
import { commandLine, eventWords } from "../event-words.ts";
import { blank, column, fill, type Line, line, span } from "../line.ts";
import type { Evidence } from "../state/state.ts";
import { agoWords, clockWords, dateWords, isolationOf, isolationWords, presenceWords } from "../words.ts";
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

/** Everything about one alert: what, where, what to do, how it came about, and what was seen. */
export function alertPage(of: Of): Line[] {
  const { alert, device, nowMs, columns } = of;
  const text = (value: string, indent = 2) => wrap(value, columns - indent - 1).map((row) => line(" ".repeat(indent), row));
  const status = alert.assignee ? `${alert.status} by ${alert.assignee}` : alert.status;
  return [
    line(" ", severitySpan(alert.severity, 9), span(alert.rule.title, "title")),
    line(span(`  ${status} · score ${alert.score} of 100 · seen ${alert.count}× · ${alert.rule.engine} rule ${alert.rule.id}`, "faint")),
    line("  on ", span(alert.device, "title"), device ? ` (${deviceWords(device, nowMs)})` : " (not in the list of devices)"),
    line(`  ${periodWords(alert)}, ${agoWords(alert.lastMs, nowMs)}`),
    ...attackLines(alert, columns),
    blank,
    ...text(alert.summary || "The rule gave no summary."),
    ...section("Process tree", treeLines(alert, columns, of.wrapped)),
    ...section(
      "Notes",
      alert.notes.flatMap((note) => [line(span(`  ${dateWords(note.timeMs)} ${note.operator}`, "faint")), ...text(note.text, 4)]),
    ),
    ...section(
      "What to do",
      advice(alert, device).flatMap((step, index) => stepLines(`${index + 1}. `, step, columns)),
    ),
    ...section(`Evidence (${alert.events.length} event${alert.events.length === 1 ? "" : "s"})`, evidenceLines(of)),
    ...(alert.rule.author ? [blank, line(span(`  Rule by ${alert.rule.author}`, "faint"))] : []),
  ];
}

/** "2026-03-01 03:12:01 to 03:14:07", with the date again where it is another day. */
function periodWords({ firstMs, lastMs }: Alert): string {
  const [first, last] = [dateWords(firstMs), dateWords(lastMs)];
  if (first === last) return first;
  return `${first} to ${first.slice(0, 10) === last.slice(0, 10) ? clockWords(lastMs) : last}`;
}

const deviceWords = (device: Device, nowMs: number) => {
  const isolation = isolationOf(device);
  return `${presenceWords(device, nowMs)}${isolation === "no" ? "" : `, ${isolationWords[isolation]}`}`;
};

function attackLines(alert: Alert, columns: number): Line[] {
  const { tactics, techniques } = alert.attack;
  if (techniques.length + tactics.length === 0) return [];
  return [line("  ATT&CK ", span(cut(techniques.join(" "), columns - 12), "title"), tactics.length > 0 ? `  ${tactics.join(", ")}` : "")];
}

const section = (title: string, lines: readonly Line[]): Line[] =>
  lines.length > 0 ? [blank, line(span(` ${title}`, "title")), ...lines] : [];

const stepLines = (mark: string, text: string, columns: number) =>
  wrap(text, columns - mark.length - 3).map((row, index) => line("  ", index === 0 ? mark : " ".repeat(mark.length), row));

function treeLines(alert: Alert, columns: number, wrapped: boolean): Line[] {
  if (alert.tree.length === 0) return alert.process ? rowsOf("  ", commandLine(alert.process), columns, wrapped) : [];
  return alert.tree.flatMap((node) => nodeLines(node, columns, wrapped));
}

function nodeLines(node: TreeNode, columns: number, wrapped: boolean): Line[] {
  // Deep trees keep room for the command: what matters is the order, which the rows keep.
  const depth = Math.min(node.depth, 12);
  const branch = depth === 0 ? "  " : `  ${"  ".repeat(depth - 1)}└ `;
  const lines = rowsOf(branch, `${commandLine(node)}  [${node.pid}]`, columns, wrapped);
  const under = `  ${"  ".repeat(depth)}`;
  return [...lines, ...node.matched.map((title) => line(under, span(`◆ ${title}`, "high")))];
}

function rowsOf(indent: string, text: string, columns: number, wrapped: boolean): Line[] {
  if (!wrapped) return [line(indent, text)];
  return wrap(text, Math.max(20, columns - indent.length - 1)).map((row, index) =>
    line(index === 0 ? indent : " ".repeat(indent.length), row),
  );
}

function evidenceLines({ alert, evidence, columns, wrapped }: Of): Line[] {
  if (alert.events.length === 0) return [line(span("  None: this alert is about something that did not happen.", "faint"))];
  if (!evidence) return [line(span("  reading…", "faint"))];
  if ("error" in evidence) return [line(span(`  cannot be read: ${evidence.error}`, "bad"))];
  const lines = evidence.events.flatMap((event) => eventLines(event, columns, wrapped));
  const missing = alert.events.filter((id) => !evidence.events.some((event) => eventId(event) === id)).length;
  return missing > 0 ? [...lines, line(span(`  ${missing} no longer in the site's log (retention)`, "faint"))] : lines;
}

function eventLines(event: SensorEvent, columns: number, wrapped: boolean): Line[] {
  const head = [span(`  ${clockWords(event.timeMs)}  `, "faint"), column(event.type, 16)];
  const words = eventWords(event);
  if (!wrapped) return [line(...head, words)];
  return wrap(words, Math.max(20, columns - 29)).map((row, index) => (index === 0 ? line(...head, row) : line(" ".repeat(28), row)));
}
