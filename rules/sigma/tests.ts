// Tests of a rule to functions on text, with the shortest way for the lists that rules are full of.
import type { Comparison, FieldTest } from "../rule.ts";
import { inside, parseAddress } from "./cidr.ts";
import { glob, type How } from "./pattern.ts";
import { lazyRegex } from "./regex.ts";
import { timePart } from "./time.ts";

export type TextTest = (text: string) => boolean;

/** Tests that look at a text alone; the others need the whole field (see compile.ts). */
type TextKind = Extract<FieldTest, { kind: How | "glob" | "regex" | "cidr" | "compare" | "time" }>;

export const isText = (test: FieldTest): test is TextKind => test.kind !== "null" && test.kind !== "exists" && test.kind !== "fieldref";

/** Whether the test wants the text as it is, not in lower case. */
export const wantsCase = (test: TextKind): boolean => ("cased" in test ? test.cased : test.kind === "regex");

/** One function for "any of these": equal texts become a set, `/name` endings a set of last path segments. */
export function anyText(tests: readonly TextKind[]): TextTest {
  const equal = new Set<string>();
  const names = new Set<string>();
  const others: TextTest[] = [];
  for (const test of tests) {
    if (test.kind === "equals") equal.add(test.text);
    else if (test.kind === "endswith" && isName(test.text)) names.add(test.text.slice(1));
    else others.push(textTest(test));
  }
  if (names.size > 1) {
    others.unshift((text) => {
      const slash = text.lastIndexOf("/");
      return slash >= 0 && names.has(text.slice(slash + 1));
    });
  } else for (const name of names) others.unshift((text) => text.endsWith(`/${name}`));
  if (equal.size > 1) others.unshift((text) => equal.has(text));
  else for (const only of equal) others.unshift((text) => text === only);
  return firstOf(others);
}

/** `/bash`, but neither `bash` nor `/bin/bash`: the whole last segment of a path. */
export const isName = (text: string) => text.lastIndexOf("/") === 0;

export function containsAny(wanted: readonly string[]): TextTest {
  const [only] = wanted;
  if (wanted.length === 1) return (text) => text.includes(only!);
  return (text) => {
    for (const literal of wanted) if (text.includes(literal)) return true;
    return false;
  };
}

function firstOf(tests: readonly TextTest[]): TextTest {
  const [first, second] = tests;
  if (!first) return () => false;
  if (!second) return first;
  if (tests.length === 2) return (text) => first(text) || second(text);
  return (text) => {
    for (const test of tests) if (test(text)) return true;
    return false;
  };
}

function textTest(test: TextKind): TextTest {
  switch (test.kind) {
    case "equals":
    case "contains":
    case "startswith":
    case "endswith": {
      const { text: wanted } = test;
      return (text) => compare[test.kind](text, wanted);
    }
    case "glob":
      return glob(test.parts);
    case "regex":
      return lazyRegex(test.source, test.flags);
    case "cidr":
      return (text) => inside(test, parseAddress(text));
    case "compare":
      return comparison(test.than, test.number);
    case "time": {
      const holds = test.than === "eq" ? (number: number) => number === test.number : numberTest(test.than, test.number);
      return (text) => {
        const number = timePart(text, test.part);
        return number !== undefined && holds(number);
      };
    }
  }
}

export const compare: Record<How, (text: string, wanted: string) => boolean> = {
  equals: (text, wanted) => text === wanted,
  contains: (text, wanted) => text.includes(wanted),
  startswith: (text, wanted) => text.startsWith(wanted),
  endswith: (text, wanted) => text.endsWith(wanted),
};

function comparison(than: Comparison, number: number): TextTest {
  const holds = numberTest(than, number);
  // Number("") is 0; a text that is no number is neither less nor more.
  return (text) => text.trim() !== "" && holds(Number(text));
}

function numberTest(than: Comparison, number: number): (value: number) => boolean {
  return {
    lt: (n: number) => n < number,
    lte: (n: number) => n <= number,
    gt: (n: number) => n > number,
    gte: (n: number) => n >= number,
  }[than];
}
