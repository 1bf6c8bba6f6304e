import { expect, test } from "vitest";
import { hostProc, parseStat } from "./proc.ts";

const tail = "S 12 345 345 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 987654 1000 10 18446744073709551615";

test.each([
  ["plain", `42 (sh) ${tail}`, "sh"],
  ["a name with spaces and parentheses", `42 (a) b (c) ${tail}`, "a) b (c"],
])("stat: %s", (_, text, comm) => {
  expect(parseStat(text)).toEqual({ ppid: 12, comm, kernelThread: false, dead: false, startTicks: 987654 });
});

test("a kernel thread is known by its flag", () => {
  expect(parseStat(`2 (kthreadd) ${tail.replace("4194560", "2129984")}`)?.kernelThread).toBe(true);
});

test.each([undefined, "", "42", "42 (sh"])("stat that is no stat: %s", (text) => {
  expect(parseStat(text)).toBeUndefined();
});

test("this process", () => {
  expect(hostProc.pids()).toContain(process.pid);
  expect(hostProc.stat(process.pid)?.ppid).toBe(process.ppid);
  expect(hostProc.link(process.pid, "cwd")).toBe(process.cwd());
  expect(hostProc.uid(process.pid)).toBe(process.getuid?.());
});

test("a process that is not there", () => {
  expect(hostProc.stat(0x7fffffff)).toBeUndefined();
  expect(hostProc.argv(0x7fffffff)).toBeUndefined();
  expect(hostProc.threads(0x7fffffff)).toBe(0);
});
