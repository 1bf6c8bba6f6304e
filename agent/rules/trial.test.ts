import { eventTypes, SensorEvent } from "@picket/protocol/event";
import { builtinRules } from "@picket/rules/builtin";
import type { Rule } from "@picket/rules/rule";
import { expect, test } from "vitest";
import { MAX_GROWTH_BYTES, MAX_TRIAL_MS, type Meter, ordinary, ownMeter, tryRules } from "./trial.ts";

const shipped = builtinRules();
const free: Meter = { cpuMs: () => 0, rssBytes: () => 0 };
const always: Rule = {
  ...shipped[0]!,
  ...{ id: "always", title: "Always" },
  detection: { events: ["process.exec"], condition: { op: "constant", value: true } },
};

test.each(eventTypes)("the ordinary %s is one that a device could send", (type) => {
  expect(SensorEvent.safeParse(ordinary(type, 4)).success).toBe(true);
});

test("the shipped rules stand the trial on this machine, and say nothing of ordinary programs", () => {
  // Not its memory: other tests share it.
  const matcher = tryRules(shipped, [], { ...ownMeter, rssBytes: () => 0 });
  expect(matcher.match(ordinary("process.exec", 1)).map(({ title }) => title)).toEqual([]);
});

test("samples must be seen as their author says", () => {
  const event = ordinary("process.exec", 0);
  expect(tryRules([always], [{ rule: "always", hit: true, event }], free).match(event)).toEqual([always]);
  expect(() => tryRules([always], [{ rule: "always", hit: false, event }], free)).toThrow(
    /rule always matches a sample that says otherwise/,
  );
  const open = ordinary("file.open", 0);
  expect(() => tryRules([always], [{ rule: "always", hit: true, event: open }], free)).toThrow(/does not match a sample/);
});

test.each<[string, Partial<Meter>, RegExp]>([
  ["cost an event too much", { cpuMs: rising(100) }, /ms of CPU an event; 1 ms is allowed/],
  ["make the trial too long", { cpuMs: rising(MAX_TRIAL_MS + 1) }, /the trial took more than 20 s/],
  ["take too much memory", { rssBytes: rising(MAX_GROWTH_BYTES + 1) }, /MiB of memory; 32 MiB are allowed/],
])("rules that %s are refused", (_, meter, why) => {
  expect(() => tryRules([always], [], { ...free, ...meter })).toThrow(why);
});

/** So much more at each look. */
function rising(step: number): () => number {
  let at = 0;
  return () => {
    at += step;
    return at;
  };
}
