// Where the rules of a YARA file begin and end, as far as leaving a single rule out needs it. Not a parser: YARA-X is.

/** Offsets in UTF-16 units; `end` is behind the rule. `line` counts from 1. */
export type RuleSpan = { readonly name: string; readonly start: number; readonly end: number; readonly line: number };

const word = /[A-Za-z_][A-Za-z0-9_]*/y;

/** Every rule of the text, in order. A rule without an end reaches to the end of the text. */
export function ruleSpans(text: string): RuleSpan[] {
  const spans: RuleSpan[] = [];
  let line = 1;
  let counted = 0;
  // Where the modifiers before `rule` begin.
  let start: number | undefined;
  let at = 0;
  while (at < text.length) {
    const past = pastQuoted(text, at);
    if (past > at) {
      at = past;
      continue;
    }
    word.lastIndex = at;
    const found = word.exec(text)?.[0];
    if (found === undefined) {
      at++;
      continue;
    }
    const begins = at;
    at += found.length;
    if (found === "global" || found === "private") start ??= begins;
    else if (found === "rule") {
      const name = /\s*([A-Za-z_]\w*)?/y;
      name.lastIndex = at;
      const from = start ?? begins;
      const end = endOfBody(text, at);
      for (; counted < from; counted++) if (text.charCodeAt(counted) === 10) line++;
      spans.push({ name: name.exec(text)?.[1] ?? "", start: from, end, line });
      at = end;
      start = undefined;
    } else start = undefined;
  }
  return spans;
}

/** The text with spaces instead of the span: lines and offsets of the rest stay. */
export function blank(text: string, { start, end }: Pick<RuleSpan, "start" | "end">): string {
  return text.slice(0, start) + text.slice(start, end).replaceAll(/[^\n]/g, " ") + text.slice(end);
}

/** Offset of a place that a compiler names. Both count from 1. */
export function offsetOf(text: string, line: number, column: number): number {
  let at = 0;
  for (let row = 1; row < line; row++) {
    const end = text.indexOf("\n", at);
    if (end < 0) return text.length;
    at = end + 1;
  }
  return Math.min(at + column - 1, text.length);
}

function endOfBody(text: string, from: number): number {
  let depth = 0;
  let at = from;
  while (at < text.length) {
    const past = pastQuoted(text, at);
    if (past > at) {
      at = past;
      continue;
    }
    const char = text[at++];
    if (char === "{") depth++;
    else if (char === "}" && --depth <= 0) return at;
  }
  return text.length;
}

/** Behind the comment, string or regular expression that begins at `at`; `at` itself when none does. In YARA a slash never divides. */
function pastQuoted(text: string, at: number): number {
  const char = text[at];
  if (char === '"') return pastDelimiter(text, at, '"');
  if (char !== "/") return at;
  if (text[at + 1] === "/") return until(text, "\n", at + 2);
  if (text[at + 1] === "*") return until(text, "*/", at + 2) + 2;
  return pastDelimiter(text, at, "/");
}

/** Strings and regular expressions end on their line. */
function pastDelimiter(text: string, at: number, delimiter: string): number {
  for (let next = at + 1; next < text.length; next++) {
    const char = text[next];
    if (char === "\\") next++;
    else if (char === delimiter) return next + 1;
    else if (char === "\n") return next;
  }
  return text.length;
}

function until(text: string, end: string, from: number): number {
  const at = text.indexOf(end, from);
  return at < 0 ? text.length : at;
}
