// What must be seen in an event for a rule to match it, as texts that can be looked up for all rules at once.
import type { Condition, FieldTest } from "../rule.ts";
import { isSearched } from "./fields.ts";
import { fold } from "./fold.ts";
import { passesMissing } from "./reach.ts";

/** A text, folded (fold.ts) and of ASCII only, and where in the field, folded too, it must stand. `segment`: it is all that follows the last slash. */
export type Clue = { readonly field: string; readonly at: "segment" | "start" | "end" | "any"; readonly text: string };

/** Single characters that stand in nearly every text. */
const ordinary = /^[a-z0-9 /._-]$/;
/** Keywords look into every field; where there are more than this, looking them all up costs more than it saves. */
const MAX_KEYWORD_FIELDS = 4;

/** The fields one type of event has. */
type Fields = ReadonlySet<string>;
type CostOf = (clue: Clue) => number;

/**
 * Clues of which at least one is in every event that `condition` matches: the cheapest such list; undefined when none can be told.
 * Says too little rather than too much: a clue that were not required would hide an attack.
 */
export function cluesOf(condition: Condition, fields: Fields, costOf: CostOf): readonly Clue[] | undefined {
  switch (condition.op) {
    case "constant":
      return condition.value ? undefined : [];
    case "field":
      return cluesOfTests(condition.field, condition.tests, { fields, costOf });
    case "keyword": {
      const searched = [...fields].filter(isSearched);
      return searched.length > MAX_KEYWORD_FIELDS
        ? undefined
        : union(searched.map((field) => cluesOfTests(field, [condition.test], { fields, costOf })));
    }
    case "or":
      return union(condition.of.map((part) => cluesOf(part, fields, costOf)));
    case "and": {
      const lists = condition.of.map((part) => cluesOf(part, fields, costOf)).filter((list) => list !== undefined);
      return cheapest(lists, costOf);
    }
    // What must not be there says nothing about what must.
    case "not":
      return undefined;
  }
}

function cheapest(lists: readonly (readonly Clue[])[], costOf: CostOf): readonly Clue[] | undefined {
  const total = (list: readonly Clue[]) => list.reduce((sum, clue) => sum + costOf(clue), 0);
  return lists.toSorted((a, b) => total(a) - total(b))[0];
}

function union(lists: readonly (readonly Clue[] | undefined)[]): readonly Clue[] | undefined {
  const all = new Map<string, Clue>();
  for (const list of lists) {
    if (!list) return undefined;
    for (const clue of list) all.set(keyOf(clue), clue);
  }
  return [...all.values()];
}

export const keyOf = ({ field, at, text }: Clue) => `${field}\n${at}\n${text}`;

type Known = { readonly fields: Fields; readonly costOf: CostOf };

function cluesOfTests(field: string, tests: readonly FieldTest[], { fields, costOf }: Known): readonly Clue[] | undefined {
  if (!fields.has(field)) return tests.some(passesMissing) ? undefined : [];
  return union(tests.map((test) => cluesOfTest(field, test, costOf)));
}

function cluesOfTest(field: string, test: FieldTest, costOf: CostOf): readonly Clue[] | undefined {
  switch (test.kind) {
    case "equals":
      return segment(field, test.text);
    case "endswith":
      return test.text.includes("/") ? segment(field, test.text) : literal(field, "end", test.text);
    case "startswith":
      return literal(field, "start", test.text);
    case "contains":
      return literal(field, "any", test.text);
    case "glob":
      return literal(field, "any", longest(test.parts.flatMap(runs)));
    case "regex":
      return cheapest(
        (test.literals ?? []).map((list) => union(list.map((text) => literal(field, "any", text)))).filter((clues) => clues !== undefined),
        costOf,
      );
    case "cidr":
    case "compare":
    case "time":
    case "exists":
    case "null":
    case "fieldref":
      return undefined;
  }
}

/** Pieces of a glob between its `?`. */
const runs = (part: readonly (string | null)[]): string[] =>
  part
    .map((char) => char ?? "\0")
    .join("")
    .split("\0");

function segment(field: string, text: string): readonly Clue[] | undefined {
  const name = text.slice(text.lastIndexOf("/") + 1);
  return isAscii(name) ? [{ field, at: "segment", text: name.toLowerCase() }] : undefined;
}

/** Beyond ASCII, lower case may depend on the neighbours and change the length: only what stands between such characters is looked up. */
function literal(field: string, at: Clue["at"], text: string): readonly Clue[] | undefined {
  const run = isAscii(text) ? text : longest(text.split(/[^\x01-\x7f]+/));
  const folded = fold(run.toLowerCase());
  return folded === "" || ordinary.test(folded) ? undefined : [{ field, at: run === text ? at : "any", text: folded }];
}

const isAscii = (text: string) => /^[\x01-\x7f]*$/.test(text);
const longest = (texts: readonly string[]) => texts.reduce((best, text) => (text.length > best.length ? text : best), "");
