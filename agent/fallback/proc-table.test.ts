import { expect, test } from "vitest";
import { type Proc, ProcTable } from "./proc-table.ts";

type One = { ppid?: number; exe?: string; argv?: string[]; comm?: string; startTicks?: number; kernelThread?: boolean };

/** A /proc that the test changes between two looks. */
function table(start: Record<number, One>) {
  const running = new Map(Object.entries(start).map(([pid, one]) => [Number(pid), one]));
  const proc: Proc = {
    pids: () => [...running.keys()],
    stat: (pid) => {
      const one = running.get(pid);
      return (
        one && {
          ppid: one.ppid ?? 1,
          comm: one.comm ?? "x",
          kernelThread: one.kernelThread ?? false,
          dead: false,
          startTicks: one.startTicks ?? pid,
        }
      );
    },
    uid: () => 0,
    argv: (pid) => running.get(pid)?.argv,
    link: (pid, name) => (name === "exe" ? running.get(pid)?.exe : undefined),
    threads: () => 1,
  };
  return { running, look: new ProcTable(proc) };
}

const sh = { exe: "/bin/sh", argv: ["sh"] };

test("what runs already is no news; what comes and goes is", () => {
  const { running, look } = table({ 1: sh });
  expect(look.compare()).toEqual([]);
  running.set(20, { exe: "/bin/cat", argv: ["cat"] });
  expect(look.compare()).toEqual([{ kind: "exec", pid: 20, startTicks: 20, sinceStart: true }]);
  running.delete(20);
  expect(look.compare()).toEqual([{ kind: "exit", pid: 20 }]);
});

test("a copy of its parent has run no program, until it does", () => {
  const { running, look } = table({ 10: sh });
  running.set(20, { ...sh, ppid: 10 });
  expect(look.compare()).toEqual([{ kind: "fork", pid: 20, startTicks: 20 }]);
  running.set(20, { ppid: 10, exe: "/bin/ls", argv: ["ls"] });
  expect(look.compare()).toEqual([{ kind: "exec", pid: 20, startTicks: 20, sinceStart: false }]);
  running.set(30, { ppid: 10, exe: "/bin/sh", argv: ["sh", "-c", "id"] });
  expect(look.compare()).toEqual([{ kind: "exec", pid: 30, startTicks: 30, sinceStart: true }]);
});

test("an old process that becomes another is seen within eight looks", () => {
  const { running, look } = table({ 13: sh });
  for (let index = 0; index < 20; index++) expect(look.compare()).toEqual([]);
  running.set(13, { exe: "/bin/nc", argv: ["nc"] });
  const found = Array.from({ length: 8 }, () => look.compare()).flat();
  expect(found).toEqual([{ kind: "exec", pid: 13, startTicks: 13, sinceStart: false }]);
});

test("a number that came back is an end and a start", () => {
  const { running, look } = table({});
  running.set(20, { exe: "/bin/a", argv: ["a"], startTicks: 5 });
  look.compare();
  running.set(20, { exe: "/bin/a", argv: ["a"], startTicks: 9 });
  expect(look.compare()).toEqual([
    { kind: "exit", pid: 20 },
    { kind: "exec", pid: 20, startTicks: 9, sinceStart: true },
  ]);
});

test("a program that was replaced on disk, one that ends, one that renames itself, and a kernel thread are no new programs", () => {
  const { running, look } = table({ 10: sh, 20: { exe: "/bin/d", argv: ["d"] } });
  running.set(20, { exe: "/bin/d (deleted)", argv: ["d"] });
  running.set(10, { ...sh, argv: ["sh: working"] });
  running.set(30, { kernelThread: true });
  expect(look.compare()).toEqual([{ kind: "fork", pid: 30, startTicks: 30 }]);
  running.set(20, {});
  expect(look.compare()).toEqual([]);
});

test("where links of others may not be read, the short name stands for the path", () => {
  const { running, look } = table({ 10: { argv: ["sh"], comm: "sh" } });
  running.set(20, { ppid: 10, argv: ["curl", "x"], comm: "curl" });
  expect(look.compare()).toEqual([{ kind: "exec", pid: 20, startTicks: 20, sinceStart: true }]);
});
