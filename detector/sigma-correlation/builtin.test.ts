// The correlations Picket ships, on their samples: lines of one case belong together.
import { parseRecorded } from "@picket/protocol/recorded";
import { builtinCorrelations } from "@picket/rules/correlation/builtin";
import { compileRules } from "@picket/rules/engine";
import { expect, test } from "vitest";
import { replay } from "../replay.ts";
import { ruleSet } from "../rule-set.ts";

const shipped = ruleSet(true, { rules: [], correlations: [] });
const told = builtinCorrelations().correlations.filter(({ part }) => !part);
const root = new URL("../../rules/", import.meta.url).pathname;

async function casesOf(file: string) {
  const text = await Bun.file(root + file.replace(/\.yml$/, ".samples.ndjson")).text();
  const lines = text.split("\n").filter((line) => line !== "");
  return Map.groupBy(
    lines.map((line, index) => ({ ...(JSON.parse(line) as { expect: string; case: string }), recorded: parseRecorded(line, index + 1) })),
    (line) => `${line.expect}: ${line.case}`,
  );
}

test.each(told.map((of) => [of.file, of] as const))(
  "%s: each case does what it says, and there are both kinds",
  async (file, { id, title }) => {
    const kinds = new Set<string>();
    for (const [name, lines] of await casesOf(file)) {
      kinds.add(lines[0]!.expect);
      const events = lines.map(({ recorded }) => recorded);
      const alerts = await Array.fromAsync(replay(events, { ...shipped, matcher: compileRules(shipped.rules) }));
      const mine = alerts.filter(({ rule }) => rule.id === id);
      expect(mine.length, `${title}, ${name}`).toBe(lines[0]!.expect === "hit" ? 1 : 0);
      for (const alert of mine) {
        expect(alert.rule).toMatchObject({ title, engine: "correlation", author: "Picket" });
        expect(new Set(alert.events).size).toBe(alert.events.length);
      }
    }
    expect([...kinds].sort()).toEqual(["hit", "miss"]);
  },
);
