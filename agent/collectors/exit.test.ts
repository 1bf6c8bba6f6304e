import { beforeEach, describe, expect, test } from "vitest";
import { exitCause, exitRecord } from "../bpf/layout.gen.ts";
import { exitCollector } from "./exit.ts";
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
  exitCollector().onExit(record, context);
  expect(context.drafts).toMatchObject([{ type: "process.exit", body: { exitCode, signal, durationMs: 12 } }]);
});

describe("where the kernel does not say which thread was the last", () => {
  let running: boolean;
  let context: ReturnType<typeof contextOf>;
  let exit: ReturnType<typeof exitCollector>;

  beforeEach(() => {
    running = false;
    context = contextOf({ ...known, isRunning: () => running });
    exit = exitCollector();
  });

  test("a first thread that leaves others behind ends no process", () => {
    running = true;
    exit.onExit(exitOf(exitCause.thread, 0, 1), context);
    for (let time = 0; time < 3; time++) exit.settle(context, true);
    expect(context.drafts).toEqual([]);
  });

  test("the thread that was the last ends it", () => {
    exit.onExit(exitOf(exitCause.thread, 4, 1), context);
    exit.settle(context, false);
    expect(context.drafts).toMatchObject([{ body: { exitCode: 4 } }]);
  });

  test("what is read late is told as it ended, not as its first thread did", () => {
    exit.onExit(exitOf(exitCause.thread, 0, 1), context);
    exit.onExit(exitOf(exitCause.signal, 9, 1), context);
    exit.settle(context, false);
    expect(context.drafts).toMatchObject([{ body: { signal: 9 } }]);
  });

  test("a last thread that is still seen when its record is read is looked at again, and what came meanwhile is read before it is told", () => {
    running = true;
    exit.onExit(exitOf(exitCause.thread, 0, 1), context);
    running = false;
    exit.settle(context, false);
    exit.settle(context, true);
    expect(context.drafts).toEqual([]);
    exit.onExit(exitOf(exitCause.signal, 15, 1), context);
    exit.settle(context, false);
    exit.settle(context, true);
    expect(context.drafts).toMatchObject([{ body: { signal: 15 } }]);
  });
});

test("kernel threads are not reported", () => {
  const context = contextOf({ exited: () => undefined });
  exitCollector().onExit(exitOf(exitCause.group, 0), context);
  expect(context.drafts).toEqual([]);
});
