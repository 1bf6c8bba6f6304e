// The condition line: `all of selection_* and not 1 of filter_*`.
import type { Condition } from "../rule.ts";
import { RuleError } from "./yaml.ts";

const MAX_DEPTH = 32;
const MAX_LENGTH = 4096;

export type ParsedCondition = { readonly condition: Condition; readonly used: ReadonlySet<string> };

/**
 * Sigma specification, "Condition": `not` binds tighter than `and`, `and` tighter than `or`; `1 of`, `any of` and `all of` take a name,
 * a pattern or `them`, which leaves out names that start with an underscore. Throws RuleError.
 */
export function parseCondition(text: string, detections: ReadonlyMap<string, Condition>, line: number): ParsedCondition {
  const fail = (message: string): never => {
    throw new RuleError(line, `condition "${text.slice(0, 120)}": ${message}`);
  };
  if (text.length > MAX_LENGTH) fail(`longer than ${MAX_LENGTH} characters`);
  if (text.includes("|")) fail("aggregation after | is not part of Sigma 2; write a correlation rule");
  const words = text.match(/[()]|[^\s()]+/g) ?? [];
  const used = new Set<string>();
  let at = 0;
  let depth = 0;
  const isWord = (word: string) => words[at]?.toLowerCase() === word;

  const or = (): Condition => chain("or", and);
  const and = (): Condition => chain("and", not);
  function chain(op: "and" | "or", next: () => Condition): Condition {
    const of = [next()];
    while (isWord(op)) {
      at++;
      of.push(next());
    }
    return of.length === 1 ? of[0]! : { op, of };
  }
  function not(): Condition {
    if (!isWord("not")) return primary();
    at++;
    if (++depth > MAX_DEPTH) fail(`nested deeper than ${MAX_DEPTH}`);
    const of = not();
    depth--;
    return { op: "not", of };
  }
  function primary(): Condition {
    const word = words[at++] ?? fail("ends too early");
    if (word === "(") {
      if (++depth > MAX_DEPTH) fail(`nested deeper than ${MAX_DEPTH}`);
      const inside = or();
      depth--;
      if (words[at++] !== ")") fail("a parenthesis is not closed");
      return inside;
    }
    if (isWord("of")) return quantified(word);
    if (/^(and|or|of|\))$/i.test(word)) fail(`"${word}" is not expected here`);
    return named(word);
  }
  function quantified(quantity: string): Condition {
    const some = /^(1|any)$/i.test(quantity);
    if (!some && !/^all$/i.test(quantity)) fail(`"${quantity} of": only 1, any and all can be counted`);
    at++;
    const pattern = words[at++] ?? fail("ends after `of`");
    const names = matching(pattern, [...detections.keys()]);
    if (names.length === 0) fail(`no detection is named ${pattern}`);
    const of = names.map(named);
    return of.length === 1 ? of[0]! : { op: some ? "or" : "and", of };
  }
  function named(name: string): Condition {
    const found = detections.get(name) ?? fail(`there is no detection named "${name}"`);
    used.add(name);
    return found;
  }

  const condition = or();
  if (at < words.length) fail(`"${words[at]}" is not expected here`);
  return { condition, used };
}

function matching(pattern: string, names: readonly string[]): string[] {
  if (pattern.toLowerCase() === "them") return names.filter((name) => !name.startsWith("_"));
  const pieces = pattern.split("*");
  const first = pieces[0]!;
  const last = pieces.at(-1)!;
  return names.filter((name) => {
    if (pieces.length === 1) return name === pattern;
    if (!name.startsWith(first) || name.length < first.length + last.length || !name.endsWith(last)) return false;
    let at = first.length;
    for (const piece of pieces.slice(1, -1)) {
      at = name.indexOf(piece, at);
      if (at < 0 || at + piece.length > name.length - last.length) return false;
      at += piece.length;
    }
    return true;
  });
}
