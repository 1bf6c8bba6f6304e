// Recorded events from files: what `picket replay` and `picket rules match` read.
import { MAX_LINE_BYTES, parseRecorded, type Recorded } from "@picket/protocol/recorded";

export type RecordedProblem = { readonly file: string; readonly line: number; readonly message: string };

/**
 * The events of NDJSON files in order; `-` is standard input. A line that is no event is told to `onProblem` and left out; empty lines are
 * skipped. Memory is bounded by the longest line allowed. A file that cannot be opened is a problem too.
 */
export async function* readRecorded(files: readonly string[], onProblem: (problem: RecordedProblem) => void): AsyncGenerator<Recorded> {
  for (const file of files) {
    let line = 0;
    try {
      for await (const text of lines(file === "-" ? Bun.stdin.stream() : Bun.file(file).stream())) {
        line++;
        if (text === undefined) onProblem({ file, line, message: `longer than ${MAX_LINE_BYTES} bytes` });
        else if (text.trim() !== "") {
          const recorded = parseLine(text, line);
          if ("event" in recorded) yield recorded;
          else onProblem({ file, line, ...recorded });
        }
      }
    } catch (error) {
      onProblem({ file, line: line + 1, message: `cannot be read: ${error instanceof Error ? error.message : String(error)}` });
    }
  }
}

function parseLine(text: string, line: number): Recorded | { message: string } {
  try {
    return parseRecorded(text, line);
  } catch (error) {
    return { message: error instanceof Error ? error.message : String(error) };
  }
}

const NEWLINE = 10;

/** Lines of a byte stream; undefined for one that is too long. */
async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string | undefined> {
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: false });
  let rest: Uint8Array[] = [];
  let size = 0;
  const take = () => {
    const text = size > MAX_LINE_BYTES ? undefined : utf8.decode(rest.length === 1 ? rest[0] : Buffer.concat(rest));
    rest = [];
    size = 0;
    return text;
  };
  const keep = (piece: Uint8Array) => {
    size += piece.length;
    if (size <= MAX_LINE_BYTES) rest.push(piece);
    else rest = [];
  };
  for await (const chunk of stream) {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      keep(chunk.subarray(from, at));
      from = at + 1;
      yield take();
    }
    if (from < chunk.length) keep(chunk.subarray(from));
  }
  if (size > 0) yield take();
}
