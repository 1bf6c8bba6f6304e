import { cellsOf } from "../cells.ts";
import { type Line, line, type Span, span } from "../line.ts";
import { Lines } from "./lines.tsx";

export type KeyHint = readonly [key: string, does: string];

type Props = { readonly keys: readonly KeyHint[]; readonly columns: number };

/** The keys that work here. All of them: what does not fit in one row goes to the next. */
export function Footer({ keys, columns }: Props) {
  return <Lines lines={footerLines(keys, columns)} columns={columns} />;
}

export function footerLines(keys: readonly KeyHint[], columns: number): Line[] {
  const rows: Span[][] = [[]];
  let used = 1;
  for (const [key, does] of keys) {
    const cells = cellsOf(`${key} ${does}`);
    if (used + cells > columns && rows.at(-1)!.length > 0) {
      rows.push([]);
      used = 1;
    }
    rows.at(-1)!.push(span(key, "key"), span(` ${does}  `, "faint"));
    used += cells + 2;
  }
  return rows.map((spans) => line(" ", ...spans));
}
