// Rules from strangers: whatever they hold, others load, and each error names file, line and what is wrong.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { compileRules, parseRules } from "./engine.ts";
import { loadRules } from "./load.ts";

const rule = (detection: string, id = "a") =>
  `title: T ${id}\nid: ${id}\nlogsource: { category: process_creation, product: linux }\nlevel: low\ndetection:\n  ${detection.replaceAll("\n", "\n  ")}\n`;
const good = rule("s: { Image: /x }\ncondition: s", "good");
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "picket-bad-rules-"));
});
afterAll(() => rm(folder, { recursive: true }));

test.each([
  ["parentheses without end", rule(`s: { Image: x }\ncondition: "${"(".repeat(100_000)}s"`), /longer than 4096 characters/],
  [
    "parentheses that nest too deep",
    rule(`s: { Image: x }\ncondition: "${"(".repeat(1000)}s${")".repeat(1000)}"`),
    /nested deeper than 32/,
  ],
  ["a chain of not", rule(`s: { Image: x }\ncondition: "${"not ".repeat(1000)}s"`), /nested deeper than 32/],
  ["a list of a million", rule(`s: { Image: [${"x,".repeat(1_000_000)}x] }\ncondition: s`), /larger than 256 KiB/],
  ["a list of sixty thousand", rule(`s: { Image: [${"x,".repeat(60_000)}x] }\ncondition: s`), /more than 50000 values/],
  ["a name that is a regular expression", rule("'s.*': { Image: x }\ncondition: 1 of s.+"), /no detection is named/],
  ["a number without end", rule("s: { ProcessId|gt: 1e999 }\ncondition: s"), /not a number that can be compared/],
  ["a NUL", `title: x\0\n`, /NUL character/],
  ["an expression longer than any", rule(`s: { Image|re: '${"(a|b)".repeat(1000)}' }\ncondition: s`), /longer than 2048/],
  ["repetitions of repetitions", rule("s: { Image|re: '(((a{100}){100}){100}){100}' }\ncondition: s"), /regular expression not usable/],
  ["a back-reference", rule("s: { Image|re: '(a+)\\1+$' }\ncondition: s"), /back-references/],
  ["an old global document", "action: global\ntitle: x\n", /action is not part of Sigma 2/],
  ["a rule that is a list", "- a\n- b\n", /a rule must be a map/],
])("%s stops no other rule, and the error has a line", (_, text, message) => {
  const { rules, errors } = parseRules([
    { file: "bad.yml", text },
    { file: "good.yml", text: good },
  ]);
  expect(rules.map(({ id }) => id)).toEqual(["good"]);
  expect(errors).toEqual([{ file: "bad.yml", line: expect.any(Number), message: expect.stringMatching(message) }]);
  expect(errors[0]!.line).toBeGreaterThan(0);
});

test.each([
  ["UTF-16", Buffer.from(`\uFEFF${good}`, "utf16le"), 1, /UTF-16: save it as UTF-8/],
  ["Latin-1", Buffer.from(`# one\n# caf\u00e9\n${good}`, "latin1"), 2, /not UTF-8/],
])("a file in %s is named", async (name, bytes, line, message) => {
  const file = join(folder, `${name}.yml`);
  await Bun.write(file, bytes);
  const { rules, errors } = await loadRules([file]);
  expect({ rules, errors }).toEqual({ rules: [], errors: [{ file, line, message: expect.stringMatching(message) }] });
});

test("a byte order mark of UTF-8 changes nothing", async () => {
  const file = join(folder, "bom.yml");
  await Bun.write(file, `\uFEFF${good}`);
  expect((await loadRules([file])).rules.map(({ id, line }) => [id, line])).toEqual([["good", 1]]);
});

const patterns = [
  "(a+)+$",
  "(a|aa)+$",
  "(a|a?)+b",
  "(.*a){20}b",
  "([a-zA-Z]+)*!x",
  "(x+x+)+y",
  "^(([a-z])+.)+[A-Z]([a-z])+$",
  "(a*)*(a*)*(a*)*b",
];

test("patterns made to hang a backtracking engine end, on texts as long as any", () => {
  const { rules, errors } = parseRules(
    patterns.map((pattern, at) => ({
      file: `${at}.yml`,
      text: `title: T\nid: r${at}\nlevel: low\nlogsource: { product: linux }\ndetection: { s: { Message|re: '${pattern}' }, condition: s }\n`,
    })),
  );
  expect(errors).toEqual([]);
  expect(rules).toHaveLength(patterns.length);
  const matcher = compileRules(rules);
  const line = (message: string) =>
    matcher.match({ v: 1, device: "d", epoch: "e", seq: 0, timeMs: 0, type: "log.line", body: { source: "x", message } });
  expect(line("aaab").map(({ id }) => id)).toContain("r2");
  // A backtracking engine takes longer than the universe for the first of them.
  expect(line(`${"a".repeat(1 << 16)}#`).map(({ id }) => id)).toEqual([]);
});

/** Mulberry32: the same texts each time. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const seeds = [
  rule("s: { Image|endswith: [/a, /b], CommandLine|re|i: 'x+y' }\nf: { User: null }\ncondition: s and not 1 of f*"),
  "title: F\nlogsource: { product: linux }\nfilter: { rules: any, s: { User|startswith: a }, condition: not s }\n",
  "placeholders: { a: [b, c] }\n",
  "title: A\nid: c\nlevel: low\nlogsource: { product: linux, service: auditd }\ndetection: { s: { type: EXECVE, a0: x }, condition: s }\n",
];
const pieces = [
  "|",
  "*",
  "\\",
  "%a%",
  "|expand",
  "|re",
  "|cidr",
  "not ",
  "(",
  ")",
  "{",
  "}",
  "[",
  "]",
  "&a ",
  "*a",
  "<<: ",
  "__proto__",
  "1e9",
  "null",
  "\n",
  "---\n",
  "\ud800",
  "- ",
];

test("damaged rules never throw and always leave the good one", () => {
  const next = random(6);
  const below = (count: number) => Math.floor(next() * count);
  for (let round = 0; round < 400; round++) {
    let text = seeds[below(seeds.length)]!;
    for (let damage = 0; damage <= below(4); damage++) {
      const at = below(text.length);
      text = text.slice(0, at) + pieces[below(pieces.length)]! + text.slice(at + below(4));
    }
    const { rules, errors, warnings } = parseRules([
      { file: "bad.yml", text },
      { file: "good.yml", text: good },
    ]);
    expect(
      rules.map(({ id }) => id),
      text,
    ).toContain("good");
    for (const problem of [...errors, ...warnings])
      expect(problem, text).toMatchObject({ line: expect.any(Number), message: expect.stringMatching(/./) });
    compileRules(rules).match({ v: 1, device: "d", epoch: "e", seq: 0, timeMs: 0, type: "log.line", body: { source: "x", message: "x" } });
  }
});
