import { capabilityOf } from "@picket/protocol/collectors";
import { expect, test } from "vitest";
import { Unsupported } from "../unsupported.ts";
import { openLibbpf } from "./libbpf.ts";
import { listPrograms } from "./load.ts";
import { objectBytes, ways } from "./object.ts";
import { collectorNames, fields, healthOf, programs } from "./programs.ts";

const missing = (() => {
  try {
    openLibbpf();
    return "";
  } catch (error) {
    if (error instanceof Unsupported) return ` (skipped: ${error.message})`;
    throw error;
  }
})();

test.skipIf(missing !== "").each(ways)(`every program of the object (%s) belongs to a collector${missing}`, (way) => {
  const names = listPrograms(objectBytes(way)).map(({ name }) => name);
  expect(names.toSorted()).toEqual(Object.keys(programs).toSorted());
  for (const name of Object.keys(fields)) expect(names).toContain(name);
});

const noSyscalls = (names: readonly string[]) => new Map(names.map((name) => [name, `this kernel has no tracepoint syscalls/sys_${name}`]));

test("all programs run: live", () => {
  expect(healthOf("exec", new Map())).toEqual({ level: "live", why: "programs and their arguments (attached)" });
});

test("no arguments from the kernel: exec is degraded, and says what to do", () => {
  const health = healthOf("exec", noSyscalls(["enter_execve", "enter_execveat"]));
  expect(health.level).toBe("degraded");
  expect(health.why).toContain("/proc");
  expect(health.todo).toContain("Raspberry Pi OS");
});

test("without its main program a collector is off", () => {
  expect(healthOf("file", noSyscalls(["enter_openat"])).level).toBe("off");
});

test("a program that only makes things cheaper is not missed", () => {
  expect(healthOf("exec", new Map([["prepare_exec", "this kernel has no tracepoint sched/sched_prepare_exec"]])).level).toBe("live");
});

test("what the protocol says of capabilities is what collectors are called", () => {
  const named = Object.values(capabilityOf).filter((name) => name.startsWith("sensor."));
  expect(new Set(named.map((name) => name.replace("sensor.", "")))).toEqual(
    new Set(collectorNames.filter((name) => name !== "process-tree")),
  );
});

test("what one of two programs does on another kernel is not missed", () => {
  const absent = (name: string) => [name, `this kernel has no tracepoint io_uring/${name}`] as const;
  expect(healthOf("io_uring", new Map([absent("uring_submit_sqe")])).level).toBe("live");
  expect(healthOf("io_uring", new Map([absent("uring_submit_req"), absent("uring_submit_sqe")]))).toMatchObject({
    level: "degraded",
    why: expect.stringContaining("asked for"),
  });
});
