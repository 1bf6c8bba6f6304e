import { RE2JS } from "re2js";
import { expect, test } from "vitest";
import { builtinRules } from "../builtin.ts";
import { linearRegex } from "./regex.ts";
import { stepsOf } from "./regex-size.ts";

const sizeOf = (pattern: string): number => RE2JS.compile(pattern).programSize();

test.each([
  "a{1000}",
  "(?:a{30}){30}",
  "(?:(?:a{10}){10}){10}",
  "x.{0,99}".repeat(20),
  "[]a]{900}",
  "[^]\\]]{900}",
  "[[:alpha:]\\]x]{900}",
  "\\pL{1000}",
  "\\x{41}{900}",
  "\\Qa{1000}\\E",
  "(?P<name>a{99}){9}",
  "(?<name>a{99}){9}",
  "(?i)(a|b){900}",
  "(?i:a){900}",
  "(?:(?i)a){900}",
  "(a*){900}",
  "a{900}?",
  "a{2,}{1}".slice(0, 5),
  "\\{900}",
  "a{,1000}",
  "(?s-i:.{9}){99}",
])("%s: about as many steps as there are", (pattern) => {
  const [told, real] = [stepsOf(pattern), sizeOf(pattern)];
  expect(told).toBeGreaterThan(real * 0.6 - 5);
  expect(told).toBeLessThan(real * 4.1 + 5);
});

/** Of `regex` tests, wherever they stand in a rule. */
function sourcesOf(of: unknown): string[] {
  if (typeof of !== "object" || of === null) return [];
  const own = "source" in of && typeof of.source === "string" ? [of.source] : [];
  return [...own, ...Object.values(of).flatMap(sourcesOf)];
}

test("shipped rules stay well below what is allowed", () => {
  const sources = builtinRules().flatMap(({ detection }) => sourcesOf(detection));
  expect(sources.length).toBeGreaterThan(50);
  for (const source of sources) expect(stepsOf(source)).toBeGreaterThanOrEqual(sizeOf(source) / 2);
  expect(Math.max(...sources.map(stepsOf))).toBeLessThan(2500);
});

test("what is none is compiled by nobody, and ends", () => {
  for (const pattern of [
    "(".repeat(2000),
    "[".repeat(2000),
    "[[:a:]".repeat(300),
    "\\Q".repeat(900),
    "{9}".repeat(600),
    "a{9}".repeat(500),
    ")".repeat(2000),
    "\\",
  ])
    expect(stepsOf(pattern)).toBeGreaterThanOrEqual(0);
  expect(() => linearRegex("x.{0,999}".repeat(200), "")).toThrow("its counts in braces make 400000 steps of it; 5000 are allowed");
  expect(linearRegex("[0-9]{1,3}(\\.[0-9]{1,3}){3}", "")("at 198.51.100.7")).toBe(true);
});
