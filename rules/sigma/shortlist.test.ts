import { type EventType, eventTypes, type SensorEvent } from "@picket/protocol/event";
import { parseRecorded } from "@picket/protocol/recorded";
import fc from "fast-check";
import { expect, test } from "vitest";
import { builtinRules } from "../builtin.ts";
import { compileRules } from "../engine.ts";
import { loadRules } from "../load.ts";
import type { Condition, FieldTest, Rule } from "../rule.ts";
import { naiveMatch } from "../testing/naive.ts";
import { needsOf } from "./literals.ts";
import { textTest } from "./pattern.ts";

const ids = (rules: readonly Rule[]) => rules.map(({ id }) => id);
const golden = (type: EventType) => Bun.file(new URL(`../../protocol/testdata/${type}.json`, import.meta.url)).json();
const goldens = new Map(await Promise.all(eventTypes.map(async (type) => [type, await golden(type)] as const)));

// Text that repeats, overlaps, folds to ASCII (Kelvin sign, dotted I) or depends on its neighbours (final sigma).
const piece = fc.constantFrom(
  ...[
    "/",
    "/bin",
    "/tmp/",
    "a",
    "AB",
    "abc",
    "bca",
    "curl",
    "URL",
    "-e",
    " ",
    ".sh",
    "4",
    "44",
    "\u212a",
    "k",
    "K",
    "\u0130",
    "i",
    "ssh",
    "\u017f",
    "S",
  ],
  ...["\u03a3", "\u03c3", "\u03c2", "é", "e\u0301", "\ud83d\ude00", "\0", "\n", "*", "?", "\\", "x".repeat(70)],
);
const kelvin = (of: string) => of.replaceAll(/k/gi, "\u212a");
const text = fc.array(piece, { maxLength: 5 }).map((pieces) => pieces.join(""));
const number = fc.constantFrom(0, 4, 44, 443, 4444);

/** One event type, so that the index is built for it; fields it has and one it has not. */
const fields = ["Image", "CommandLine", "ParentImage", "CurrentDirectory", "Argv", "ProcessId", "AncestorImage", "NoSuchField"];

const how = fc.constantFrom("equals", "contains", "startswith", "endswith") as fc.Arbitrary<
  "equals" | "contains" | "startswith" | "endswith"
>;
const regex = fc.record({
  source: fc.array(fc.constantFrom("ab", "URL", "(curl|/bin)", ".*", "[kK]", "a+", "\\.sh", "\\s", "ssh"), { minLength: 1, maxLength: 4 }),
  i: fc.boolean(),
});
const fieldTest: fc.Arbitrary<FieldTest> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(text, how, fc.boolean()).map(([value, kind, cased]) => textTest(value, kind, cased)) },
  {
    weight: 2,
    arbitrary: regex.map(({ source, i }): FieldTest => {
      return { kind: "regex", source: source.join(""), flags: i ? "i" : "", ...needsOf(source.join("")) };
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<FieldTest>({ kind: "null" }, { kind: "exists", wanted: true }, { kind: "exists", wanted: false }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("compare" as const), than: fc.constantFrom("lt", "gte"), number }) as fc.Arbitrary<FieldTest>,
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("fieldref" as const), field: fc.constantFrom(...fields), how, cased: fc.boolean() }),
  },
);
const field = fc.record({
  op: fc.constant("field" as const),
  field: fc.constantFrom(...fields),
  tests: fc.array(fieldTest, { minLength: 1, maxLength: 4 }),
});
const { condition } = fc.letrec<{ condition: Condition; parts: Condition[] }>((tie) => ({
  condition: fc.oneof(
    { depthSize: "small", maxDepth: 4 },
    { weight: 5, arbitrary: field as fc.Arbitrary<Condition> },
    { weight: 1, arbitrary: fieldTest.map((one): Condition => ({ op: "keyword", test: one })) },
    { weight: 1, arbitrary: fc.boolean().map((value): Condition => ({ op: "constant", value })) },
    { weight: 2, arbitrary: tie("condition").map((of): Condition => ({ op: "not", of })) },
    { weight: 4, arbitrary: tie("parts").map((of): Condition => ({ op: "and", of })) },
    { weight: 4, arbitrary: tie("parts").map((of): Condition => ({ op: "or", of })) },
  ),
  parts: fc.array(tie("condition"), { maxLength: 4 }),
}));

