import { expect, test } from "vitest";
import { glob, hasWildcard, textTest } from "./pattern.ts";
import { anyText, isText } from "./tests.ts";

const matches = (value: string, how: "equals" | "contains" | "startswith" | "endswith", text: string) => {
  const one = textTest(value, how, false);
  return isText(one) && anyText([one])(text.toLowerCase());
};

// Sigma specification, "Escaping" and "Wildcards".
test.each([
  { value: String.raw`C:\dir\file`, text: String.raw`C:\dir\file`, is: true, why: "a backslash before a letter is plain" },
  { value: String.raw`a\\b`, text: String.raw`a\b`, is: true, why: "two backslashes are one" },
  { value: String.raw`a\*b`, text: "a*b", is: true, why: "an escaped asterisk is plain" },
  { value: String.raw`a\*b`, text: "axb", is: false, why: "and no wildcard" },
  { value: String.raw`a\\*b`, text: String.raw`a\xb`, is: true, why: "an escaped backslash leaves the wildcard" },
  { value: String.raw`a\\\*b`, text: String.raw`a\*b`, is: true, why: "both escaped" },
  { value: String.raw`a\?b`, text: "axb", is: false, why: "an escaped question mark is plain" },
  { value: "a?b", text: "axb", is: true, why: "? is one character" },
  { value: "a?b", text: "ab", is: false, why: "not none" },
  { value: "*", text: "", is: true, why: "* alone is any text, the empty one too" },
  { value: "a*b*c", text: "a-b-b-c", is: true, why: "pieces in order" },
  { value: "a*b*c", text: "a-c-b", is: false, why: "not out of order" },
  { value: "ab*ba", text: "aba", is: false, why: "start and end do not overlap" },
  { value: "ABC", text: "abc", is: true, why: "case does not matter" },
  { value: "\\", text: "\\", is: true, why: "a backslash at the end is plain" },
])("$value on $text: $why", ({ value, text, is }) => {
  expect(matches(value, "equals", text)).toBe(is);
});

test.each([
  { how: "contains", value: "b*d", text: "abcde", is: true },
  { how: "contains", value: "b?d", text: "abcde", is: true },
  { how: "startswith", value: "a?c", text: "abcd", is: true },
  { how: "startswith", value: "b", text: "ab", is: false },
  { how: "endswith", value: "?d", text: "abcd", is: true },
  { how: "endswith", value: "/sh", text: "/usr/bin/ssh", is: false },
  { how: "endswith", value: "/sh", text: "/bin/sh", is: true },
] as const)("$how $value on $text: $is", ({ how, value, text, is }) => {
  expect(matches(value, how, text)).toBe(is);
});

test("a list of program names compares whole names", () => {
  const test = anyText(["/sh", "/bash"].map((name) => ({ kind: "endswith", text: name, cased: false }) as const));
  expect(["/bin/sh", "/usr/bin/bash", "/usr/bin/ssh", "/usr/bin/ssh-agent", "sh", "/opt/bash/x"].map(test)).toEqual([
    true,
    true,
    false,
    false,
    false,
    false,
  ]);
});

test("many wildcards cost no more than the text is long", () => {
  const parts = Array.from({ length: 200 }, () => ["a", null, "a"] as const);
  expect(glob([[], ...parts, ["b"]])(`${"a".repeat(100_000)}c`)).toBe(false);
});

test("hasWildcard sees only what is not escaped", () => {
  expect(["a*", "a?", String.raw`a\*`, String.raw`a\\*`].map(hasWildcard)).toEqual([true, true, false, true]);
});
