// A batch of which a part is already stored: what is left of it.
import { BadBatch, type BatchHeader } from "@picket/protocol/batch";

/**
 * Keeps the lines of `runs` and leaves the others out. Lines are not judged here: one of a newer agent stays as it came, only its
 * time difference changes with its neighbours.
 */
export function trimBatch(header: BatchHeader, inflated: Buffer, runs: readonly (readonly [number, number])[]): Uint8Array<ArrayBuffer> {
  const lines = inflated.toString("utf8").split("\n");
  const wanted = new Set(runs.flatMap(([first, count]) => Array.from({ length: count }, (_, at) => first + at)));
  const kept: string[] = [];
  let line = 0;
  let readMs = 0;
  let writtenMs = 0;
  for (const [first, count] of header.runs) {
    for (let seq = first; seq < first + count; seq++, line++) {
      const text = lines[line];
      if (text === undefined) throw new BadBatch("fewer lines than the header announces");
      const json = parse(text);
      if (json) readMs += json.timeMs;
      if (!wanted.has(seq)) continue;
      kept.push(json ? JSON.stringify({ ...json, timeMs: readMs - writtenMs }) : text);
      if (json) writtenMs = readMs;
    }
  }
  const head: BatchHeader = { ...header, runs: runs.map(([first, count]) => [first, count]) };
  return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), Bun.zstdCompressSync(Buffer.from(kept.join("\n")), { level: 3 })]);
}

/** As protocol/batch.ts reads a line: one without a number for its time does not move the clock of the lines after it. */
function parse(text: string): { timeMs: number } | undefined {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === "object" && json !== null && "timeMs" in json && typeof json.timeMs === "number"
      ? { ...json, timeMs: json.timeMs }
      : undefined;
  } catch {
    return undefined;
  }
}
