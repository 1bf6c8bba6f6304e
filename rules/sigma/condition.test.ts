import { expect, test } from "vitest";
import type { Condition } from "../rule.ts";
import { parseCondition } from "./condition.ts";
import { RuleError } from "./yaml.ts";

const names = ["a", "b", "sel_1", "sel_2", "filter_main_x", "_hidden"];
const detections = new Map<string, Condition>(names.map((name) => [name, { op: "field", field: name, tests: [] }]));

/** The condition as text with every parenthesis written. */
function show(condition: Condition): string {
  switch (condition.op) {
    case "and":
    case "or":
      return `(${condition.of.map(show).join(` ${condition.op} `)})`;
    case "not":
      return `not ${show(condition.of)}`;
    case "field":
      return condition.field;
    default:
      return condition.op;
  }
}
const parse = (text: string) => parseCondition(text, detections, 7);

test.each([
  ["a", "a"],
  ["a or b and sel_1", "(a or (b and sel_1))"],
  ["not a and b", "(not a and b)"],
  ["not not a", "not not a"],
  ["a and not (b or sel_1)", "(a and not (b or sel_1))"],
  ["1 of sel_*", "(sel_1 or sel_2)"],
  ["any of sel_*", "(sel_1 or sel_2)"],
  ["all of sel_*", "(sel_1 and sel_2)"],
  ["all of sel_* and not 1 of filter_*", "((sel_1 and sel_2) and not filter_main_x)"],
  ["1 of them", "(a or b or sel_1 or sel_2 or filter_main_x)"],
  ["ALL OF sel* AND NOT b", "((sel_1 and sel_2) and not b)"],
  ["1 of *_1", "sel_1"],
  ["1 of f*main*x", "filter_main_x"],
  ["a and(b)", "(a and b)"],
])("%s is %s", (text, meaning) => {
  expect(show(parse(text).condition)).toBe(meaning);
});

test.each([
  ["", "ends too early"],
  ["a and", "ends too early"],
  ["a b", '"b" is not expected here'],
  ["(a", "a parenthesis is not closed"],
  ["a)", '")" is not expected here'],
  ["c", 'there is no detection named "c"'],
  ["1 of none*", "no detection is named none*"],
  ["2 of sel_*", "only 1, any and all"],
  ["1 of", "ends after `of`"],
  ["and a", '"and" is not expected here'],
  ["a | count() > 5", "aggregation"],
  ["(".repeat(1000), "nested deeper than 32"],
  ["not ".repeat(500), "nested deeper than 32"],
])("%s: an error at its line", (text, message) => {
  expect(() => parse(text)).toThrow(message);
  try {
    parse(text);
  } catch (error) {
    expect(error).toBeInstanceOf(RuleError);
    expect((error as RuleError).line).toBe(7);
  }
});

test("tells which searches it used", () => {
  expect([...parse("a and 1 of sel_*").used]).toEqual(["a", "sel_1", "sel_2"]);
});
