import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openRotatingFile } from "./rotating-file.ts";

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "picket-file-"));
  path = join(dir, "events.ndjson");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const problems: (string | undefined)[] = [];
const open = (maxBytes = 1000, keep = 2) => openRotatingFile({ path, maxBytes, keep, onProblem: (error) => problems.push(error?.message) });
const line = (at: number, length = 100) => `${String(at).padStart(length - 1, "x")}\n`;
const linesOf = (name: string) => readFileSync(join(dir, name), "utf8").split("\n").slice(0, -1);

test("lines are whole, in order, in files no larger than allowed, of which the oldest go", () => {
  const file = open();
  for (let at = 0; at < 95; at++) file.write(line(at));
  expect(file.end()).toBe(0);
  expect(readdirSync(dir).sort()).toEqual(["events.ndjson", "events.ndjson.1", "events.ndjson.2"]);
  const numbers = ["events.ndjson.2", "events.ndjson.1", "events.ndjson"].flatMap(linesOf).map((text) => Number(text.replaceAll("x", "")));
  expect(numbers).toEqual(Array.from({ length: 25 }, (_, at) => at + 70));
  for (const name of readdirSync(dir)) expect(statSync(join(dir, name)).size).toBeLessThanOrEqual(1000);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("without older files there is one; a line too large for any file has its own", () => {
  const file = open(1000, 0);
  file.write(line(1));
  file.write(line(2, 5000));
  expect(file.end()).toBe(0);
  expect(readdirSync(dir)).toEqual(["events.ndjson"]);
  expect(linesOf("events.ndjson")).toEqual([line(2, 5000).trimEnd()]);
});

test("a line that a power cut left torn does not swallow the next", () => {
  writeFileSync(path, 'whole\n{"half');
  const file = open();
  file.write("next\n");
  file.end();
  expect(linesOf("events.ndjson")).toEqual(["whole", '{"half', "next"]);
});

test("a file that logrotate renamed, removed or truncated is opened anew", () => {
  const file = open(1 << 20);
  const write = (text: string) => {
    file.write(text);
    // More than what waits for company is written at once.
    file.write(`${"y".repeat(70_000)}\n`);
  };
  write("one\n");
  renameSync(path, join(dir, "rotated"));
  write("two\n");
  expect(linesOf("events.ndjson").at(0)).toBe("two");
  rmSync(path);
  write("three\n");
  truncateSync(path, 0);
  appendFileSync(path, "copytruncate\n");
  file.write("four\n");
  file.end();
  expect(linesOf("events.ndjson")).toEqual(["copytruncate", "four"]);
});

test("neither a symbolic link nor a folder is written to", () => {
  writeFileSync(join(dir, "other"), "precious");
  symlinkSync(join(dir, "other"), path);
  expect(open).toThrow(/ELOOP|symbolic/);
  rmSync(path);
  path = dir;
  expect(open).toThrow(/EISDIR|directory/);
  expect(readFileSync(join(dir, "other"), "utf8")).toBe("precious");
});

test("a disk that is full is told once, and everything is written when there is room again", async () => {
  const mount = join(dir, "small");
  Bun.spawnSync(["mkdir", mount]);
  if (Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=64k", "none", mount]).exitCode !== 0)
    throw new Error("needs root, to mount a small disk");
  try {
    path = join(mount, "events.ndjson");
    problems.length = 0;
    writeFileSync(join(mount, "ballast"), Buffer.alloc(40 << 10));
    const file = open(1 << 20, 2);
    for (let at = 0; at < 600; at++) file.write(line(at));
    // The rest of a flush comes with the next one.
    file.write(`${"z".repeat(4000)}\n`);
    await expect.poll(() => problems.length).toBe(1);
    expect(problems[0]).toMatch(/ENOSPC/);
    expect(file.unreadBytes()).toBeGreaterThan(30_000);
    rmSync(join(mount, "ballast"));
    await expect
      .poll(() => file.unreadBytes())
      .toBe(0)
      .catch(() => {});
    const unwritten = file.end();
    expect(existsSync(path)).toBe(true);
    const written = readFileSync(path, "utf8");
    expect(written.length + unwritten).toBe(64_001);
    expect(written.slice(0, 60_000)).toBe(Array.from({ length: 600 }, (_, at) => line(at)).join(""));
  } finally {
    Bun.spawnSync(["umount", mount]);
  }
});
