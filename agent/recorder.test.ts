import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SensorEvent } from "@picket/protocol/event";
import { builtinRules } from "@picket/rules/builtin";
import type { Condition } from "@picket/rules/rule";
import { expect, onTestFinished, test } from "vitest";
import { EventBuffer } from "./buffer/buffer.ts";
import { leftBy } from "./buffer/testing/copy.ts";
import { AgentConfig } from "./config.ts";
import { thisHost } from "./host.ts";
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

test("a run that lost power is told of: a bound, for that run, among what overtakes", async () => {
  const folder = mkdtempSync(join(tmpdir(), "picket-recorder-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const [before, state] = [join(folder, "before"), join(folder, "state")];
  mkdirSync(before);
  mkdirSync(state);
  const place = (dir: string) => ({ path: join(dir, "buffer.db"), mirror: join(dir, "none") });
  {
    const epoch = { epoch: "aaaaaaaa", boot: thisHost().boot, device: "pi" };
    using cut = new EventBuffer({ path: place(before).path, maxEvents: 1000, maxBytes: 1e7, epoch });
    cut.append({ v: 1, device: "pi", epoch: "aaaaaaaa", seq: 0, timeMs: 0, type: "agent.stop", body: { why: "never on disk" } });
    leftBy(place(before), place(state), true);
  }
  const logged: string[] = [];
  const recorder = startRecorder(AgentConfig.parse({ state }), "pi", (_, text, of) => logged.push(`${text} ${JSON.stringify(of)}`));
  recorder.stop("test");
  const lease = recorder.buffer.lease({ events: 500, bytes: 1e6 });
  expect(lease?.events).toMatchObject([
    { type: "sensor.lost", body: { collector: "agent", where: "buffer", epoch: "aaaaaaaa", count: 256, atMost: true } },
  ]);
  expect(recorder.buffer.lostByEpoch()).toEqual([["aaaaaaaa", 0, 256]]);
  // A bound is no eviction of this run.
  expect(recorder.lost().buffer).toBe(0);
  expect(logged.join()).toContain('"lostAtMost":256');
  recorder.buffer[Symbol.dispose]();
});

test("a recorder that cannot start leaves its buffer to the next one", () => {
  const state = mkdtempSync(join(tmpdir(), "picket-recorder-"));
  onTestFinished(() => rmSync(state, { recursive: true }));
  const config = AgentConfig.parse({ state });
  mkdirSync(join(state, "mask.key"));
  expect(() => startRecorder(config, "pi", () => {})).toThrow("EISDIR");
  rmSync(join(state, "mask.key"), { recursive: true });
  const recorder = startRecorder(config, "pi", () => {});
  recorder.stop("test");
  recorder.buffer[Symbol.dispose]();
});

test("what is shed is told once, and after a restart for how long nobody saw", () => {
  const state = mkdtempSync(join(tmpdir(), "picket-recorder-"));
  onTestFinished(() => rmSync(state, { recursive: true }));
  const config = AgentConfig.parse({ state, eventsPerS: 100 });
  const told = (recorder: ReturnType<typeof startRecorder>) => {
    const events: SensorEvent[] = [];
    for (
      let lease = recorder.buffer.lease({ events: 500, bytes: 1e6 });
      lease;
      lease = recorder.buffer.lease({ events: 500, bytes: 1e6 })
    ) {
      events.push(...lease.events);
      recorder.buffer.ack(lease);
    }
    return events;
  };
  const first = startRecorder(config, "pi", () => {});
  first.sees(1000);
  for (let at = 0; at < 2000; at++) first.emit({ type: "log.line", timeMs: at, body: { source: "x", line: "y" } as never });
  first.saw(2000);
  first.stop("test");
  first.saw(9000);
  const events = told(first);
  const kept = events.filter(({ type }) => type === "log.line").length;
  expect(events.flatMap((event) => (event.type === "sensor.lost" ? [event.body.count] : []))).toEqual([2000 - kept]);
  expect(events.filter(({ type }) => type === "sensor.state")).toEqual([]);
  first.buffer[Symbol.dispose]();

  const second = startRecorder(config, "pi", () => {});
  second.sees(4300);
  second.stop("test");
  expect(
    told(second).flatMap((event) => (event.type === "sensor.state" ? [[event.body.collector, event.body.level, event.body.why]] : [])),
  ).toEqual([
    ["sensor", "degraded", expect.stringMatching(/^nothing was seen for 2\.3 s, .*Z to .*Z: the agent was stopped and started again$/)],
    ["sensor", "live", "sees again"],
  ]);
  second.buffer[Symbol.dispose]();
});
