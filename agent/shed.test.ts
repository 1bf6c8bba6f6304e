import { expect, test } from "vitest";
import { createShedder, type Strain } from "./shed.ts";
import { createStamp } from "./stamp.ts";

const stamp = createStamp("pi", "aaaaaaaa");
const process = (pid: number) => ({ pid, startTicks: 1, ppid: 0, uid: 0, exe: "/bin/sh", argv: ["sh"] });
const create = (pid: number) => stamp.event({ type: "file.create", timeMs: 1, body: { process: process(pid), file: { path: "/tmp/x" } } });
const connect = (pid: number) =>
  stamp.event({ type: "net.connect", timeMs: 1, body: { process: process(pid), net: { proto: "tcp", dstIp: "192.0.2.1", dstPort: 1 } } });
const exec = (pid: number) => stamp.event({ type: "process.exec", timeMs: 1, body: { process: process(pid) } });
const lost = () => stamp.event({ type: "sensor.lost", timeMs: 1, body: { collector: "exec", count: 1, where: "kernel" } });
const hits = [{ rule: "r", version: "1" }];

function rig(rates = { eventsPerS: 200, eventsPerProcessPerS: 10 }) {
  const at = { nowMs: 0, strain: 0 as Strain };
  const keeps = createShedder(
    rates,
    () => at.nowMs,
    () => at.strain,
  );
  const many = (event: Parameters<typeof keeps>[0], count: number) =>
    Array.from({ length: count }, () => keeps(event)).filter(Boolean).length;
  return { at, keeps, many };
}

test("a process that makes thousands of events leaves room for the others", () => {
  const { at, many } = rig();
  // Ten seconds' worth of its own allowance: half of it to files, the rest to connections.
  expect(many(create(1), 5000)).toBe(51);
  expect(many(connect(1), 5000)).toBe(49);
  expect(many(create(2), 40)).toBe(40);
  at.nowMs = 1000;
  expect(many(connect(1), 5000)).toBe(10);
  at.nowMs = 60_000;
  expect(many(create(1), 40)).toBe(40);
});

test("what it does after that still comes when a rule knows it; program starts are taken from everybody's allowance only", () => {
  const { keeps, many } = rig();
  many(connect(1), 5000);
  expect(keeps(connect(1))).toBe(false);
  expect(keeps({ ...connect(1), hits })).toBe(true);
  expect(many(exec(1), 500)).toBe(500);
});

test("what one process was refused is taken from nobody's allowance", () => {
  const { many } = rig();
  many(create(1), 100_000);
  expect(many(exec(2), 5000)).toBe(2000 - 51);
});

test("a process is forgotten only after a thousand others", () => {
  const { many } = rig({ eventsPerS: 1_000_000, eventsPerProcessPerS: 10 });
  many(connect(1), 100);
  for (let pid = 2; pid < 1000; pid++) many(connect(pid), 1);
  expect(many(connect(1), 10)).toBe(0);
  for (let pid = 2000; pid < 3100; pid++) many(connect(pid), 1);
  expect(many(connect(1), 10)).toBe(10);
});

test("under strain the least valuable go, then all but hits and the agent's own word", () => {
  const { at, keeps } = rig();
  const kept = () => [create(1), connect(1), exec(1), { ...create(1), hits }, lost()].map((event) => keeps(event));
  expect(kept()).toEqual([true, true, true, true, true]);
  at.strain = 1;
  expect(kept()).toEqual([false, true, true, true, true]);
  at.strain = 2;
  expect(kept()).toEqual([false, false, false, true, true]);
});

test("what is allowed may change while it runs: less at once, more as it is earned", () => {
  const rates = { eventsPerS: 200, eventsPerProcessPerS: 100_000 };
  const { at, many } = rig(rates);
  rates.eventsPerS = 100;
  expect(many(connect(1), 5000)).toBe(1000);
  rates.eventsPerS = 400;
  at.nowMs = 1000;
  expect(many(connect(1), 5000)).toBe(400);
});
