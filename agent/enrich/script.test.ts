import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

test("what its owner put in a script's place is not waited for, nor opened", () => {
  const folder = mkdtempSync(join(tmpdir(), "pkscript-"));
  const path = join(folder, "script");
  try {
    for (const put of [`mkfifo ${path}`, `ln -s /dev/tty ${path}`, `ln -s ${path} ${path}`]) {
      expect(Bun.spawnSync(["sh", "-c", put]).exitCode).toBe(0);
      // In a process of its own: one that waits in open(2) can be ended, a test that does cannot.
      const read = `import { readShebang } from ${JSON.stringify(new URL("script.ts", import.meta.url).href)}; console.log(readShebang(${JSON.stringify(path)}))`;
      const { stdout, exitCode } = Bun.spawnSync([process.execPath, "-e", read], { timeout: 20_000 });
      expect({ put, said: stdout.toString(), exitCode }).toEqual({ put, said: "undefined\n", exitCode: 0 });
      rmSync(path);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 90_000);

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
