import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Process } from "@picket/protocol/event";
import { expect, test } from "vitest";
import { AT_FDCWD, type Head } from "../processes.ts";
import type { Proc } from "./proc.ts";
import { ProcessTree, type TreeOptions } from "./tree.ts";

const TICK = 10_000_000n;
const head = (pid: number, bootNs = 1_000n * TICK + 5_000_000n): Head => ({ bootNs, cgroup: 1n, pid, tid: pid, uid: 0, comm: "comm" });

type Fake = {
  ppid: number;
  startTicks: number;
  exe?: string;
  argv?: string[];
  cwd?: string;
  kernelThread?: boolean;
  fds?: Record<string, string>;
};

function procOf(processes: Record<number, Fake>): Proc {
  return {
    pids: () => Object.keys(processes).map(Number),
    stat: (pid) => {
      const found = processes[pid];
      return (
        found && { ppid: found.ppid, comm: "comm", kernelThread: found.kernelThread ?? false, dead: false, startTicks: found.startTicks }
      );
    },
    uid: () => 0,
    argv: (pid) => processes[pid]?.argv,
    link: (pid, name) => {
      const found = processes[pid];
      return name === "exe" ? found?.exe : name === "cwd" ? found?.cwd : found?.fds?.[name];
    },
    threads: () => 1,
    cgroup: () => undefined,
  };
}

const init = { ppid: 0, startTicks: 0, exe: "/sbin/init", argv: ["init"], cwd: "/" };
const shell = { ppid: 1, startTicks: 500, exe: "/bin/bash", argv: ["-bash"], cwd: "/root" };

function treeOf(processes: Record<number, Fake>, options: Partial<TreeOptions> = {}) {
  const tree = new ProcessTree({
    proc: procOf(processes),
    user: (uid) => (uid === 0 ? "root" : undefined),
    container: () => undefined,
    onMove: () => {},
    namesInterpreter: true,
    ...options,
  });
  tree.seed();
  return tree;
}

test("an exec is described with its parent and all ancestors, nearest first", () => {
  const tree = treeOf({ 1: init, 10: shell });
  tree.forked(head(10), 20, false);
  tree.forked(head(20), 21, false);
  const process = tree.executed(head(21), { path: "/usr/bin/id", argv: ["id", "-u"], truncated: false });
  expect(process).toEqual({
    pid: 21,
    startTicks: 1_000,
    ppid: 20,
    uid: 0,
    user: "root",
    exe: "/usr/bin/id",
    argv: ["id", "-u"],
    cwd: "/root",
    parent: { pid: 20, startTicks: 1_000, exe: "/bin/bash", argv: ["-bash"] },
    ancestors: [
      { pid: 10, startTicks: 500, exe: "/bin/bash", argv: ["-bash"] },
      { pid: 1, startTicks: 0, exe: "/sbin/init", argv: ["init"] },
    ],
  });
  expect(Process.safeParse(process).success).toBe(true);
});

test("parents stay known after they are gone", () => {
  const tree = treeOf({ 1: init, 10: shell });
  tree.forked(head(10), 20, false);
  tree.forked(head(20), 21, false);
  tree.exited(head(20), false);
  expect(tree.executed(head(21), { path: "/bin/x", argv: ["x"], truncated: false }).parent?.pid).toBe(20);
});

test("CLONE_PARENT makes a sibling", () => {
  const tree = treeOf({ 1: init, 10: shell });
  tree.forked(head(10), 20, false);
  tree.forked(head(20), 21, true);
  expect(tree.describe(head(21)).ppid).toBe(10);
});

test("a pid that comes back is another process", () => {
  const tree = treeOf({ 1: init, 10: shell });
  tree.forked(head(10, 5_000_000n + 2_000n * TICK), 20, false);
  const first = tree.describe(head(20));
  tree.exited(head(20), false);
  tree.forked(head(1, 5_000_000n + 3_000n * TICK), 20, false);
  const second = tree.describe(head(20));
  expect([first.startTicks, second.startTicks]).toEqual([2_000, 3_000]);
  expect([first.ppid, second.ppid]).toEqual([10, 1]);
});

test("just after a tick /proc decides when a process started", () => {
  const tree = treeOf({ 1: init, 10: shell, 20: { ...shell, startTicks: 1_999 } });
  tree.forked(head(10, 2_000n * TICK + 1_000n), 20, false);
  expect(tree.describe(head(20)).startTicks).toBe(1_999);
});

test("a process nobody told of comes from /proc, or from the record when it is gone", () => {
  const processes: Record<number, Fake> = { 1: init };
  const tree = treeOf(processes);
  processes[10] = shell;
  expect(tree.describe(head(10))).toMatchObject({ exe: "/bin/bash", ppid: 1, parent: { pid: 1 } });
  const gone = tree.describe(head(99));
  expect(gone).toMatchObject({ pid: 99, exe: "comm", argv: [], argvTruncated: true });
  expect(Process.safeParse(gone).success).toBe(true);
});

test("exit tells how long it ran, and forgets; kernel threads are not reported", () => {
  const tree = treeOf({ 1: init, 2: { ...init, kernelThread: true } });
  tree.forked(head(1, 1_000n * TICK + 5_000_000n), 20, false);
  expect(tree.exited(head(20, 1_150n * TICK + 5_000_000n), false)?.durationMs).toBe(1_500);
  expect(tree.exited(head(20), true)).toBeUndefined();
  expect(tree.exited(head(2), false)).toBeUndefined();
});

