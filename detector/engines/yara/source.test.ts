import { expect, test } from "vitest";
import { blank, offsetOf, ruleSpans } from "./source.ts";

const rows: readonly (readonly [string, string, readonly string[]])[] = [
  [
    "plain rules, with modifiers and tags",
    'import "elf"\nrule a : x y { condition: true }\nglobal private rule b { condition: true }',
    ["a:2", "b:3"],
  ],
  ["rules on one line", "rule a { condition: true } rule b { condition: true }", ["a:1", "b:1"]],
  ["no rule in a comment", "/* rule a { condition: true } */\n// rule b {\nrule c { condition: true } // }", ["c:3"]],
  ["braces in strings", 'rule a { strings: $a = "}}\\"}" condition: $a }\nrule b { condition: true }', ["a:1", "b:2"]],
  ["braces in regular expressions", "rule a { strings: $a = /x{2}\\/}[}]/ condition: $a }\nrule b { condition: true }", ["a:1", "b:2"]],
  ["braces of bytes", "rule a { strings: $a = { 01 ( 02 | 03 ) // }\n 04 } condition: $a }\nrule b { condition: true }", ["a:1", "b:3"]],
  ["a regular expression as an operand", 'rule a { condition: x matches /"{/ }\nrule b { condition: true }', ["a:1", "b:2"]],
  ["a rule without an end", "rule a { condition: (\nrule b", ["a:1"]],
  ["words that only begin alike", "ruler rules _rule rule", [":1"]],
  ["nothing", "", []],
];

test.each(rows)("%s", (_, text, expected) => {
  expect(ruleSpans(text).map(({ name, line }) => `${name}:${line}`)).toEqual(expected);
});

test("leaving a rule out moves nothing else", () => {
  const text = 'private rule a\n{ condition: true }\nrule b { strings: $b = "b" condition: $b }\n';
  const [first, second] = ruleSpans(text);
  const without = blank(text, first!);
  expect(without).toHaveLength(text.length);
  expect(without.slice(second!.start)).toBe(text.slice(second!.start));
  expect(ruleSpans(without)).toEqual([second]);
});

test("a place is found by line and column, past the end too", () => {
  const text = "ab\ncd\n";
  expect([offsetOf(text, 1, 1), offsetOf(text, 2, 2), offsetOf(text, 9, 1), offsetOf(text, 2, 99)]).toEqual([0, 4, 6, 6]);
});
