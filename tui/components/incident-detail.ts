import type { Alert } from "@picket/protocol/alert";
import type { Incident } from "@picket/protocol/incident";
import type { Device } from "@picket/protocol/rest";
import { incidentAdvice } from "../advice.ts";
import { wrap } from "../cells.ts";
import { decisionWords, statusWords } from "../exception-words.ts";
import { column, type Line, line, span } from "../line.ts";
import { foldTree } from "../tree.ts";
import { agoWords, clockWords, dateWords } from "../words.ts";
import { deviceWords, nodeLines, periodWords, section, stepLines } from "./alert-detail.tsx";
import { severitySpan } from "./alert-list.tsx";

type Of = {
  readonly incident: Incident;
  /** Its alerts, as far as they are known, in the order of time. */
  readonly alerts: readonly Alert[];
  readonly selectedId: string | undefined;
  readonly device: Device | undefined;
  readonly nowMs: number;
  readonly columns: number;
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
  const tactics = wrap(attack.tactics.join(" › "), columns - 4).slice(0, 2);
  return [
    line(
      "  on ",
      span(incident.device, "title"),
      device ? ` (${deviceWords(device, nowMs)})` : " (not in the list of devices)",
      ` · ${agoWords(incident.lastMs, nowMs)} · ${periodWords(incident)}`,
    ),
    line(span(`  ${statusWords(incident)}${noted} · score ${incident.score} of 100 · ${sums}`, "faint")),
    ...(attack.tactics.length > 0 ? tactics.map((row) => line(span(`  ${row}`, "faint"))) : []),
  ];
}

/** What the first screen has room for: what to do stands below it. */
const SENTENCES = 4;
const SENTENCE_ROWS = 2;

function storyLines({ incident: { story }, columns, wrapped }: Of): Line[] {
  const shown = wrapped ? story : story.slice(0, SENTENCES);
  const left = story.length - shown.length;
  const lines = shown.flatMap((sentence) => {
    const rows = wrap(sentence, columns - 7);
    const kept = wrapped ? rows : rows.slice(0, SENTENCE_ROWS);
    return kept.map((row, at) => line(at === 0 ? "  · " : "    ", row, at === kept.length - 1 && kept.length < rows.length ? " …" : ""));
  });
  return left > 0 ? [...lines, line(span(`    … ${left} more (w shows all)`, "faint"))] : lines;
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