const template = builtinRules()[0]!;
const ruleOf = (of: Condition, at: number, type: EventType = "process.exec"): Rule => ({
  ...template,
  id: `r${at}`,
  detection: { events: [type], condition: of },
});

const process = fc.record({
  pid: number,
  exe: text,
  argv: fc.array(text, { maxLength: 4 }),
  cwd: fc.option(text, { nil: undefined }),
  parent: fc.option(fc.record({ pid: number, exe: text }), { nil: undefined }),
  ancestors: fc.option(fc.array(fc.record({ pid: number, exe: text }), { maxLength: 3 }), { nil: undefined }),
});
const execEvent = process.map(
  (of) =>
    ({
      v: 1,
      device: "d",
      epoch: "e",
      seq: 0,
      timeMs: 0,
      type: "process.exec",
      body: { process: { startTicks: 0, ppid: 0, uid: 0, ...of } },
    }) as SensorEvent,
);

test("random rules match random events exactly as evaluating every rule does", () => {
  const scene = fc.tuple(fc.array(condition, { minLength: 1, maxLength: 12 }), fc.array(execEvent, { minLength: 1, maxLength: 8 }));
  let matches = 0;
  fc.assert(
    fc.property(scene, ([conditions, events]) => {
      const rules = conditions.map((of, at) => ruleOf(of, at));
      const { match } = compileRules(rules);
      for (const event of events) {
        const expected = ids(naiveMatch(rules, event));
        matches += expected.length;
        expect(ids(match(event))).toEqual(expected);
      }
    }),
    { numRuns: 1500, seed: 7 },
  );
  expect(matches).toBeGreaterThan(5000);
});

test.each(["contains", "startswith", "endswith", "equals"] as const)("%s finds a text whose letters only fold to ASCII", (kind) => {
  for (const [value, seen] of [
    ["/opt/kkill", kelvin("/opt/kKill")],
    ["kkill", kelvin("kkill")],
    ["KILLkk", "KILL\u212ak"],
  ] as const) {
    const rules = [ruleOf({ op: "field", field: "Image", tests: [textTest(value, kind, false)] }, 0)];
    const event = { type: "process.exec", body: { process: { exe: seen, argv: [] } } } as unknown as SensorEvent;
    expect(ids(compileRules(rules).match(event))).toEqual(["r0"]);
  }
});

test("keywords in a log line, and list values, are looked up as every other field is", () => {
  const types = ["log.line", "host.inventory"] as const;
  const scene = fc.tuple(
    fc.constantFrom(...types),
    fc.array(fieldTest, { minLength: 1, maxLength: 6 }),
    fc.array(text, { minLength: 2, maxLength: 2 }),
  );
  fc.assert(
    fc.property(scene, ([type, tests, [first, second]]) => {
      const rules = tests.map((one, at) => ruleOf({ op: "keyword", test: one }, at, type));
      const body =
        type === "log.line" ? { source: first, message: second } : { table: first, op: "added", row: { [first!]: second, user: "root" } };
      const event = { v: 1, device: "d", epoch: "e", seq: 0, timeMs: 0, type, body } as unknown as SensorEvent;
      expect(ids(compileRules(rules).match(event))).toEqual(ids(naiveMatch(rules, event)));
    }),
    { numRuns: 2000, seed: 8 },
  );
});

const shared = new URL("../../../shared/data/sigma-linux/", import.meta.url).pathname;
const public_ = (await Bun.file(`${shared}COUNTS.md`).exists()) ? (await loadRules([shared])).rules : [];

