import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startMachine } from "./machine.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "picket-machine-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const { signal } = new AbortController();
/** A program that talks like a console, in place of a machine; each start adds a line to `starts`. */
const talks = (script: string) => ["bash", "-c", `echo start >> ${dir}/starts; starts=$(wc -l < ${dir}/starts); ${script}`];
const starts = () => readFileSync(join(dir, "starts"), "utf8").split("\n").length - 1;

test("it is there once it has said so, and all it said can be read", async () => {
  const { machine } = await startMachine(talks("echo '@@picket deed 1'; echo '@@picket ready'; exec sleep 60"), "ready", signal);
  expect([machine.reports("deed"), machine.log]).toEqual([["1"], ["@@picket deed 1", "@@picket ready"]]);
  await machine.off();
});

test("one that ends before is an error with what it said", async () => {
  await expect(startMachine(talks("echo panic; exit 1"), "ready", signal)).rejects.toThrow(/ended before it said "ready"\npanic/);
  expect(starts()).toBe(1);
});

test("one whose clock stalls is started again, and not without end", async () => {
  const stall = 'echo "rcu: rcu_preempt kthread timer wakeup didn\'t happen for 5252 jiffies!"; exec sleep 60';
  const { machine } = await startMachine(
    talks(`[ $starts -lt 3 ] || { echo '@@picket ready'; exec sleep 60; }; ${stall}`),
    "ready",
    signal,
  );
  await machine.off();
  expect(starts()).toBe(3);
  writeFileSync(join(dir, "starts"), "");
  await expect(startMachine(talks(stall), "ready", signal)).rejects.toThrow("this host is too busy");
  expect(starts()).toBe(5);
});

test("an aborted one is off", async () => {
  const stop = new AbortController();
  const starting = startMachine(talks("exec sleep 60"), "ready", stop.signal);
  stop.abort();
  await expect(starting).rejects.toThrow('ended before it said "ready"');
});
