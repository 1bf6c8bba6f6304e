// What a device that lies can send: nothing of it throws, and memory stays bounded.
import { Detection } from "@picket/protocol/alert";
import { SensorEvent as Schema, type SensorEvent } from "@picket/protocol/event";
import { expect, test } from "vitest";
import { MAX_PROCESSES, Processes } from "./correlate/processes.ts";
import { BOOT, child, connects, exec, exit, feed, pipelineOf, proc, testRules } from "./testing/events.ts";

const rules = testRules("medium medium");

test("every golden event passes through", async () => {
  const pipeline = pipelineOf(rules);
  for await (const file of new Bun.Glob("*.json").scan({ cwd: new URL("../protocol/testdata", import.meta.url).pathname })) {
    const parsed = Schema.safeParse(await Bun.file(new URL(`../protocol/testdata/${file}`, import.meta.url)).json());
    if (parsed.success) feed(pipeline, [{ ...parsed.data, hits: [{ rule: "any", version: "1" }] }]);
  }
  const { alerts } = pipeline.take();
  expect(alerts.length).toBeGreaterThan(10);
  for (const { detection } of alerts) Detection.parse(detection);
});

test("a process that is its own parent, and two that are each other's", () => {
  const own = proc(10, "/bin/sh", { ppid: 10, parent: { pid: 10, startTicks: 100, exe: "/bin/sh" } });
  const a = proc(20, "/bin/sh", { ppid: 21, parent: { pid: 21, startTicks: 210, exe: "/bin/sh" } });
  const b = proc(21, "/bin/sh", { ppid: 20, parent: { pid: 20, startTicks: 200, exe: "/bin/sh" } });
  const pipeline = pipelineOf(rules);
  feed(pipeline, [exec(0, own), exec(1, a), exec(2, b), connects(3, a), exec(4, b), exec(5, a)]);
  for (const { detection } of pipeline.take().alerts) expect(Detection.parse(detection).tree.length).toBeLessThan(30);
});

test.each([
  ["zero", 0],
  ["the end of integers", Number.MAX_SAFE_INTEGER],
])("an absurd time, %s, harms only itself", (_, timeMs) => {
  const bash = proc(412, "/bin/bash");
  const absurd = { ...exec(0, child(999, "/usr/bin/medium", bash)), timeMs } as SensorEvent;
  const pipeline = pipelineOf(rules);
  feed(pipeline, [absurd, exec(0, bash), connects(1, bash), exec(2, child(413, "/bin/sh", bash))], { receivedMs: 1_767_225_600_000 });
  const alerts = pipeline.take().alerts.map(({ detection }) => Detection.parse(detection));
  expect(alerts.map(({ rule }) => rule.id)).toContain("00000000-0000-4000-8000-000000000000");
});

test("a flood of processes, ancestors and exits stays within its bound", () => {
  const processes = new Processes(BOOT);
  let parent = proc(1, "/sbin/init");
  for (let at = 2; at < 3 * MAX_PROCESSES; at++) {
    const process = child(at, "/bin/x", parent, { ancestors: [{ pid: at + 1_000_000, startTicks: 1, exe: "/bin/y" }] });
    const node = processes.note(process, { id: String(at), boot: BOOT, receivedMs: 0, silent: false }, true);
    if (at % 3 === 0) processes.exited(node);
    parent = process;
  }
  expect(processes.size).toBe(MAX_PROCESSES);
});

test("of the largest events a device can forge little is remembered", () => {
  const argv = Array.from({ length: 32 }, () => "a".repeat(4096));
  const above = { pid: 1, startTicks: 1, exe: "/bin/x", argv };
  const processes = new Processes(BOOT);
  const process = proc(10, "/bin/x", {
    argv,
    parent: above,
    ancestors: Array.from({ length: 16 }, (_, at) => ({ ...above, pid: 2 + at })),
  });
  const node = processes.note(process, { id: "e", boot: BOOT, receivedMs: 0, silent: false }, true);
  let bytes = JSON.stringify(node.process).length;
  for (let one: typeof node | undefined = node; one; one = one.parent) bytes += one.argv.join().length;
  expect(JSON.stringify(process).length).toBeGreaterThan(2_000_000);
  expect(bytes).toBeLessThan(200_000);
  expect(node.argv.slice(0, 2)).toEqual(argv.slice(0, 2));
});

test("sixty-four invented hits on each of five hundred events fit into one commit", () => {
  const pipeline = pipelineOf(rules);
  const events = Array.from({ length: 500 }, (_, at) =>
    exec(at, proc(10 + at, "/bin/x"), { hits: Array.from({ length: 64 }, (_, hit) => ({ rule: `r${at * 64 + hit}`, version: "1" })) }),
  );
  feed(pipeline, events);
  expect(pipeline.pending.alerts).toBeLessThan(300);
  expect(pipeline.pending.seen).toBeLessThan(1500);
});

test("a pid without start ticks is a new process after its exit", () => {
  const bash = proc(412, "/bin/bash", { startTicks: 0 });
  const next = proc(412, "/usr/bin/vim", { startTicks: 0 });
  const pipeline = pipelineOf();
  feed(pipeline, [exec(0, bash), connects(1, bash), exit(2, bash), exec(3, next), exec(4, child(500, "/bin/sh", next))]);
  expect(pipeline.take().alerts).toEqual([]);
});
