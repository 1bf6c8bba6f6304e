// A batch of which a part is already stored: what is left of it.
import { BadBatch, type BatchHeader } from "@picket/protocol/batch";

/**
 * Keeps the lines of `runs` and leaves the others out. Lines are not judged here: one of a newer agent stays as it came, but for what
 * depends on its neighbours: its time difference, and its process, which a line left out may have introduced.
 */
export function trimBatch(header: BatchHeader, inflated: Buffer, runs: readonly (readonly [number, number])[]): Uint8Array<ArrayBuffer> {
  const lines = inflated.toString("utf8").split("\n");
  const wanted = new Set(runs.flatMap(([first, count]) => Array.from({ length: count }, (_, at) => first + at)));
  const kept: string[] = [];
  const processes: unknown[] = [];
  let line = 0;
  let readMs = 0;
  let writtenMs = 0;
  for (const [first, count] of header.runs) {
    for (let seq = first; seq < first + count; seq++, line++) {
      const text = lines[line];
      if (text === undefined) throw new BadBatch("fewer lines than the header announces");
      const json = withProcess(parse(text), processes);
      const timed = typeof json?.timeMs === "number";
      if (timed) readMs += json.timeMs as number;
      if (!wanted.has(seq)) continue;
      kept.push(json ? JSON.stringify(timed ? { ...json, timeMs: readMs - writtenMs } : json) : text);
      if (timed) writtenMs = readMs;
    }
  }
  const head: BatchHeader = { ...header, runs: runs.map(([first, count]) => [first, count]) };
  return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), Bun.zstdCompressSync(Buffer.from(kept.join("\n")), { level: 3 })]);
}

type Line = { timeMs?: unknown; p?: unknown; body?: { process?: unknown } };

/** The line with its process in full, as protocol/batch.ts reads it: no number of the old batch is left. */
function withProcess(json: Line | undefined, processes: unknown[]): Line | undefined {
  if (!json) return undefined;
  const { p, ...rest } = json;
  if (p === undefined) {
    if (rest.body?.process !== undefined) processes.push(rest.body.process);
    return rest;
  }
  const process = typeof p === "number" ? processes[p] : undefined;
  return process === undefined ? rest : { ...rest, body: { ...rest.body, process } };
}

function parse(text: string): Line | undefined {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === "object" && json !== null && !Array.isArray(json) ? json : undefined;
  } catch {
    return undefined;
  }
}
