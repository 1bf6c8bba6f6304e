import { RE2JS } from "re2js";
import { expect, test } from "vitest";
import { builtinRules } from "../builtin.ts";
import type { Condition } from "../rule.ts";
import { requiredLiterals } from "./literals.ts";

test.each([
  [String.raw`\bchattr\s+\+i`, ["chattr"]],
  ["(curl|wget)\\s.*--output", ["--output"]],
  ["abc|def", ["abc", "def"]],
  ["abc|.*", undefined],
  ["abc?", undefined],
  ["abcd?", ["abc"]],
  ["(abc)?def", ["def"]],
  ["(abc){0,2}xyz", ["xyz"]],
  ["(abc){2}", ["abc"]],
  ["ab+cd", ["bcd"]],
  ["ab+cde", ["bcde"]],
  ["[a-z]{3}", undefined],
  ["(?i)LINPEAS", ["linpea"]],
  ["(?i)kss", undefined],
  ["ABC", ["abc"]],
  ["\\x41BC", ["abc"]],
  ["(?P<n>abc)", undefined],
  ["é{2}abc", ["abc"]],
  ["[[:alpha:]]abc", undefined],
  ["(?:abc)x", ["abc"]],
])("%s needs %j", (pattern, literals) => {
  expect(requiredLiterals(pattern, false)).toEqual(literals);
});

function patterns(condition: Condition): { source: string; flags: string; literals?: readonly string[] }[] {
  if (condition.op === "and" || condition.op === "or") return condition.of.flatMap(patterns);
  if (condition.op === "not") return patterns(condition.of);
  return condition.op === "field" ? condition.tests.filter((one) => one.kind === "regex") : [];
}

test("no text that a shipped expression matches lacks its literals", async () => {
  const texts = await sampleTexts();
  const all = builtinRules().flatMap((rule) => patterns(rule.detection.condition));
  let matched = 0;
  for (const { source, flags, literals } of all) {
    if (!literals) continue;
    const regex = RE2JS.compile(source, flags.includes("i") ? RE2JS.CASE_INSENSITIVE : 0);
    for (const text of texts) {
      if (!regex.test(text)) continue;
      matched++;
      expect(
        literals.some((literal) => text.toLowerCase().includes(literal)),
        `${source} on ${text}`,
      ).toBe(true);
    }
  }
  expect(matched).toBeGreaterThan(100);
});

async function sampleTexts(): Promise<string[]> {
  const root = new URL("../builtin/", import.meta.url).pathname;
  const texts: string[] = [];
  for await (const file of new Bun.Glob("**/*.ndjson").scan({ cwd: root })) {
    for (const line of (await Bun.file(root + file).text()).split("\n").filter(Boolean)) {
      const { body } = JSON.parse(line) as { body: { process?: { exe: string; argv: string[] }; file?: { path: string } } };
      if (body.process) texts.push(body.process.argv.join(" "), body.process.exe);
      if (body.file) texts.push(body.file.path);
    }
  }
  return texts;
}
