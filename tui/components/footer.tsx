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
  let used = 0;
  for (const [key, does] of keys) {
    const cells = cellsOf(`${key} ${does}`);
    if (used + 2 + cells > columns && rows.at(-1)!.length > 0) {
      rows.push([]);
      used = 0;
    }
    // One cell before the first of a row, two before the others; none behind the last, or it would be cut for a space.
    const space = used === 0 ? " " : "  ";
    rows.at(-1)!.push(span(space), span(key, "key"), span(` ${does}`, "faint"));
    used += space.length + cells;
  }
  return rows.map((spans) => line(...spans));
}
