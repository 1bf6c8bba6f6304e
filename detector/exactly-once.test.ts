import { seeded } from "@picket/protocol/seeded";
import { expect, test } from "vitest";
import { createPipeline } from "./pipeline.ts";
import { testRules } from "./testing/events.ts";
import { randomLog } from "./testing/random.ts";
import { TestSite } from "./testing/site.ts";

const rules = testRules("low low", "low meh", "medium medium", "informational cat");
const fresh = () => createPipeline({ site: "lab", ...rules, warmUpExecs: 20 });

async function uninterrupted(log: TestSite["log"]): Promise<{ outcome: ReturnType<TestSite["outcome"]>; steps: number }> {
  const site = new TestSite();
  site.log.push(...log);
  let steps = 0;
  expect(await site.run(fresh(), () => ++steps > 0)).toBe(true);
  return { outcome: site.outcome(), steps };
}

test("the streams make what they are to test", async () => {
  const site = new TestSite();
  site.log.push(...randomLog(1, 170));
  await site.run(fresh(), () => true);
  const ids = new Set([...site.alerts.values()].map(({ detection }) => detection.rule.id));
  expect([...ids]).toEqual(
    expect.arrayContaining([
      "picket-chain-reverse-shell",
      "picket-chain-burst",
      "picket-chain-credential-access",
      "picket-process-score",
      "local-a",
      "local-login",
    ]),
  );
  expect([...site.alerts.values()].some(({ detection }) => detection.count > 2)).toBe(true);
  expect(site.log.at(-1)!.receivedMs - site.log[0]!.receivedMs).toBeGreaterThan(60 * 60_000);
});

test.each([1, 2])("stream %i: killed at any one step, the alerts are those of an uninterrupted run", async (seed) => {
  const log = randomLog(seed, 50);
  const whole = await uninterrupted(log);
  for (let at = 1; at <= whole.steps; at++) {
    const site = new TestSite();
    site.log.push(...log);
    let steps = 0;
    expect(await site.run(fresh(), () => ++steps < at)).toBe(false);
    expect(await site.run(fresh(), () => true)).toBe(true);
    expect(site.outcome(), `seed ${seed}, killed at step ${at} of ${whole.steps}`).toEqual(whole.outcome);
  }
});

test.each([4, 5, 6, 7, 8, 9, 10, 11])("stream %i: killed again and again", async (seed) => {
  const log = randomLog(seed, 150);
  const whole = await uninterrupted(log);
  const random = seeded(seed);
  const site = new TestSite();
  site.log.push(...log);
  let kills = 0;
  for (;;) {
    let left = 1 + Math.floor(random() * 150);
    if (await site.run(fresh(), () => --left > 0)) break;
    kills++;
    expect(kills).toBeLessThan(1000);
  }
  expect(kills).toBeGreaterThan(2);
  expect(site.outcome(), `seed ${seed}, ${kills} kills`).toEqual(whole.outcome);
});
