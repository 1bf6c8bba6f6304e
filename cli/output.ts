// What commands print. Results go to stdout, progress and errors to stderr.
import { cell, cellsOf, cut } from "@picket/tui/cells";
import { untrusted } from "@picket/tui/untrusted";

/** One line of JSON. DEL and C1 controls, which JSON leaves as they are, are escaped: a terminal would obey them. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value).replaceAll(/[\u007F-\u009F]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** "1 file", "3 files". */
export const plural = (count: number, word: string) => `${count} ${word}${count === 1 ? "" : "s"}`;

/** Prints one line of JSON. */
export const printJson = (value: unknown) => console.log(jsonLine(value));

/** Prints a line of text that may come from a device. */
export const printLine = (text: string) => console.log(untrusted(text));

/** Rows in columns as wide as their content, the last one cut to `width` where that is known. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], width = Number.POSITIVE_INFINITY): string[] {
  const clean = [head, ...rows].map((row) => row.map((text) => cut(text, 400)));
  const widths = head.map((_, index) => Math.max(...clean.map((row) => cellsOf(row[index] ?? ""))));
  return clean.map((row) => {
    const text = row
      .map((value, index) => (index === head.length - 1 ? value : cell(value, widths[index]!)))
      .join("  ")
      .trimEnd();
    return Number.isFinite(width) ? cut(text, width) : text;
  });
}

/** Prints a table, as wide as the terminal where there is one. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  for (const row of table(head, rows, process.stdout.isTTY ? process.stdout.columns : undefined)) console.log(row);
}

const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

export type Progress = Disposable & { say(text: string): void };

/** A line on stderr that says what is going on. On a terminal it turns and is replaced; elsewhere each new text is a line. */
export function progress(stream: NodeJS.WriteStream): Progress {
  let text = "";
  let frame = 0;
  const draw = () => stream.write(`\r\u001B[K${cut(`${FRAMES[frame++ % FRAMES.length]} ${text}…`, (stream.columns ?? 80) - 1)}`);
  const timer = stream.isTTY ? setInterval(() => text && draw(), 120) : undefined;
  return {
    say(next) {
      if (next === text) return;
      text = next;
      if (stream.isTTY) draw();
      else stream.write(`${untrusted(text)}…\n`);
    },
    [Symbol.dispose]() {
      clearInterval(timer);
      if (stream.isTTY && text) stream.write("\r\u001B[K");
    },
  };
}
