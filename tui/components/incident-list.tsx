import { wrap } from "../cells.ts";
import { blank, column, fill, type Line, line, span } from "../line.ts";
import { type Row, rankedOf } from "../state/order.ts";
import { spanWords } from "../words.ts";
import { severitySpan } from "./alert-list.tsx";
import { Lines } from "./lines.tsx";

type Props = {
  readonly rowsOf: readonly Row[];
  readonly selectedId: string | undefined;
  /** First row shown. */
  readonly top: number;
  readonly nowMs: number;
  readonly columns: number;
  readonly rows: number;
  /** Shown when there is none. */
  readonly empty: readonly string[];
};

/** Rows below the list that tell the story of the selected one, where there is room. */
const STORY_ROWS = 4;
export const listHeight = (rows: number): number => (rows >= 14 ? rows - STORY_ROWS - 1 : rows);

/** In the order given, and under them what happened in the selected one. Draws only. */
export function IncidentList({ rowsOf, selectedId, top, nowMs, columns, rows, empty }: Props) {
  if (rowsOf.length === 0) return <Lines lines={fill([blank, ...empty.map((text) => line("  ", text))], rows)} columns={columns} />;
  const widths = widthsFor(columns);
  const height = listHeight(rows);
  const shown = rowsOf.slice(top, top + height - 1).map((row) => rowLine(row, row.id === selectedId, nowMs, widths));
  const list = fill([headLine(widths, top, rowsOf.length - top - (height - 1)), ...shown], height);
  const selected = rowsOf.find(({ id }) => id === selectedId);
  return <Lines lines={height < rows ? [...list, blank, ...fill(storyLines(selected, columns), STORY_ROWS)] : list} columns={columns} />;
}

function storyLines(row: Row | undefined, columns: number): Line[] {
  if (!row) return [];
  const text = row.incident ? row.incident.story.join(" ") : row.alert.summary;
  const rows = wrap(text, columns - 5);
  return rows.slice(0, STORY_ROWS).map((part, at) => line("  ", part, at === STORY_ROWS - 1 && rows.length > STORY_ROWS ? " …" : ""));
}

type Widths = { readonly device: number; readonly title: number; readonly tactics: number; readonly assignee: number };

// 2 for the mark, 9 severity, 6 alerts, 7 age, 1 between; the rest is shared. A wide terminal says who has it and how far it went.
function widthsFor(columns: number): Widths {
  const device = columns >= 120 ? 24 : 14;
  const assignee = columns >= 120 ? 14 : 0;
  const tactics = columns >= 120 ? 34 : columns >= 100 ? 20 : 0;
  return { device, tactics, assignee, title: Math.max(10, columns - 25 - device - tactics - assignee) };
}

function headLine(widths: Widths, above: number, below: number): Line {
  const more = [above > 0 ? `↑${above}` : "", below > 0 ? `↓${below}` : ""].filter(Boolean).join(" ");
  return line(
    column("", 2),
    column("severity", 9, "faint"),
    column("alerts", 6, "faint", "right"),
    column("age", 7, "faint", "right"),
    " ",
    column("device", widths.device, "faint"),
    column(more ? `incident  (${more} more)` : "incident", widths.title, "faint"),
    ...(widths.assignee ? [column("who", widths.assignee, "faint")] : []),
    ...(widths.tactics ? [column("how far it went", widths.tactics - 1, "faint")] : []),
  );
}

function rowLine(row: Row, selected: boolean, nowMs: number, widths: Widths): Line {
  const { incident, alert } = row;
  const { status, severity, lastMs } = rankedOf(row);
  const settled = status !== "open";
  const tone = settled ? "faint" : "plain";
  const state = status === "closed" ? "closed · " : status === "acknowledged" ? "ack · " : "";
  const alerts = incident?.alerts ?? 1;
  const mark = severitySpan(severity, 9);
  return {
    ...line(
      span(selected ? "▸ " : "  "),
      settled ? { ...mark, tone: "faint" } : mark,
      column(alerts > 9999 ? ">9999" : String(alerts), 6, tone, "right"),
      column(spanWords(nowMs - lastMs), 7, tone, "right"),
      " ",
      column(incident ? incident.device : `${alert.origin?.site}/${alert.device}`, widths.device - 1, tone),
      " ",
      column(state + (incident ? incident.title : alert.rule.title), widths.title - 1, tone),
      " ",
      ...(widths.assignee ? [column((incident ?? alert).assignee ?? "", widths.assignee - 1, "faint"), span(" ")] : []),
      ...(widths.tactics ? [column((incident ?? alert).attack.tactics.join(" › "), widths.tactics - 1, "faint")] : []),
    ),
    selected,
  };
}
