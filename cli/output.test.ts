import { expect, test } from "vitest";
import { jsonLine, table } from "./output.ts";

test("JSON means the same and holds no control a terminal obeys", () => {
  const value = { text: "\u001B[8m\u009B31m\u007F日本\u202Dx" };
  const line = jsonLine(value);
  expect(JSON.parse(line)).toEqual(value);
  expect(line).not.toMatch(/[\u0000-\u001F\u007F-\u009F]/);
});

test("columns are as wide as their content, wide letters counted", () => {
  expect(
    table(
      ["a", "b"],
      [
        ["日本", "x"],
        ["z", "y"],
      ],
    ),
  ).toEqual(["a     b", "日本  x", "z     y"]);
});

test("rows are cut to the terminal and cleaned", () => {
  expect(table(["name", "text"], [["gw", `\u001B[8m${"x".repeat(50)}`]], 20)[1]).toBe(`gw    ${"x".repeat(13)}…`);
});
