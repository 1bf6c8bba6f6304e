// A command line as the shell would read it: quotes, escapes and detours around spaces and letters taken away. Hostile text: bounded, and linear in its length.

/** Characters of a line that are read: the first three quarters and the last quarter of what is allowed, so that padding hides neither end. */
export const MAX_LINE = 4096;
const MAX_DECODED = 2048;
const MAX_PAYLOADS = 4;

/** One command or pipeline of a line, lower case, single spaces, without quotes. */
export type Unwrapped = {
  readonly segments: readonly string[];
  /** Ways in which the line hid its words. */
  readonly tricks: readonly string[];
};

/** The commands of a line. What `;`, `&&`, `||`, `&` and newlines separate outside quotes are segments; a pipeline stays one. */
export function unwrap(line: string): Unwrapped {
  const tricks = new Set<string>();
  const bounded = line.length <= MAX_LINE ? line : `${line.slice(0, (MAX_LINE * 3) / 4)} ${line.slice(-MAX_LINE / 4)}`;
  const segments = split(expand(bounded, tricks), tricks);
  return { segments, tricks: [...tricks] };
}

/** Text that a line carries encoded and decodes itself: base64, hexadecimal, reversed. */
export function payloads(line: string): string[] {
  const found: string[] = [];
  if (/base64|b64|openssl|atob|decode|xxd|frombase/i.test(line)) {
    for (const [run] of line.matchAll(/[A-Za-z0-9+/_-]{12,2731}={0,2}/g)) {
      if (found.length >= MAX_PAYLOADS) break;
      const text = printable(/^[0-9a-f]+$/i.test(run) && run.length % 2 === 0 ? Buffer.from(run, "hex") : Buffer.from(run, "base64"));
      if (text !== undefined) found.push(text);
    }
  }
  if (/\|\s*rev\b|\brev\s*<<</.test(line)) {
    for (const [, quoted] of line.matchAll(/["']([^"']{6,2048})["']/g))
      if (quoted && found.length < MAX_PAYLOADS) found.push([...quoted].reverse().join(""));
  }
  return found;
}

/** The bytes as text when nearly all of them are text. */
function printable(bytes: Buffer): string | undefined {
  if (bytes.length < 6) return undefined;
  const text = bytes.subarray(0, MAX_DECODED).toString("latin1");
  let good = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if ((code >= 32 && code < 127) || code === 9 || code === 10) good++;
  }
  return good >= text.length * 0.95 ? text : undefined;
}

const IFS = /\$\{?ifs(?:[%:#][^}\s]{0,12})?\}?(?:\$[0-9@*])?/gi;
const HEX = /\\x([0-9a-f]{2})/gi;
const OCTAL = /\\0?([0-3][0-7]{2})/g;
const EMPTY = /\$\{?[@*]\}?(?=[a-z0-9_./-])|(?<=[a-z0-9_./-])\$\{?[@*]\}?/gi;
const BRACES = /(^|[\s;|&(`])\{([^\s{}"',]+(?:,[^\s{}"',]*)+)\}/g;
const DEFAULT = /\$\{[a-z0-9_]{1,32}:?[-=]([^{}$\s]{1,64})\}/gi;

/** Undoes what the shell expands: `${IFS}`, `\x2f`, `$@` inside words, `{cat,/etc/passwd}`. */
function expand(line: string, tricks: Set<string>): string {
  let text = line;
  const undo = (trick: string, pattern: RegExp, by: (...found: string[]) => string) => {
    const after = text.replace(pattern, by);
    if (after !== text) tricks.add(trick);
    text = after;
  };
  if (text.includes("$")) {
    if (/ifs/i.test(text)) undo("ifs", IFS, () => " ");
    undo("empty", EMPTY, () => "");
    if (text.includes("${")) undo("default", DEFAULT, (_, value = "") => value);
  }
  if (text.includes("\\x")) undo("hex", HEX, (_, digits = "") => ascii(Number.parseInt(digits, 16)));
  if (/\\0?[0-3][0-7]{2}/.test(text)) undo("octal", OCTAL, (_, digits = "") => ascii(Number.parseInt(digits, 8)));
  if (text.includes("{") && text.includes(",")) undo("braces", BRACES, (_, before = "", list = "") => before + list.replaceAll(",", " "));
  return text;
}

const ascii = (code: number) => (code >= 32 && code < 127 ? String.fromCharCode(code) : " ");

const isWord = (code: number) => (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122);
const NEWLINE = 10;
const DOUBLE = 34;
const DOLLAR = 36;
const AMPERSAND = 38;
const SINGLE = 39;
const OPEN = 40;
const SEMICOLON = 59;
const LESS = 60;
const GREATER = 62;
const BACKSLASH = 92;
const BACKTICK = 96;
const PIPE = 124;

/** Splits at separators outside quotes and drops quotes and backslashes on the way. */
function split(text: string, tricks: Set<string>): string[] {
  const segments: string[] = [];
  let out = "";
  let quote = 0;
  let joined = 0;
  const add = (piece: string) => {
    if (piece !== " " || (out !== "" && !out.endsWith(" "))) out += piece;
  };
  const end = () => {
    const segment = out.trim().toLowerCase();
    if (segment !== "") segments.push(segment);
    out = "";
  };
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const next = text.charCodeAt(at + 1);
    if (code === SINGLE || code === DOUBLE) {
      if (quote === 0) quote = code;
      else if (quote === code) quote = 0;
      else continue;
      if (isWord(text.charCodeAt(at - 1)) && (isWord(next) || next === SINGLE || next === DOUBLE)) joined++;
    } else if (code === BACKSLASH) {
      if (next === NEWLINE) at++;
      else if (quote !== 0 && (next === 110 || next === 116)) {
        add(" ");
        at++;
      } else if (isWord(next) && quote === 0) joined++;
    } else if (code <= 32 || code === 160) {
      if (code === NEWLINE && quote === 0) end();
      else add(" ");
    } else if (code === DOLLAR && (next === SINGLE || next === DOUBLE)) {
      // $'…' and $"…" are quotes.
    } else if (quote === 0 && (code === SEMICOLON || ((code === PIPE || code === AMPERSAND) && next === code))) {
      if (next === code) at++;
      end();
    } else if (quote === 0 && code === PIPE) {
      add(" ");
      out += "| ";
    } else if (quote === 0 && code === AMPERSAND && next !== GREATER && !isRedirect(text, at)) {
      end();
    } else if (code === BACKTICK || (code === DOLLAR && next === OPEN)) {
      add(" ");
      out += "$( ";
      if (code === DOLLAR) at++;
    } else out += text[at];
  }
  end();
  if (joined > 1) tricks.add("quotes");
  return segments;
}

/** The & of `>&`, `<&`, `2>&1`. */
const isRedirect = (text: string, at: number) => {
  const before = text.charCodeAt(at - 1);
  return before === GREATER || before === LESS;
};
