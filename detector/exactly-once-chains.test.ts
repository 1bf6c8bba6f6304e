// What exactly-once.test.ts asks, of the chains that look back further than is read again.
import { seeded } from "@picket/protocol/seeded";
import { expect, test } from "vitest";
import { createPipeline } from "./pipeline.ts";
import { noRules } from "./testing/events.ts";
import { intrusionLog } from "./testing/intrusions.ts";
import { TestSite } from "./testing/site.ts";

const fresh = () => createPipeline({ site: "lab", ...noRules, warmUpExecs: 5 });

async function uninterrupted(log: TestSite["log"]): Promise<TestSite> {
  const site = new TestSite();
  site.log.push(...log);
  expect(await site.run(fresh(), () => true)).toBe(true);
  return site;
}

test("the logs hold what they are to test, over hours", async () => {
  const log = intrusionLog(1, 40);
  const site = await uninterrupted(log);
  const ids = new Set([...site.alerts.values()].map(({ detection }) => detection.rule.id));
  const chains =
    "dropper miner brute-force persistence-beacon exfiltration escalation-persistence fileless iot-botnet ransomware log-wiping";
  expect([...ids]).toEqual(expect.arrayContaining(chains.split(" ").map((name) => `picket-chain-${name}`)));
  expect(log.at(-1)!.receivedMs - log[0]!.receivedMs).toBeGreaterThan(60 * 60_000);
  expect([...site.seen.values()].filter(({ kind }) => kind === "mark").length).toBeGreaterThan(10);
});

test.each([2, 3, 4])("log %i: killed again and again, the alerts are those of an uninterrupted run", async (seed) => {
  const log = intrusionLog(seed, 14);
  const whole = await uninterrupted(log);
  const random = seeded(seed);
  const site = new TestSite();
  site.log.push(...log);
  let kills = 0;
  for (;;) {
    let left = 1 + Math.floor(random() * 60);
    if (await site.run(fresh(), () => --left > 0)) break;
    kills++;
    expect(kills).toBeLessThan(1000);
  }
  expect(kills).toBeGreaterThan(5);
  expect(site.outcome(), `seed ${seed}, ${kills} kills`).toEqual(whole.outcome());
});
