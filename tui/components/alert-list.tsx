import type { Alert, Severity } from "@picket/protocol/alert";
import { blank, column, fill, type Line, line, span, type Tone } from "../line.ts";
import { spanWords } from "../words.ts";
import { Lines } from "./lines.tsx";

// Exhaustive on purpose: a new severity must be given words before it compiles. Capitals mark the urgent ones where there is no color.
const severityWords: Record<Severity, { word: string; tone: Tone }> = {
  critical: { word: "CRITICAL", tone: "critical" },
  high: { word: "HIGH", tone: "high" },
  medium: { word: "medium", tone: "medium" },
  low: { word: "low", tone: "low" },
};

/** A severity as the lists write it. */
export const severitySpan = (severity: Severity, width = 8) => column(severityWords[severity].word, width, severityWords[severity].tone);

type Props = {
  readonly alerts: readonly Alert[];
  readonly selectedId: string | undefined;
  /** First row shown. */
  readonly top: number;
  readonly nowMs: number;
  readonly columns: number;
  readonly rows: number;
  /** Shown when there is none. */
  readonly empty: readonly string[];
};

/** In the order given. Draws only: keys and data belong to screens/alerts.tsx. */
export function AlertList({ alerts, selectedId, top, nowMs, columns, rows, empty }: Props) {
  if (alerts.length === 0) return <Lines lines={fill([blank, ...empty.map((text) => line("  ", text))], rows)} columns={columns} />;
  const widths = widthsFor(columns);
  const shown = alerts.slice(top, top + rows - 1).map((alert) => alertLine(alert, alert.id === selectedId, nowMs, widths));
  return <Lines lines={fill([headLine(widths, top, alerts.length - top - (rows - 1)), ...shown], rows)} columns={columns} />;
}

type Widths = { readonly device: number; readonly title: number; readonly technique: number; readonly assignee: number };

// 2 for the mark, 9 severity, 5 count, 7 age, 1 between; the rest is shared. A narrow terminal leaves the techniques to the alert's page,
// so that titles can be read; a wide one also says who has it.
function widthsFor(columns: number): Widths {
  const device = columns >= 120 ? 24 : 14;
  const technique = columns >= 120 ? 22 : columns >= 100 ? 10 : 0;
  const assignee = columns >= 120 ? 14 : 0;
  return { device, technique, assignee, title: Math.max(10, columns - 24 - device - technique - assignee) };
}

function headLine(widths: Widths, above: number, below: number): Line {
  const more = [above > 0 ? `↑${above}` : "", below > 0 ? `↓${below}` : ""].filter(Boolean).join(" ");
  return line(
    column("", 2),
    column("severity", 9, "faint"),
    column("count", 5, "faint", "right"),
    column("age", 7, "faint", "right"),
    " ",
    column("device", widths.device, "faint"),
    column(more ? `alert  (${more} more)` : "alert", widths.title, "faint"),
    ...(widths.assignee ? [column("who", widths.assignee, "faint")] : []),
    ...(widths.technique ? [column("ATT&CK", widths.technique - 1, "faint")] : []),
  );
}

/** As many ids as fit: half of one would be another's. */
function wholeOnes(ids: readonly string[], width: number): string {
  for (let count = ids.length; count > 1; count--) {
    const text = ids.slice(0, count).join(" ") + (count < ids.length ? " …" : "");
    if (text.length <= width) return text;
  }
  return ids[0] ?? "";
}

function alertLine(alert: Alert, selected: boolean, nowMs: number, widths: Widths): Line {
  const settled = alert.status !== "open";
  const state = alert.status === "closed" ? "closed · " : alert.status === "acknowledged" ? "ack · " : "";
  const severity = severityWords[alert.severity];
  return {
    ...line(
      span(selected ? "▸ " : "  "),
      column(severity.word, 9, settled ? "faint" : severity.tone),
      column(alert.count > 999 ? ">999×" : `${alert.count}×`, 5, settled ? "faint" : "plain", "right"),
      column(spanWords(nowMs - alert.lastMs), 7, settled ? "faint" : "plain", "right"),
      " ",
      column(alert.origin ? `${alert.origin.site}/${alert.device}` : alert.device, widths.device - 1, settled ? "faint" : "plain"),
      " ",
      column(state + alert.rule.title, widths.title - 1, settled ? "faint" : "plain"),
      " ",
      ...(widths.assignee ? [column(alert.assignee ?? "", widths.assignee - 1, "faint"), span(" ")] : []),
      ...(widths.technique ? [column(wholeOnes(alert.attack.techniques, widths.technique - 1), widths.technique - 1, "faint")] : []),
    ),
    selected,
  };
}
