import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SensorEvent } from "@picket/protocol/event";
import { builtinRules } from "@picket/rules/builtin";
import type { Condition } from "@picket/rules/rule";
import { expect, onTestFinished, test } from "vitest";
import { AgentConfig } from "./config.ts";
import { startRecorder } from "./recorder.ts";

/** What the shipped rules look for, all in one text: nothing costs them more. */
function everyWord(of: Condition): string[] {
  if (of.op === "field")
    return of.tests.flatMap((one) => ("text" in one ? [one.text] : one.kind === "regex" ? (one.literals ?? []).flat() : []));
  return of.op === "and" || of.op === "or" ? of.of.flatMap(everyWord) : [];
}

test("command lines made to be expensive use the rules' budget up: the device says so, and goes on recording", async () => {
  const state = mkdtempSync(join(tmpdir(), "picket-recorder-"));
  onTestFinished(() => rmSync(state, { recursive: true }));
  const recorder = startRecorder(AgentConfig.parse({ state }), "pi", () => {});
  const words = [...new Set(builtinRules().flatMap((rule) => everyWord(rule.detection.condition)))].join(" ");
  const argv = ["sh", words.slice(0, 4000), words.slice(4000, 8000)];
  const process = { pid: 9, startTicks: 9, ppid: 1, uid: 1000, exe: "/usr/bin/x", argv };
  for (let at = 0; at < 2000; at++) recorder.emit({ type: "process.exec", timeMs: at, body: { process } });
  await Promise.resolve();
  recorder.stop("test");

  const events: SensorEvent[] = [];
  for (let lease = recorder.buffer.lease({ events: 500, bytes: 1e6 }); lease; lease = recorder.buffer.lease({ events: 500, bytes: 1e6 }))
    events.push(...lease.events);
  recorder.buffer[Symbol.dispose]();
  const execs = events.filter(({ type }) => type === "process.exec");
  const judged = execs.filter(({ hits }) => hits && hits.length > 0).length;
  expect(judged).toBeGreaterThan(0);
  expect(judged).toBeLessThan(execs.length);
  expect(execs.length).toBe(2000);
  const states = events.flatMap((event) => (event.type === "sensor.state" ? [`${event.body.collector} ${event.body.level}`] : []));
  expect(states).toContain("rules degraded");
});
