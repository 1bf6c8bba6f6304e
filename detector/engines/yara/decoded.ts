// What a command line hides in base64.
import { clean } from "../../text.ts";

/** Of one command line, at most: texts, and how often one may lie in another. */
const MAX_TEXTS = 8;
const MAX_DEPTH = 2;
/** Fewer characters are seldom more than a word. */
const coded = /[A-Za-z0-9+/_-]{24,}={0,2}/g;
/** Of a text that somebody could read or run. */
const MIN_READABLE = 0.9;

/** The texts that lie in `text` as base64 (RFC 4648, either alphabet), also as UTF-16, also in each other; what is no text when decoded is left out. */
export function decodedIn(text: string, depth = 0): string[] {
  if (depth >= MAX_DEPTH) return [];
  const found: string[] = [];
  for (const [token] of text.matchAll(coded)) {
    if (found.length >= MAX_TEXTS) break;
    const plain = readable(Buffer.from(token, "base64"));
    if (plain === undefined) continue;
    found.push(plain, ...decodedIn(plain, depth + 1));
  }
  return found.slice(0, MAX_TEXTS);
}

function readable(bytes: Buffer): string | undefined {
  const wide = bytes.length >= 4 && bytes[1] === 0 && bytes[3] === 0;
  const text = bytes.toString(wide ? "utf16le" : "utf8");
  let good = 0;
  for (const char of text) if ((char >= " " && char <= "~") || char === "\n" || char === "\t" || char === "\r") good++;
  return text.length > 0 && good >= text.length * MIN_READABLE ? text : undefined;
}

/** A command line as one text. */
export const commandText = (argv: readonly string[], max: number): string => argv.join(" ").slice(0, max).toWellFormed();

/** `text` for a sentence. */
export const shown = (text: string): string => clean(text, 200);
