// Windows of an hour and of a day, over kills: nothing is counted twice, forgotten or told again.
import type { SensorEvent } from "@picket/protocol/event";
import { LOOKBACK_MS } from "@picket/protocol/feed";
import { seeded } from "@picket/protocol/seeded";
import { expect, test } from "vitest";
import { correlating, stream } from "../testing/correlations.ts";
import { BOOT, T0 } from "../testing/events.ts";
import { packed, type Stored, TestSite } from "../testing/site.ts";

const fresh = () =>
  correlating({
    hour: "{ type: event_count, rules: [a, b], group-by: [User, Computer], timespan: 1h, condition: { gte: 6 } }",
    day: "{ type: value_count, rules: [a, b, c], group-by: [User], timespan: 1d, condition: { field: Computer, gte: 3 } }",
    all: "{ type: temporal, rules: [a, b, c], group-by: [User], timespan: 1h }",
    seq: "{ type: temporal_ordered, rules: [hour, c], group-by: [User, Computer], timespan: 2h }",
    few: "{ type: event_count, rules: [c], group-by: [User], timespan: 1h, condition: { lt: 4 } }",
    short: "{ type: event_count, rules: [a], group-by: [User], timespan: 2m, condition: { gte: 3 } }",
  });

/** Three devices over many hours; what a device found itself overtakes what was before it. */
function randomLog(seed: number, batches: number): Stored[] {
  const random = seeded(seed);
  const pick = <X>(of: readonly X[]): X => of[Math.floor(random() * of.length)]!;
  const make = stream();
  const log: Stored[] = [];
  let nowMs = 0;
  while (log.length < batches) {
    nowMs += Math.floor(random() ** 3 * 1_200_000);
    const device = pick(["gw-1", "gw-2", "gw-3"]);
    const events = Array.from({ length: 1 + Math.floor(random() * 6) }, (_, at): SensorEvent => {
      const event = make.runs(pick(["a", "b", "c", "a"]), nowMs - 3000 + at * 100, pick(["root", "pi"]), device);
      return random() < 0.2 ? { ...event, hits: [{ rule: "a-id", version: "1" }] } : event;
    });
    const urgent = events.filter(({ hits }) => hits);
    const rest = events.filter(({ hits }) => !hits);
    if (urgent.length > 0 && rest.length > 0 && random() < 0.7) {
      log.push(packed(log.length + 1, T0 + nowMs, BOOT, urgent, rest));
      nowMs += Math.floor(random() * 500);
      log.push(packed(log.length + 1, T0 + nowMs, BOOT, rest));
    } else log.push(packed(log.length + 1, T0 + nowMs, BOOT, events));
  }
  return log;
}

async function uninterrupted(log: readonly Stored[]) {
  const site = new TestSite();
  site.log.push(...log);
  let steps = 0;
  expect(await site.run(fresh(), () => ++steps > 0)).toBe(true);
  return { site, steps };
}

test("the streams make what they are to test, far beyond what is read again", async () => {
  const log = randomLog(1, 120);
  const { site } = await uninterrupted(log);
  const rules = new Set([...site.alerts.values()].map(({ detection }) => detection.rule.id));
  expect([...rules]).toEqual(expect.arrayContaining(["day", "all", "seq", "few", "short"]));
  expect(log.at(-1)!.receivedMs - T0).toBeGreaterThan(10 * LOOKBACK_MS);
});

test("killed at any one step, alerts and memory are those of an uninterrupted run", async () => {
  const log = randomLog(2, 40);
  const whole = await uninterrupted(log);
  for (let at = 1; at <= whole.steps; at++) {
    const site = new TestSite();
    site.log.push(...log);
    let steps = 0;
    expect(await site.run(fresh(), () => ++steps < at)).toBe(false);
    expect(await site.run(fresh(), () => true)).toBe(true);
    expect(site.outcome(), `killed at step ${at} of ${whole.steps}`).toEqual(whole.site.outcome());
  }
});

test.each([3, 4, 5, 6, 7, 8])("stream %i: killed again and again", async (seed) => {
  const log = randomLog(seed, 150);
  const whole = await uninterrupted(log);
  const random = seeded(seed);
  const site = new TestSite();
  site.log.push(...log);
  let kills = 0;
  for (;;) {
    let left = 1 + Math.floor(random() * 80);
    if (await site.run(fresh(), () => --left > 0)) break;
    expect(++kills).toBeLessThan(1000);
  }
  expect(kills).toBeGreaterThan(2);
  expect(site.outcome(), `seed ${seed}, ${kills} kills`).toEqual(whole.site.outcome());
});
