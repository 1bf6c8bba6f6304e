import { expect, test } from "vitest";
import type { Engine } from "../finding.ts";
import { replay } from "../replay.ts";
import { findsExe } from "../testing/engine.ts";
import { BOOT, exec, pipelineOf, proc, T0, testRules } from "../testing/events.ts";
import { packed, TestSite } from "../testing/site.ts";
import { judgeAll } from "./together.ts";

const odd = proc(412, "/opt/odd");
const rules = testRules("medium medium");
const recorded = (count: number, program = odd) => Array.from({ length: count }, (_, at) => ({ id: `e${at}`, event: exec(at, program) }));

test("what an engine finds becomes an alert of that engine, with its sentence", async () => {
  const alerts = await Array.fromAsync(replay(recorded(3), { ...rules, engines: [findsExe("/opt/odd")] }));
  expect(alerts.map(({ rule, count, score, summary, attack }) => ({ rule, count, score, summary, attack }))).toEqual([
    {
      rule: { id: "test-model", title: "A model finds it odd", engine: "onnx" },
      count: 3,
      score: 61,
      summary: "odd: /opt/odd",
      attack: { tactics: ["execution"], techniques: ["T1059"] },
    },
  ]);
});

test("Sigma and engines judge the same event side by side", async () => {
  const both = proc(413, "/usr/bin/medium");
  const alerts = await Array.fromAsync(replay(recorded(1, both), { ...rules, engines: [findsExe(both.exe), findsExe(both.exe)] }));
  expect(alerts.map(({ rule, count }) => [rule.engine, count]).sort()).toEqual([
    ["correlation", 1],
    ["onnx", 1],
    ["sigma", 1],
  ]);
});

test("an engine that fails is told of, and the others and Sigma go on", async () => {
  const problems: string[] = [];
  const throws: Engine = {
    name: "throws",
    judge() {
      throw new Error("now");
    },
  };
  const rejects: Engine = { name: "rejects", judge: () => Promise.reject(new Error("later")) };
  const batch = { events: [exec(0, odd)], arrivals: [{ id: "a", boot: BOOT, receivedMs: T0, silent: false }] };
  const findings = await judgeAll([throws, rejects, findsExe("/opt/odd")], batch, (name, error) => problems.push(`${name}: ${error}`));
  expect(problems.sort()).toEqual(["rejects: Error: later", "throws: Error: now"]);
  expect([...findings!.keys()]).toEqual([0]);
});

test("engines are given each batch of a session once, and killing the detector at any step makes no alert twice", async () => {
  const whole = new TestSite();
  const log = [1, 2, 3, 4].map((offset) =>
    packed(offset, T0 + offset * 1000, BOOT, [
      exec(offset, odd, { seq: offset * 2 }),
      exec(offset, proc(1, "/bin/true"), { seq: offset * 2 + 1 }),
    ]),
  );
  whole.log.push(...log);
  const engine = findsExe("/opt/odd");
  expect(await whole.run(pipelineOf(rules), () => true, [engine])).toBe(true);
  expect(engine.asked).toEqual([2, 2, 2, 2]);
  const expected = [...whole.alerts.values()].map(({ detection }) => [detection.id, detection.count]);
  expect(expected).toHaveLength(1);
  expect(expected[0]![1]).toBe(4);
  for (let fuse = 1; fuse < 20; fuse++) {
    const site = new TestSite();
    site.log.push(...log);
    let left = fuse;
    await site.run(pipelineOf(rules), () => left-- > 0, [findsExe("/opt/odd", fuse % 5)]);
    expect(await site.run(pipelineOf(rules), () => true, [findsExe("/opt/odd")])).toBe(true);
    expect([...site.alerts.values()].map(({ detection }) => [detection.id, detection.count])).toEqual(expected);
  }
});