test("without arguments from the kernel those of /proc are taken, else none and said so", () => {
  const processes: Record<number, Fake> = { 1: init, 10: { ...shell, argv: ["from", "proc"] } };
  const tree = treeOf(processes);
  expect(tree.executed(head(10), { path: "/bin/x", truncated: false }).argv).toEqual(["from", "proc"]);
  delete processes[10];
  expect(tree.executed(head(10), { path: "/bin/x", truncated: false })).toMatchObject({ argv: [], argvTruncated: true });
});

test("relative paths run from the working directory, which children inherit", () => {
  const tree = treeOf({ 1: init, 10: shell });
  tree.movedTo(head(10), "/opt/app", 0);
  tree.forked(head(10), 20, false);
  const process = tree.executed(head(20), { path: "./bin/../run", argv: ["./run"], truncated: false });
  expect(process).toMatchObject({ exe: "/opt/app/run", cwd: "/opt/app" });
});

test("a directory descriptor leads to its directory, in children too, until exec closes it", () => {
  const tree = treeOf({ 1: init, 10: shell });
  tree.openedDirectory(head(10), 3, "/etc/cron.d");
  tree.forked(head(10), 20, false);
  expect(tree.resolve(head(10), 3, "job")).toBe("/etc/cron.d/job");
  expect(tree.resolve(head(20), 3, "job")).toBe("/etc/cron.d/job");
  tree.executed(head(20), { path: "/bin/x", argv: ["x"], truncated: false });
  expect(tree.resolve(head(20), 3, "job")).toBeUndefined();
});

test("/dev/fd/N of fexecve is the file behind it, also one without a name", () => {
  const tree = treeOf({ 1: init, 10: { ...shell, exe: "/memfd:payload (deleted)" } });
  expect(tree.executed(head(10), { path: "/dev/fd/5", argv: ["x"], truncated: false }).exe).toBe("/memfd:payload (deleted)");
  tree.openedDirectory(head(10), 6, "/opt");
  expect(tree.executed({ ...head(10) }, { path: "/dev/fd/6/tool", argv: ["x"], truncated: false }).exe).toBe("/opt/tool");
});

test("a process that is not any more what it was is not taken for what it ran by descriptor: the number stays", () => {
  const exe = "/usr/bin/other";
  const ran = { path: "/dev/fd/5", argv: ["x"], truncated: false };
  const later = treeOf({ 1: init, 10: { ...shell, exe } });
  expect(later.executed({ ...head(10), comm: "5" }, ran).exe).toBe("/dev/fd/5");
  const processes: Record<number, Fake> = { 1: init, 10: { ...shell, exe } };
  const reborn = treeOf(processes);
  processes[10] = { ...shell, startTicks: 900, exe, fds: { "fd/5": "/etc/hosts" } };
  expect(reborn.executed(head(10), ran).exe).toBe("/dev/fd/5");
  expect(reborn.executed(head(10), { ...ran, interpreter: "/bin/sh" })).toMatchObject({
    exe: "/bin/sh",
    argv: ["/bin/sh", "/dev/fd/5"],
    argvTruncated: true,
  });
  const memory = treeOf({ 1: init, 10: { ...shell, startTicks: 1 } });
  memory.openedFile(head(10), 5, "/memfd:payload (deleted)");
  expect(memory.executed({ ...head(10), comm: "true" }, ran).exe).toBe("/dev/fd/5");
});

test("a script: its interpreter ran, with the arguments the kernel gave it", () => {
  const dir = mkdtempSync(join(tmpdir(), "pksens-tree-"));
  try {
    const script = join(dir, "job");
    writeFileSync(script, "#!/usr/bin/env bash -e\n");
    const expected = { exe: "/usr/bin/env", argv: ["/usr/bin/env", "bash -e", script, "one"] };
    const old = treeOf({ 1: init, 10: shell }, { namesInterpreter: false });
    expect(old.executed(head(10), { path: script, argv: ["job", "one"], truncated: false })).toMatchObject(expected);
    const tree = treeOf({ 1: init, 10: shell });
    expect(tree.executed(head(10), { path: script, interpreter: "/usr/bin/env", argv: ["job", "one"], truncated: false })).toMatchObject(
      expected,
    );
    rmSync(script);
    const gone = tree.executed(head(10), { path: script, interpreter: "/usr/bin/env", argv: ["job", "one"], truncated: false });
    expect(gone).toMatchObject({ exe: "/usr/bin/env", argv: ["/usr/bin/env", script, "one"], argvTruncated: true });
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("a chain of processes that start their successor and end has a bounded past", () => {
  const tree = treeOf({ 1: init });
  let pid = 1;
  for (let next = 100; next < 400; next++) {
    tree.forked(head(pid), next, false);
    if (pid !== 1) tree.exited(head(pid), false);
    pid = next;
  }
  expect(tree.executed(head(pid), { path: "/bin/x", argv: ["x"], truncated: false }).ancestors).toHaveLength(16);
  expect(tree.size).toBe(2);
});

test("a sweep drops what is gone", () => {
  const processes: Record<number, Fake> = { 1: init, 10: shell };
  const tree = treeOf(processes);
  delete processes[10];
  tree.sweep();
  expect(tree.size).toBe(1);
});

test("fields are bounded whatever a process calls itself", () => {
  const tree = treeOf({ 1: init });
  const process = tree.executed(head(1), {
    path: `/${"x".repeat(5_000)}`,
    argv: Array.from({ length: 40 }, () => "y".repeat(5_000)),
    truncated: false,
  });
  expect(Process.safeParse(process).success).toBe(true);
  expect(process.argvTruncated).toBe(true);
});

test("AT_FDCWD of an unknown directory is asked of /proc once more", () => {
  const tree = treeOf({ 1: init, 10: { ppid: 1, startTicks: 5, exe: "/bin/x", argv: ["x"] } });
  expect(tree.resolve(head(10), AT_FDCWD, "file")).toBeUndefined();
});
