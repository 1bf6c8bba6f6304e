// Sigma's wildcards: `*` any text, `?` one character, backslash to escape them.
import type { FieldTest } from "../rule.ts";

export type How = "equals" | "contains" | "startswith" | "endswith";

const ANY = Symbol("*");
const ONE = Symbol("?");
type Token = string | typeof ANY | typeof ONE;

/**
 * Sigma specification, "Escaping": a backslash is plain unless a wildcard or another backslash follows,
 * so `\\*` is a backslash and a wildcard, `\*` an asterisk, and `C:\dir` needs nothing.
 */
function tokens(text: string): Token[] {
  const out: Token[] = [];
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    const next = text[at + 1];
    if (char === "\\" && (next === "\\" || next === "*" || next === "?")) {
      out.push(next);
      at++;
    } else out.push(char === "*" ? ANY : char === "?" ? ONE : char);
  }
  return out;
}

/** Whether `text` has a wildcard that is not escaped. */
export const hasWildcard = (text: string) => tokens(text).some((token) => typeof token !== "string");

/** `text` with its escapes taken away, for modifiers that know no wildcards. */
export const plain = (text: string) =>
  tokens(text)
    .map((token) => (token === ANY ? "*" : token === ONE ? "?" : (token as string)))
    .join("");

/** What a value of a rule asks of a field. The cheapest test that says the same: most values need no glob. */
export function textTest(value: string, how: How, cased: boolean): FieldTest {
  const all = tokens(cased ? value : value.toLowerCase());
  if (how === "contains" || how === "endswith") all.unshift(ANY);
  if (how === "contains" || how === "startswith") all.push(ANY);

  let from = 0;
  let to = all.length;
  while (from < to && all[from] === ANY) from++;
  while (to > from && all[to - 1] === ANY) to--;
  const inner = all.slice(from, to);
  if (inner.every((token) => typeof token === "string")) {
    const kind = from > 0 && to < all.length ? "contains" : from > 0 ? "endswith" : to < all.length ? "startswith" : "equals";
    // A lone `*` leaves nothing: any text, the empty one too.
    return { kind: from === all.length && from > 0 ? "contains" : kind, text: inner.join(""), cased };
  }

  const parts: (string | null)[][] = [[]];
  for (const token of all) {
    if (token === ANY) parts.push([]);
    else parts.at(-1)!.push(token === ONE ? null : (token as string));
  }
  return { kind: "glob", parts, cased };
}

/**
 * A matcher for `parts` with any text between them. Takes time proportional to the text times the longest part: leftmost
 * placement of each part is enough, so nothing is ever tried twice.
 */
export function glob(parts: readonly (readonly (string | null)[])[]): (text: string) => boolean {
  const first = parts[0]!;
  const last = parts.at(-1)!;
  const middle = parts.slice(1, -1).filter((part) => part.length > 0);
  if (parts.length === 1) return (text) => text.length === first.length && fits(first, text, 0);
  return (text) => {
    let at = first.length;
    const end = text.length - last.length;
    if (at > end || !fits(first, text, 0) || !fits(last, text, end)) return false;
    for (const part of middle) {
      while (at + part.length <= end && !fits(part, text, at)) at++;
      if (at + part.length > end) return false;
      at += part.length;
    }
    return true;
  };
}

function fits(part: readonly (string | null)[], text: string, at: number): boolean {
  for (let index = 0; index < part.length; index++) {
    const char = part[index];
    if (char !== null && text[at + index] !== char) return false;
  }
  return true;
}
