// A list on its way to the site: in pieces, each line once, with the place of what the site refuses.
import { type IocRow, type IocSource, MAX_ROWS } from "@picket/protocol/ioc";
import type { SiteClient } from "@picket/tui/client/client";
import type { Read } from "./row.ts";

/** Bytes of rows in one call: a body has 128 KiB, and the longest row about 10. */
const MAX_BYTES = 100_000;

export type Problem = { readonly at: string; readonly why: string };

export type Upload = {
  readonly source: string;
  readonly format: string;
  readonly confidence: number;
  readonly expiresMs: number | undefined;
  readonly problem: (of: Problem) => void;
  /** How many were sent. */
  readonly told: (read: number) => void;
};

/** Imports what can be used. Rejects with the site's reason; then the list of that name is what it was. */
export async function upload(
  site: SiteClient,
  rows: Iterable<Read>,
  { source, format, confidence, expiresMs, problem, told }: Upload,
): Promise<{ source: IocSource; read: number; duplicates: number }> {
  const { import: id } = await site.call("iocBegin", {
    body: { source, format, confidence, ...(expiresMs === undefined ? {} : { expiresMs }) },
  });
  const params = { import: String(id) } as unknown as { import: number };
  try {
    const seen = new Set<string>();
    let [read, duplicates, given] = [0, 0, 0];
    for (const piece of pieces(rows, problem, (key) => {
      read++;
      if (seen.has(key)) duplicates++;
      return seen.size < seen.add(key).size;
    })) {
      const answer = await site.call("iocRows", { params, body: { at: given, rows: piece.map(({ row }) => row) } });
      for (const { at, why } of answer.refused) problem({ at: piece[at]!.at, why });
      given = answer.given;
      told(given);
    }
    return { source: (await site.call("iocFinish", { params })).source, read, duplicates };
  } catch (error) {
    const why = error instanceof Error ? error.message.slice(0, 300) : String(error);
    await site.call("iocAbort", { params, body: { why: why || "it failed" } }).catch(() => undefined);
    throw error;
  }
}

type Placed = { readonly at: string; readonly row: IocRow };

function* pieces(rows: Iterable<Read>, problem: (of: Problem) => void, isNew: (key: string) => boolean): Generator<Placed[]> {
  let piece: Placed[] = [];
  let bytes = 0;
  for (const one of rows) {
    if ("why" in one) {
      problem(one);
      continue;
    }
    const { kind, value } = one.row;
    if (!isNew(`${kind} ${value}`)) continue;
    const size = Buffer.byteLength(JSON.stringify(one.row)) + 1;
    if (piece.length >= MAX_ROWS || (piece.length > 0 && bytes + size > MAX_BYTES)) {
      yield piece;
      piece = [];
      bytes = 0;
    }
    piece.push(one);
    bytes += size;
  }
  if (piece.length > 0) yield piece;
}
