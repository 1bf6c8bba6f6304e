import type { Alert } from "@picket/protocol/alert";
import type { Incident } from "@picket/protocol/incident";
import type { Device } from "@picket/protocol/rest";
import { incidentAdvice } from "../advice.ts";
import { cut, wrap } from "../cells.ts";
import { decisionWords, statusWords } from "../exception-words.ts";
import { column, type Line, line, span } from "../line.ts";
import { foldTree } from "../tree.ts";
import { agoWords, clockWords, dateWords } from "../words.ts";
import { deviceWords, nodeLines, periodWords, section, stepLines } from "./alert-detail.tsx";
import { severitySpan } from "./alert-list.tsx";

type Of = {
  readonly incident: Incident;
  /** Its alerts, as far as they are known, the worst first. */
  readonly alerts: readonly Alert[];
  readonly selectedId: string | undefined;
  readonly device: Device | undefined;
  readonly nowMs: number;
  readonly columns: number;
  /** Of the screen: what happened leaves room on it for what to do. */
  readonly rows: number;
  readonly wrapped: boolean;
};

/** A row of the page; `alert` is what Enter opens there. */
export type IncidentLine = Line & { readonly alert?: string };

/** Everything about one incident, so that the first screen answers: what happened, where, what to do, and what was found. */
export function incidentPage(of: Of): IncidentLine[] {
  const { incident, alerts, device, columns } = of;
  const { now, later } = incidentAdvice(incident, alerts, device, "console");
  const steps = (list: readonly string[]) => list.flatMap((step, index) => stepLines(`${index + 1}. `, step, columns));
  return [
    line(" ", severitySpan(incident.severity, 9), span(incident.title, "title")),
    ...factLines(of),
    ...section("What happened", storyLines(of)),
    ...section("What to do", steps(now)),
    ...section(
      `Alerts (${incident.alerts})`,
      alerts.length > 0 ? alerts.map((alert) => alertLine(alert, of)) : [line(span("  reading…", "faint"))],
    ),
    ...section("Process tree", treeLines(of)),
    ...section(
      "Linked incidents: they share an address or a file",
      incident.linked.map(({ id, device: other }) => line(`  ${other}  `, span(id.slice(0, 8), "faint"))),
    ),
    ...section(
      "Notes",
      incident.notes.flatMap((note) => [
        line(span(`  ${dateWords(note.timeMs)} ${note.operator}`, "faint")),
        ...wrap(note.text, columns - 5).map((row) => line("    ", row)),
      ]),
    ),
    ...section(
      "History",
      (incident.history ?? []).flatMap((decision) => wrap(decisionWords(decision), columns - 4).map((row) => line("  ", row))),
    ),
    ...section("Once it is known to be real", steps(later)),
    ...section("Incident", [line(span(`  ${incident.id}`, "faint"))]),
  ];
}

function factLines({ incident, device, nowMs, columns }: Of): Line[] {
  const { notes, attack, alerts, events } = incident;
  const noted = notes.length === 0 ? "" : ` · ${notes.length} note${notes.length === 1 ? "" : "s"}`;
  const sums = `${alerts} alert${alerts === 1 ? "" : "s"}, ${events} event${events === 1 ? "" : "s"}`;
  const tactics = cut(attack.tactics.join(" › "), columns - 4);
  return [
    line(
      "  on ",
      span(incident.device, "title"),
      device ? ` (${deviceWords(device, nowMs)})` : " (not in the list of devices)",
      ` · ${agoWords(incident.lastMs, nowMs)} · ${periodWords(incident)}`,
    ),
    line(span(`  ${statusWords(incident)}${noted} · score ${incident.score} of 100 · ${sums}`, "faint")),
    ...(tactics === "" ? [] : [line(span(`  ${tactics}`, "faint"))]),
  ];
}

/** Rows of the first screen that are no story: what it is, titles, what to do. */
const OTHER_ROWS = 14;
const LEAST_ROWS = 5;
const SENTENCE_ROWS = 3;

function storyLines({ incident: { story }, columns, rows: room, wrapped }: Of): Line[] {
  const most = wrapped ? Number.POSITIVE_INFINITY : Math.max(LEAST_ROWS, room - OTHER_ROWS);
  const lines: Line[] = [];
  for (const [index, sentence] of story.entries()) {
    const rows = wrap(sentence, columns - 7);
    const kept = wrapped ? rows : rows.slice(0, SENTENCE_ROWS);
    if (lines.length > 0 && lines.length + kept.length > most)
      return [...lines, line(span(`    … ${story.length - index} more (w shows all)`, "faint"))];
    lines.push(
      ...kept.map((row, at) => line(at === 0 ? "  · " : "    ", row, at === kept.length - 1 && kept.length < rows.length ? " …" : "")),
    );
  }
  return lines;
}

function alertLine(alert: Alert, { selectedId, columns }: Of): IncidentLine {
  const selected = alert.id === selectedId;
  const tone = alert.status === "open" ? "plain" : "faint";
  const state = alert.status === "closed" ? "closed · " : alert.status === "acknowledged" ? "ack · " : "";
  const count = alert.count > 1 ? `  ${alert.count}×` : "";
  return {
    ...line(
      span(selected ? "▸ " : "  "),
      span(`${clockWords(alert.firstMs)}  `, "faint"),
      severitySpan(alert.severity, 9),
      column(state + alert.rule.title, Math.max(10, columns - 22 - count.length), tone),
      span(count, "faint"),
    ),
    selected,
    alert: alert.id,
  };
}

function treeLines({ incident, columns, wrapped }: Of): Line[] {
  if (wrapped) return incident.tree.flatMap((node) => nodeLines(node, incident.title, node.depth, columns, true));
  const { hidden, nodes } = foldTree(incident.tree);
  const first = nodes[0]?.depth ?? 0;
  return [
    ...(hidden > 0 ? [line(span(`  … ${hidden} more above`, "faint"))] : []),
    ...nodes.flatMap((node) =>
      nodeLines(node, incident.title, Math.max(0, hidden > 0 ? node.depth - first + 1 : node.depth), columns, false),
    ),
  ];
}
