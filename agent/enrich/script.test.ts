import { describe, expect, test } from "vitest";
import { followScripts, parseShebang, readShebang } from "./script.ts";

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

describe("a chain of scripts", () => {
  const files: Record<string, string> = { "/a": "/b -x y", "/b": "/c", "/c": "/bin/sh -e", "/loop": "/loop", "/deep1": "/deep2" };
  for (let at = 2; at < 8; at++) files[`/deep${at}`] = `/deep${at + 1}`;
  const read = (path: string) => (files[path] === undefined ? undefined : parseShebang(Buffer.from(`#!${files[path]}\n`)));

  test.each([
    ["one script", "/c", undefined, { program: "/bin/sh", argv: ["/bin/sh", "-e", "/c"] }],
    ["all of it, as the kernel passes it on", "/a", undefined, { program: "/bin/sh", argv: ["/bin/sh", "-e", "/c", "/b", "-x y", "/a"] }],
    ["up to where the kernel says that it led", "/a", "/bin/sh", { program: "/bin/sh", argv: ["/bin/sh", "-e", "/c", "/b", "-x y", "/a"] }],
    ["one that leads elsewhere by now", "/a", "/bin/bash", undefined],
    ["no script", "/bin/sh", undefined, undefined],
    ["no script any more", "/gone", "/bin/sh", undefined],
  ])("%s", (_, path, end, expected) => {
    expect(followScripts(path, read, end)).toEqual(expected);
  });

  test("no further than the kernel goes", () => {
    expect(followScripts("/loop", read, "/bin/sh")).toBeUndefined();
    expect(followScripts("/deep1", read)?.program).toBe("/deep6");
  });
});
