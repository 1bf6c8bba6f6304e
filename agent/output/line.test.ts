import { expect, test } from "vitest";
import { jsonLine } from "./line.ts";

test("what would steer a terminal is escaped and parses back", () => {
  const value = { argv: ["\u001B[8m", "\u009B31m", "a\u202Eb", "\u007F", "line\u2028two", "Grüße 日本"] };
  const line = jsonLine(value);
  expect(line).not.toMatch(/[^\P{Control}\n]|\u202E|\u2028/u);
  expect(line).toContain("Grüße 日本");
  expect(JSON.parse(line)).toEqual(value);
  expect(line.indexOf("\n")).toBe(line.length - 1);
});
