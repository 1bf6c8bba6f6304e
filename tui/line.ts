// What components draw: rows of spans. components/lines.tsx is the only file that turns them into ink's `Text`, so nothing reaches the terminal around it.
import { cell, cellsOf, cut } from "./cells.ts";

/** What a text means. The color follows from it; the words must say it too. */
export type Tone = "critical" | "high" | "medium" | "low" | "good" | "bad" | "key" | "faint" | "title" | "plain";

export type Span = { readonly text: string; readonly tone: Tone };
export type Line = { readonly spans: readonly Span[]; readonly selected?: boolean; readonly banner?: boolean };

export const span = (text: string, tone: Tone = "plain"): Span => ({ text, tone });
/** A span of exactly `width` cells. */
export const column = (text: string, width: number, tone: Tone = "plain", align: "left" | "right" = "left"): Span => ({
  text: cell(text, width, align),
  tone,
});
export const line = (...spans: readonly (Span | string)[]): Line => ({
  spans: spans.map((part) => (typeof part === "string" ? span(part) : part)),
});
export const blank: Line = { spans: [] };

/** Cells a row takes. */
export const widthOf = (of: Line) => of.spans.reduce((sum, { text }) => sum + cellsOf(text), 0);

/** The spans of a row cut to `width` cells, and for a selected row or banner filled up to it. */
export function fit(of: Line, width: number): readonly Span[] {
  const spans: Span[] = [];
  let left = width;
  for (const part of of.spans) {
    if (left <= 0) break;
    const text = cut(part.text, left);
    left -= cellsOf(text);
    spans.push({ text, tone: part.tone });
  }
  if ((of.selected || of.banner) && left > 0) spans.push({ text: " ".repeat(left), tone: "plain" });
  return spans;
}

/** Exactly `rows` rows: cut, or filled with empty ones. */
export const fill = (lines: readonly Line[], rows: number): Line[] =>
  Array.from({ length: Math.max(0, rows) }, (_, index) => lines[index] ?? blank);
