// The sheet for people.

import type { Sheet } from "./run.ts";
import type { Row } from "./sheet.ts";

const SHOWN = 20;

const columns: [title: string, of: (row: Row) => number][] = [
  ["caused", (row) => row.caused],
  ["stored", (row) => row.stored],
  ["kernel", (row) => row.lost.kernel],
  ["shed", (row) => row.lost.shed],
  ["evicted", (row) => row.lost.evicted],
  ["power", (row) => row.lost.power],
  ["unexplained", (row) => row.unexplained],
  ["twice", (row) => row.duplicates],
  ["acked", (row) => row.acknowledged],
  ["alerts due", (row) => row.alerts.expected],
  ["alerts", (row) => row.alerts.found],
];

export const totals = (sheet: Sheet): Record<string, number> =>
  Object.fromEntries(columns.map(([title, of]) => [title, sheet.rows.reduce((sum, row) => sum + of(row), 0)]));

export function printSheet(sheet: Sheet): string {
  const sums = totals(sheet);
  const line = (name: string, cells: readonly (number | string)[]) =>
    name.padEnd(8) + cells.map((cell, at) => String(cell).padStart(Math.max(9, columns[at]![0].length + 2))).join("");
  const lines = [
    line(
      "",
      columns.map(([title]) => title),
    ),
    ...sheet.rows.map((row) =>
      line(
        row.device,
        columns.map(([, of]) => of(row)),
      ),
    ),
    line("all", Object.values(sums)),
  ];
  lines.push(...sheet.notes);
  for (const { program, why } of sheet.ended) lines.push(`${program} ended by itself: ${why}`);
  for (const { device, epoch, seq, what } of sheet.differences.slice(0, SHOWN))
    lines.push(`DIFFERS  ${device}${epoch === undefined ? "" : ` ${epoch}:${seq}`} ${what}`);
  if (sheet.differences.length > SHOWN) lines.push(`... and ${sheet.differences.length - SHOWN} more`);
  const first = sheet.differences[0];
  lines.push(
    first
      ? `does not balance: ${sheet.differences.length} differences, the first at ${first.device}${first.seq === undefined ? "" : `, seq ${first.seq}`}`
      : `balanced after ${sheet.seconds} s: caused = stored + counted loss, nothing twice, nothing acknowledged is missing, each alert once`,
  );
  return lines.join("\n");
}
