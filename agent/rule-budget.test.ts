import type { SensorEvent } from "@picket/protocol/event";
import { expect, test } from "vitest";
import { type RuleState, withinBudget } from "./rule-budget.ts";

const event = { type: "process.exec" } as SensorEvent;
const hit = [{ rule: "r", version: "1" }];

/** Rules that take `costMs` for an event, on a clock of their own. */
function scene(costMs: number) {
  let nowMs = 1000;
  const states: RuleState["level"][] = [];
  const take = withinBudget(
    () => {
      nowMs += costMs;
      return hit;
    },
    () => nowMs,
    ({ level }) => states.push(level),
  );
  const wait = (ms: number) => {
    nowMs += ms;
  };
  const now = () => nowMs;
  return { take, states, wait, now };
}

test("rules that cost little judge every event", () => {
  const { take, states, wait } = scene(0.05);
  for (let at = 0; at < 100_000; at++) {
    expect(take(event)).toEqual(hit);
    wait(2);
  }
  expect(states).toEqual([]);
});

test("a storm of expensive command lines takes no more than its share, and the state says so once each way", () => {
  const { take, states, wait, now } = scene(25);
  const began = now();
  let judged = 0;
  while (now() - began < 60_000) {
    if (take(event).length > 0) judged++;
    wait(1);
  }
  expect(judged).toBeGreaterThan(0);
  // A second at once, then a tenth of the minute.
  expect(judged * 25).toBeLessThanOrEqual(1000 + 60_000 * 0.1 + 25);
  expect(states.length).toBeLessThan(30);
  expect(states.filter((level, at) => level === states[at - 1])).toEqual([]);
});

test("after the storm every event is judged again", () => {
  const { take, states, wait } = scene(200);
  while (take(event).length > 0);
  expect(states).toEqual(["degraded"]);
  wait(20_000);
  expect(take(event)).toEqual(hit);
  expect(states).toEqual(["degraded", "live"]);
});
