// Text measured in terminal cells: a CJK letter takes two, a combining mark none (UAX #11).
import { untrusted } from "./untrusted.ts";

const graphemes = new Intl.Segmenter();

/** Width on the screen, in cells. */
export const cellsOf = (text: string) => Bun.stringWidth(text);

/** At most `width` cells; what does not fit ends in "…". */
export function cut(text: string, width: number): string {
  const safe = untrusted(text.length > 4 * width + 64 ? `${text.slice(0, 4 * width + 64)}\u2026` : text);
  if (cellsOf(safe) <= width) return safe;
  if (width <= 1) return width === 1 ? "…" : "";
  let taken = "";
  let used = 0;
  for (const { segment } of graphemes.segment(safe)) {
    const cells = cellsOf(segment);
    if (used + cells > width - 1) break;
    taken += segment;
    used += cells;
  }
  return `${taken}…`;
}

/** Exactly `width` cells: cut or padded. */
export function cell(text: string, width: number, align: "left" | "right" = "left"): string {
  const shown = cut(text, width);
  const space = " ".repeat(Math.max(0, width - cellsOf(shown)));
  return align === "left" ? shown + space : space + shown;
}

/** Breaks text into rows of at most `width` cells, at spaces where it can. An empty text is one empty row. */
export function wrap(text: string, width: number): string[] {
  const rows: string[] = [];
  let row = "";
  for (const word of untrusted(text).split(" ")) {
    const joined = row ? `${row} ${word}` : word;
    if (cellsOf(joined) <= width) {
      row = joined;
      continue;
    }
    if (row) rows.push(row);
    row = word;
    while (cellsOf(row) > width) {
      const head = headOf(row, width);
      rows.push(head);
      row = row.slice(head.length);
    }
  }
  rows.push(row);
  return rows;
}

function headOf(text: string, width: number): string {
  let taken = "";
  let used = 0;
  for (const { segment } of graphemes.segment(text)) {
    const cells = cellsOf(segment);
    if (taken && used + cells > width) break;
    taken += segment;
    used += cells;
  }
  return taken;
}
