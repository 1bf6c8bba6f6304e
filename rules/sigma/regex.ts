import { RE2JS } from "re2js";
import { stepsOf } from "./regex-size.ts";

const MAX_PATTERN = 2048;
/** Steps of one program: each character of a text may be held against all of them. Two and a half times what any rule of Picket or SigmaHQ takes. */
const MAX_STEPS = 5000;

/**
 * A regular expression that takes time proportional to the text, whatever the pattern (RE2): a rule from a stranger and a command line
 * from an attacker meet here, and a backtracking engine would let the two stop the detector. No look-around or back-references, as in the
 * Sigma specification. Searches; case-sensitive unless `i`. Throws Error with what is wrong.
 */
export function linearRegex(pattern: string, flags: string): (text: string) => boolean {
  if (pattern.length > MAX_PATTERN) throw new Error(`longer than ${MAX_PATTERN} characters`);
  const steps = stepsOf(pattern);
  if (steps > MAX_STEPS) throw new Error(`its counts in braces make ${steps} steps of it; ${MAX_STEPS} are allowed`);
  const bits =
    (flags.includes("i") ? RE2JS.CASE_INSENSITIVE : 0) |
    (flags.includes("m") ? RE2JS.MULTILINE : 0) |
    (flags.includes("s") ? RE2JS.DOTALL : 0);
  const regex = RE2JS.compile(pattern, bits);
  return (text) => regex.test(text);
}

/** The same, compiled when first used: most expressions of a rule set meet no text that could match. */
export function lazyRegex(pattern: string, flags: string): (text: string) => boolean {
  let matches: ((text: string) => boolean) | undefined;
  return (text) => {
    matches ??= linearRegex(pattern, flags);
    return matches(text);
  };
}