test.each([
  ["the shipped rules", builtinRules(), 3000],
  ["the shipped rules and all public ones there are", [...builtinRules(), ...public_], 1500],
] as const)("%s match events made of their own words exactly as evaluating every rule does", (_, rules, numRuns) => {
  const event = fc
    .constantFrom(...rules)
    .chain((rule) => fc.constantFrom(...rule.detection.events).chain((type) => mutated(goldens.get(type), leavesFor(rule))));
  const { match } = compileRules(rules);
  let matches = 0;
  fc.assert(
    fc.property(event as fc.Arbitrary<SensorEvent>, (seen) => {
      const expected = ids(naiveMatch(rules, seen));
      matches += expected.length;
      expect(ids(match(seen))).toEqual(expected);
    }),
    { numRuns, seed: 9 },
  );
  expect(matches).toBeGreaterThan(numRuns / 10);
});

test("all samples of the shipped rules match all of them exactly as evaluating every rule does", async () => {
  const rules = [...builtinRules(), ...public_];
  const { match } = compileRules(rules);
  const root = new URL("../", import.meta.url).pathname;
  let samples = 0;
  for (const { file } of builtinRules()) {
    const lines = (await Bun.file(root + file.replace(/\.yml$/, ".samples.ndjson")).text()).split("\n").filter((one) => one !== "");
    for (const [at, one] of lines.entries()) {
      const { event } = parseRecorded(one, at + 1);
      expect(ids(match(event)), `${file}, sample ${at + 1}`).toEqual(ids(naiveMatch(rules, event)));
      samples++;
    }
  }
  expect(samples).toBeGreaterThan(100);
});

type Leaf = (key: string) => fc.Arbitrary<string>;

/** Texts for an event that `rule` might match: names of programs from what it asks of those, all else from its other words. */
function leavesFor(rule: Rule): Leaf {
  const { paths, others } = wordsOf(rule.detection.condition);
  const near = (words: readonly string[]) =>
    fc
      .constantFrom(...words, "x")
      .chain((whole) =>
        fc.oneof(
          { weight: 8, arbitrary: fc.constant(whole) },
          { weight: 1, arbitrary: fc.constant(whole.toUpperCase()) },
          { weight: 1, arbitrary: fc.constant(kelvin(whole)) },
          { weight: 1, arbitrary: fc.nat(whole.length).map((at) => whole.slice(at)) },
          { weight: 1, arbitrary: piece },
        ),
      );
  const joined = fc
    .tuple(fc.array(near(others), { minLength: 1, maxLength: 6 }), fc.constantFrom("", " ", " ", "/"))
    .map(([parts, glue]) => parts.join(glue));
  const program = fc.tuple(fc.constantFrom("", "", "/usr/bin"), near(paths)).map((parts) => parts.join(""));
  return (key) => (key === "exe" ? program : fc.oneof(near(others), joined));
}

/** `value` with most of its texts and lists of texts replaced. */
function mutated(value: unknown, leaf: Leaf, name = ""): fc.Arbitrary<unknown> {
  if (typeof value === "string") return fc.oneof({ weight: 1, arbitrary: fc.constant(value) }, { weight: 4, arbitrary: leaf(name) });
  if (Array.isArray(value) && value.every((one) => typeof one === "string")) return fc.array(leaf(name), { maxLength: 4 });
  if (Array.isArray(value)) return fc.tuple(...value.map((one) => mutated(one, leaf)));
  if (typeof value !== "object" || value === null) return fc.constant(value);
  const kept = ["type", "device", "epoch"];
  const entries = Object.entries(value).map(([key, one]) => [key, kept.includes(key) ? fc.constant(one) : mutated(one, leaf, key)]);
  return fc.record(Object.fromEntries(entries));
}

/** The texts a rule asks for: in programs, and elsewhere. */
function wordsOf(of: Condition, words = { paths: [] as string[], others: [] as string[] }) {
  if (of.op === "and" || of.op === "or") for (const part of of.of) wordsOf(part, words);
  else if (of.op === "not") wordsOf(of.of, words);
  else if (of.op === "field") words[of.field.endsWith("Image") ? "paths" : "others"].push(...of.tests.flatMap(textsOf));
  else if (of.op === "keyword") words.others.push(...textsOf(of.test));
  return words;
}

function textsOf(of: FieldTest): readonly string[] {
  if ("text" in of) return [of.text];
  if (of.kind === "glob") return [of.parts.map((part) => part.map((char) => char ?? "x").join("")).join("-")];
  return of.kind === "regex" ? (of.literals ?? []).flat() : [];
}
