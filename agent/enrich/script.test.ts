import { expect, test } from "vitest";
import { parseShebang, readShebang } from "./script.ts";

test.each([
  ["#!/bin/sh\nid\n", { interpreter: "/bin/sh", argument: undefined }],
  ["#! /usr/bin/env python3 -u \nprint()\n", { interpreter: "/usr/bin/env", argument: "python3 -u" }],
  ["#!/bin/sh", { interpreter: "/bin/sh", argument: undefined }],
  ["#!\n", undefined],
  ["\x7fELF", undefined],
  ["", undefined],
])("%j", (text, expected) => {
  expect(parseShebang(Buffer.from(text))).toEqual(expected);
});

test("a file that is gone, and a directory, are no scripts", () => {
  expect(readShebang("/nonexistent/script")).toBeUndefined();
  expect(readShebang("/")).toBeUndefined();
});
