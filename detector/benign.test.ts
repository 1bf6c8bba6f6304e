// A day of administration, recorded by an agent: what the shipped rules, models, chains and scores make of it. docs/detection.md, Quality, says how it was recorded.
import { readFileSync } from "node:fs";
import type { Alert } from "@picket/protocol/alert";
import { parseRecorded } from "@picket/protocol/recorded";
import { compileRules } from "@picket/rules/engine";
import { expect, test } from "vitest";
import { DetectorConfig } from "./config.ts";
import { modelEngines } from "./models.ts";
import { replay } from "./replay.ts";
import { ruleSet } from "./rule-set.ts";

const path = new URL("./testdata/benign.ndjson.zst", import.meta.url);
const lines = Bun.zstdDecompressSync(readFileSync(path)).toString().trim().split("\n");

/** What there is now. These only ever become smaller. */
const MOST = { critical: 0, high: 4, medium: 9 };

test("a day of administration makes no more incidents than are stated", { timeout: 120_000 }, async () => {
  const { rules, correlations } = ruleSet(true, { rules: [], correlations: [] });
  const engines = (await modelEngines(DetectorConfig.parse({}).models, () => {}))();
  const events = lines.map((line, at) => parseRecorded(line, at + 1));
  expect(events.length).toBeGreaterThan(10_000);
  const alerts = await Array.fromAsync(replay(events, { rules, correlations, matcher: compileRules(rules), engines }));
  const incidents = new Map<string, Alert["severity"][]>();
  for (const { incident, severity } of alerts) {
    if (incident !== undefined) incidents.set(incident, [...(incidents.get(incident) ?? []), severity]);
  }
  const worst = [...incidents.values()].map((of) => (["critical", "high", "medium"] as const).find((one) => of.includes(one)) ?? "low");
  for (const severity of ["critical", "high", "medium"] as const)
    expect(worst.filter((one) => one === severity).length, `incidents that are ${severity}`).toBeLessThanOrEqual(MOST[severity]);
});
