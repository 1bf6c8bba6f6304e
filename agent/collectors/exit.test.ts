import { expect, test } from "vitest";
import { exitCause, exitRecord } from "../bpf/layout.gen.ts";
import { onExit } from "./exit.ts";
import { contextOf, recordOf } from "./testing/records.ts";

const exitOf = (cause: number, value: number, maybeAlive = 0) =>
  recordOf(exitRecord.size, { pid: 9 }, (view) => {
    view.setUint32(exitRecord.cause, cause, true);
    view.setInt32(exitRecord.value, value, true);
    view.setUint32(exitRecord.maybeAlive, maybeAlive, true);
  });

const process = { pid: 9, startTicks: 1, ppid: 1, uid: 0, exe: "/bin/x", argv: [] };
const known = { exited: () => ({ process, durationMs: 12 }) };

test.each([
  { name: "exit_group(3)", record: exitOf(exitCause.group, 3), exitCode: 3, signal: 0 },
  { name: "the last thread's exit(0)", record: exitOf(exitCause.thread, 0), exitCode: 0, signal: 0 },
  { name: "SIGTERM", record: exitOf(exitCause.signal, 15), exitCode: 143, signal: 15 },
  { name: "nobody saw why", record: exitOf(exitCause.unknown, -1), exitCode: -1, signal: 0 },
])("$name", ({ record, exitCode, signal }) => {
  const context = contextOf(known);
  onExit(record, context);
  expect(context.drafts).toMatchObject([{ type: "process.exit", body: { exitCode, signal, durationMs: 12 } }]);
});

test("a first thread that leaves others behind ends no process", () => {
  const context = contextOf({ ...known, hasThreads: () => true });
  onExit(exitOf(exitCause.thread, 0, 1), context);
  expect(context.drafts).toEqual([]);
});

test("the thread that was the last ends it", () => {
  const context = contextOf({ ...known, hasThreads: () => false });
  onExit(exitOf(exitCause.thread, 4, 1), context);
  expect(context.drafts).toMatchObject([{ body: { exitCode: 4 } }]);
});

test("kernel threads are not reported", () => {
  const context = contextOf({ exited: () => undefined });
  onExit(exitOf(exitCause.group, 0), context);
  expect(context.drafts).toEqual([]);
});
