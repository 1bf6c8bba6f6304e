import fc from "fast-check";
import { RE2JS } from "re2js";
import { expect, test } from "vitest";
import { builtinRules } from "../builtin.ts";
import { loadRules } from "../load.ts";
import type { Condition } from "../rule.ts";
import { fold } from "./fold.ts";
import { needsOf } from "./literals.ts";

test.each([
  [String.raw`\bchattr\s+\+i`, [["chattr "], [" +i"]], 9],
  ["(curl|wget)\\s.*--output", [["--output"], ["curl ", "wget "]], 13],
  ["abc|def", [["abc", "def"]], 3],
  ["abc|.*", [], 0],
  ["abc?", [["ab"]], 2],
  ["abcd?", [["abc"]], 3],
  ["(abc)?def", [["def"]], 3],
  ["(abc){0,2}xyz", [["xyz"]], 3],
  ["(abc){2}", [["abc"]], 6],
  ["(abc){2,}x", [["abcx"]], 7],
  ["ab+cd", [["bcd"], ["ab"]], 4],
  ["a(b|cd?)e", [["abe", "ace", "acde"]], 3],
  ["(ba|z)?sh\\s", [["sh "]], 3],
  ["[ab]cd", [["acd", "bcd"]], 3],
  ["[^a]bcd", [["bcd"]], 4],
  ["[a-z]{3}", [], 3],
  ["[]a]x", [["]x", "ax"]], 2],
  ["[a\\]]x", [["ax", "]x"]], 2],
  ["\\|.*(sh|ksh)", [["sh"], ["|"]], 3],
  ["/.*-", [], 2],
  ["(?i)LINPEAS", [["linpeas"]], 7],
  ["kss", [["kss"]], 3],
  ["ABC", [["abc"]], 3],
  ["\\x41BC", [["abc"]], 3],
  ["(?P<n>abc)", [], 0],
  ["é{2}abc", [["abc"]], 5],
  ["[[:alpha:]]abc", [], 0],
  ["(?:abc)x", [["abcx"]], 4],
  ["a\\.b$", [["a.b"]], 3],
  [".{100,}", [], 100],
  ["(a|b|)", [], 0],
] as const)("%s needs %j and %d characters", (pattern, literals, atLeast) => {
  expect(needsOf(pattern)).toEqual({ literals, atLeast });
});

/** Undefined for a pattern that is none: what repeats nothing. */
function compiled(source: string, ignoreCase: boolean): RE2JS | undefined {
  try {
    return RE2JS.compile(source, ignoreCase ? RE2JS.CASE_INSENSITIVE : 0);
  } catch {
    return undefined;
  }
}

function meets(text: string, { literals, atLeast }: ReturnType<typeof needsOf>): boolean {
  return text.length >= atLeast && literals.every((list) => list.some((literal) => fold(text.toLowerCase()).includes(literal)));
}

test("no random text that a random expression matches lacks what it needs", () => {
  const piece = fc.constantFrom(
    ...["a", "ab", "B", "ks", "sS", "s", "|", "\\s", "\\.", "\\w", ".", "[ks]", "[^s]", "[a-c]", "\\b", "^", "é", "\\x73", "-"],
  );
  const quantified = fc.tuple(piece, fc.constantFrom("", "", "", "+", "*", "?", "{2}", "{1,2}", "+?"));
  const { pattern } = fc.letrec<{ pattern: string; part: string }>((tie) => ({
    part: fc.oneof(
      { weight: 6, arbitrary: quantified.map((parts) => parts.join("")) },
      { weight: 2, arbitrary: fc.tuple(tie("pattern"), fc.constantFrom("", "?", "+", "*")).map(([inner, sign]) => `(${inner})${sign}`) },
    ),
    pattern: fc
      .array(fc.array(tie("part"), { maxLength: 5 }), { minLength: 1, maxLength: 3 })
      .map((alternatives) => alternatives.map((parts) => parts.join("")).join("|")),
  }));
  const letter = fc.constantFrom(
    ...["a", "ab", "b", "ks", "Ks", "ss", "s", "S", "K\u017f", "\u212a", "\u017f", " ", "\t", "|", ".", "é", "É", "-", "\n"],
  );
  const text = fc.array(letter, { maxLength: 12 });
  let matched = 0;
  fc.assert(
    fc.property(pattern, fc.boolean(), fc.array(text, { minLength: 8, maxLength: 8 }), (source, ignoreCase, texts) => {
      const needs = needsOf(source);
      const regex = compiled(source, ignoreCase);
      fc.pre(regex !== undefined);
      for (const one of texts.map((letters) => letters.join(""))) {
        if (!regex.test(one)) continue;
        if (needs.literals.length > 0) matched++;
        expect(meets(one, needs), JSON.stringify({ source, one, needs })).toBe(true);
      }
    }),
    { numRuns: 4000, seed: 5, maxSkipsPerRun: 10 },
  );
  expect(matched).toBeGreaterThan(300);
});

const shared = new URL("../../../shared/data/sigma-linux/", import.meta.url).pathname;

test("no text made to match an expression of a rule lacks what it needs", async () => {
  const found = (await Bun.file(`${shared}COUNTS.md`).exists()) ? (await loadRules([shared])).rules : [];
  const all = [...builtinRules(), ...found].flatMap((rule) => patterns(rule.detection.condition));
  let matched = 0;
  for (const { source, flags } of all) {
    const needs = needsOf(source);
    const regex = RE2JS.compile(source, flags.includes("i") ? RE2JS.CASE_INSENSITIVE : 0);
    // What makes texts knows neither assertions nor flags; those of its texts that the expression does not match are left out.
    const made = fc.stringMatching(
      new RegExp(
        source
          .replaceAll("\\b", "")
          .replace("(?i)", "")
          .replaceAll("(?i:", "(?:")
          .replaceAll(/([+*])\?/g, "$1"),
      ),
    );
    for (const text of fc.sample(made, { numRuns: 3, seed: 6 })) {
      for (const one of [text, text.toUpperCase(), text.replaceAll(/s/gi, "\u017f").replaceAll(/k/gi, "\u212a")]) {
        if (!regex.test(one)) continue;
        matched++;
        expect(meets(one, needs), JSON.stringify({ source, one, needs })).toBe(true);
      }
    }
  }
  expect(matched).toBeGreaterThan(300);
});

type Pattern = { source: string; flags: string; literals?: readonly (readonly string[])[]; atLeast?: number };

function patterns(condition: Condition): Pattern[] {
  if (condition.op === "and" || condition.op === "or") return condition.of.flatMap(patterns);
  if (condition.op === "not") return patterns(condition.of);
  return condition.op === "field" ? condition.tests.filter((one) => one.kind === "regex") : [];
}

test("no sample that a shipped expression matches lacks what the built rules say it needs", async () => {
  const texts = await sampleTexts();
  let matched = 0;
  for (const { source, flags, literals = [], atLeast = 0 } of builtinRules().flatMap((rule) => patterns(rule.detection.condition))) {
    const regex = RE2JS.compile(source, flags.includes("i") ? RE2JS.CASE_INSENSITIVE : 0);
    for (const text of texts) {
      if (!regex.test(text)) continue;
      matched++;
      expect(meets(text, { literals, atLeast }), `${source} on ${text}`).toBe(true);
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
  return [...new Set(texts)];
}
