// Exceptions that are made and end in the middle of a log: whoever decides it, however often killed, hides the same and counts it once.
import type { HeldException } from "@picket/protocol/exception";
import { seeded } from "@picket/protocol/seeded";
import { expect, test } from "vitest";
import { createPipeline } from "./pipeline.ts";
import { T0, testRules } from "./testing/events.ts";
import { randomLog } from "./testing/random.ts";
import { TestSite } from "./testing/site.ts";

const rules = testRules("low low", "low meh", "medium medium", "informational cat");
const fresh = () => createPipeline({ site: "lab", ...rules, warmUpExecs: 20 });
const base = { where: {}, devices: [], expiresMs: T0 + 1e12, end: null };
const exceptions: HeldException[] = [
  { ...base, id: 1, rule: "local-a", where: { "Image|endswith": ["/bash", "/server"] }, from: 10, end: 40 },
  { ...base, id: 2, rule: rules.rules[2]!.id, devices: ["gw-0"], from: 0 },
  { ...base, id: 3, rule: "picket-chain-reverse-shell", where: { Image: ["/bin/bash"] }, from: 20 },
  { ...base, id: 4, rule: "picket-process-score", devices: ["gw-1"], from: 5 },
  { ...base, id: 5, rule: "engine:sigma", where: { Image: ["/bin/sh"], User: ["root"] }, devices: ["gw-0", "gw-1"], from: 0 },
  { ...base, id: 6, rule: "local-login", devices: ["gw-0", "gw-1"], from: 0, expiresMs: T0 + 3600_000 },
];
const siteWith = (log: TestSite["log"], with_ = exceptions) => {
  const site = new TestSite();
  site.log.push(...log);
  site.exceptions.push(...with_);
  return site;
};

async function whole(log: TestSite["log"]): Promise<{ outcome: unknown; steps: number; site: TestSite }> {
  const site = siteWith(log);
  let steps = 0;
  expect(await site.run(fresh(), () => ++steps > 0)).toBe(true);
  return { outcome: site.outcome(), steps, site };
}

test("the streams use every exception, and none of them hides all", async () => {
  const used = new Set<number>();
  for (const seed of [1, 2]) {
    const log = randomLog(seed, 150);
    const { site } = await whole(log);
    const bare = siteWith(log, []);
    await bare.run(fresh(), () => true);
    expect(site.alerts.size).toBeGreaterThan(10);
    expect(bare.alerts.size).toBeGreaterThan(site.alerts.size);
    for (const id of site.uses.keys()) used.add(id);
  }
  expect([...used].sort()).toEqual([1, 2, 3, 4, 5, 6]);
});

test("killed at any one step, alerts and uses are those of an uninterrupted run", async () => {
  const log = randomLog(1, 30);
  const { outcome, steps } = await whole(log);
  for (let at = 1; at <= steps; at++) {
    const site = siteWith(log);
    let left = 0;
    expect(await site.run(fresh(), () => ++left < at)).toBe(false);
    expect(await site.run(fresh(), () => true)).toBe(true);
    expect(site.outcome(), `killed at step ${at} of ${steps}`).toEqual(outcome);
  }
});

test.each([4, 5, 6, 7])("stream %i: killed again and again", async (seed) => {
  const log = randomLog(seed, 150);
  const { outcome } = await whole(log);
  const random = seeded(seed);
  const site = siteWith(log);
  let kills = 0;
  for (;;) {
    let left = 1 + Math.floor(random() * 150);
    if (await site.run(fresh(), () => --left > 0)) break;
    expect(++kills).toBeLessThan(1000);
  }
  expect(kills).toBeGreaterThan(2);
  expect(site.outcome(), `seed ${seed}, ${kills} kills`).toEqual(outcome);
});
