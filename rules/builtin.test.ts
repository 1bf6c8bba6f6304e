import { type EventType, eventTypes } from "@picket/protocol/event";
import { parseRecorded } from "@picket/protocol/recorded";
import { expect, test } from "vitest";
import { builtinRules } from "./builtin.ts";
import { compileRules } from "./engine.ts";
import { docs, generate, parseBuiltin, readBuiltin, withTables } from "./gen.ts";
import type { Rule } from "./rule.ts";

const root = new URL("./", import.meta.url).pathname;
const rules = builtinRules();

test("the generated module holds what the rule files say; `bun rules/gen.ts` renews it", async () => {
  const parsed = parseBuiltin(await readBuiltin());
  expect(rules).toEqual(parsed);
  expect(await Bun.file(`${root}builtin.gen.ts`).text()).toBe(generate(parsed));
});

test("docs/rules.md lists the fields and rules there are; `bun rules/gen.ts` renews it", async () => {
  const text = await Bun.file(docs).text();
  expect(text).toBe(withTables(text, rules));
});

/** Looked at by other engines (hashes of files), or by the broker, or no sign of anything by themselves. */
const withoutRule: readonly EventType[] = ["file.hash", "host.metrics", "agent.start", "agent.stop"];

test("every type of event has a rule, but for those that say why not", () => {
  const used = new Set(rules.flatMap(({ detection }) => detection.events));
  expect(eventTypes.filter((type) => !used.has(type))).toEqual(withoutRule);
});

test("no two shipped rules have one title", () => {
  expect(new Set(rules.map((rule) => rule.title)).size).toBe(rules.length);
});

test.each(rules.map((rule) => [rule.file, rule] as const))("%s says what an operator needs", (_, rule) => {
  expect(rule.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-[45][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(rule.author).toBe("Picket");
  expect(rule.version).toMatch(/^\d{4}-\d{2}-\d{2}$/);
  expect(rule.description).toBeTruthy();
  expect(rule.todo).toBeTruthy();
  expect(rule.falsepositives).not.toEqual([]);
  expect(rule.attack.techniques).not.toEqual([]);
  // The folder is the tactic a reader looks under.
  expect(rule.attack.tactics).toContain(rule.file.split("/")[1]);
});

test.each(rules.map((rule) => [rule.file, rule] as const))(
  "%s: each sample does what it says, and there are both kinds",
  async (file, rule) => {
    const samples = await samplesOf(rule);
    for (const expected of ["hit", "miss"])
      expect(
        samples.filter((sample) => sample.expect === expected),
        `${expected} samples of ${file}`,
      ).not.toEqual([]);
    const matcher = compileRules([rule]);
    for (const { expect: expected, event, line } of samples) {
      expect(matcher.match(event).length === 1 ? "hit" : "miss", `${file}, sample ${line}`).toBe(expected);
    }
  },
);

async function samplesOf(rule: Rule) {
  const text = await Bun.file(root + rule.file.replace(/\.yml$/, ".samples.ndjson")).text();
  const lines = text.split("\n").filter((line) => line !== "");
  return lines.map((line, index) => {
    const { expect } = JSON.parse(line) as { expect: unknown };
    return { expect, line: index + 1, event: parseRecorded(line, index + 1).event };
  });
}
