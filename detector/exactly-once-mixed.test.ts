// What exactly-once.test.ts asks, of all that remembers something together: all shipped rules, correlations over an hour, chains with marks, site-wide rarity, incidents,
// exceptions that change, rules that become noisy, and a list of indicators.
import { seeded } from "@picket/protocol/seeded";
import { expect, test } from "vitest";
import { createPipeline } from "./pipeline.ts";
import { mixedEngine, mixedExceptions, mixedLog, mixedRules } from "./testing/mixed.ts";
import { TestSite } from "./testing/site.ts";

const rules = mixedRules();
const engine = mixedEngine();
const fresh = () => createPipeline({ site: "lab", ...rules, warmUpExecs: 20 });

function siteOf(log: TestSite["log"]): TestSite {
  const site = new TestSite();
  site.log.push(...log);
  site.exceptions.push(...mixedExceptions(log.length));
  return site;
}

test.each([1, 2, 5])(
  "log %i: killed again and again, alerts, incidents, counts and revisions are those of an undisturbed run",
  async (seed) => {
    const log = mixedLog(seed);
    const whole = siteOf(log);
    let steps = 0;
    expect(await whole.run(fresh(), () => ++steps > 0, [engine])).toBe(true);
    const made = [...whole.alerts.values()].map(({ detection }) => detection);
    const ids = new Set(made.map(({ rule }) => rule.id));
    // That it holds what it is to test.
    for (const id of ["noisy-id", "picket-noisy-rule", "hour", "few", "picket-process-score"]) expect([...ids]).toContain(id);
    expect([...ids].filter((id) => id.startsWith("picket-chain-")).length).toBeGreaterThan(4);
    expect(made.some(({ rule }) => rule.engine === "ioc")).toBe(true);
    expect(made.some(({ revision }) => revision > 2)).toBe(true);
    expect(whole.incidents.size).toBeGreaterThan(3);
    expect(whole.uses.size).toBeGreaterThan(3);
    expect(whole.muted.size).toBeGreaterThan(0);
    const random = seeded(seed);
    const site = siteOf(log);
    let kills = 0;
    for (;;) {
      let left = 1 + Math.floor(random() * (steps / 3));
      if (await site.run(fresh(), () => --left > 0, [engine])) break;
      expect(++kills).toBeLessThan(1000);
    }
    expect(kills).toBeGreaterThan(5);
    expect(site.outcome(), `seed ${seed}, ${kills} kills`).toEqual(whole.outcome());
  },
);
