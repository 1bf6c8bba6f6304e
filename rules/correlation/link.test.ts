import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseRules } from "../engine.ts";

const rule = (name: string, more = "") =>
  `title: Rule ${name}\nid: ${name}-id\nname: ${name}\nlogsource: { product: linux, category: process_creation }\ndetection: { s: { Image|endswith: /${name} }, condition: s }\nlevel: medium\n${more}`;
const login = `title: Refused\nid: login-id\nname: refused\nlogsource: { product: picket, category: login }\ndetection: { s: { Success: "false" }, condition: s }\nlevel: low\n`;
const correlation = (body: string, head = "") =>
  `title: Together\nid: together\nlevel: high\n${head}correlation:\n  ${body.trim().replaceAll("\n", "\n  ")}\n`;
const count = (rules: string, more = "group-by: [User]\ntimespan: 5m\ncondition: { gte: 3 }") =>
  correlation(`type: event_count\nrules: ${rules}\n${more}`);
const parse = (...documents: readonly string[]) => parseRules([{ file: "a.yml", text: documents.join("---\n") }]);
const problems = ({ errors, warnings }: ReturnType<typeof parse>) =>
  [...errors, ...warnings].map(({ line, message }) => `${line}: ${message}`);

test("a correlation knows its rules by id or by name, wherever they stand, and they fall silent", () => {
  const { rules, correlations, errors, warnings } = parseRules([
    { file: "a.yml", text: `${count("[one, two-id]")}---\n${rule("one")}` },
    { file: "b.yml", text: rule("two") },
  ]);
  expect([errors, warnings]).toEqual([[], []]);
  expect(correlations).toMatchObject([
    {
      id: "together",
      title: "Together",
      level: "high",
      type: "event_count",
      rules: ["one-id", "two-id"],
      groupBy: [{ name: "User", of: {} }],
      timespanMs: 300_000,
      bounds: { gte: 3 },
      fields: [],
    },
  ]);
  expect(rules.map(({ id, alerts, part }) => [id, alerts, part])).toEqual([
    ["one-id", false, true],
    ["two-id", false, true],
  ]);
});

test("generate: true, inside or beside, lets the rules alert too", () => {
  for (const text of [
    count("[one]", "group-by: [User]\ntimespan: 5m\ngenerate: true\ncondition: { gte: 3 }"),
    `${count("[one]")}generate: true\n`,
  ])
    expect(parse(rule("one"), text).rules).toMatchObject([{ alerts: true }]);
});

test("aliases give each rule's field for one name", () => {
  const body =
    "type: temporal\nrules: [one, refused]\ngroup-by: [who, ComputerName]\ntimespan: 90s\naliases:\n  who: { one: User, login-id: User }";
  const { correlations, ...of } = parse(rule("one"), login, correlation(body));
  expect(problems({ correlations, ...of })).toEqual([]);
  expect(correlations[0]!.groupBy).toEqual([
    { name: "who", of: { "one-id": "User", "login-id": "User" } },
    { name: "ComputerName", of: {} },
  ]);
});

test("a correlation of correlations, in any order; what it needs falls silent too", () => {
  const outer = correlation("type: temporal_ordered\nrules: [many, one]\ngroup-by: [User]\ntimespan: 1h").replace("together", "outer");
  const { correlations, ...of } = parse(outer, rule("one"), count("[one]").replace("title", "name: many\ntitle"));
  expect(problems({ correlations, ...of })).toEqual([]);
  expect(correlations.map(({ id, rules, part }) => [id, rules, part])).toEqual([
    ["outer", ["together", "one-id"], undefined],
    ["together", ["one-id"], true],
  ]);
});

test("what Picket ships can be referred to", () => {
  const known = { rules: parse(rule("one")).rules, correlations: [] };
  const { correlations, errors } = parseRules([{ file: "a.yml", text: count("[one-id]") }], known);
  expect([correlations.length, errors]).toEqual([1, []]);
});

test.each<[string, string[], string]>([
  ["no map", ["title: x\ncorrelation: 5\n"], "2: correlation must be a map"],
  ["an unknown key", [count("[one]", "group_by: [x]\ntimespan: 5m")], '7: correlation has no key "group_by"'],
  ["an unknown type", [correlation("type: sum\nrules: [one]\ntimespan: 5m")], '5: correlation type "sum" is not one of event_count'],
  ["no type", [correlation("rules: [one]\ntimespan: 5m")], "5: correlation has no type"],
  ["no rules", [count("[]")], "6: correlation has no rules"],
  ["a rule twice", [rule("one"), count("[one, one]")], 'rule "one" is listed twice'],
  ["a rule twice, by id and name", [rule("one"), count("[one, one-id]")], 'rule "one-id" is listed twice, by id and by name'],
  ["an unknown rule", [count("[two]")], '6: rule "two" is not in these files'],
  ["itself", [count("[together]")], '6: rule "together" refers back to this correlation'],
  [
    "a circle",
    [count("[b]").replace("title", "name: a\ntitle"), count("[a]").replace("title", "name: b\ntitle").replace("together", "b-id")],
    "refers back to this correlation",
  ],
  [
    "an id that is taken",
    [rule("one"), count("[one]").replace("id: together", "id: one-id")],
    'id one-id is already used by "Rule one" (a.yml:1)',
  ],
  [
    "a name that is taken",
    [rule("one"), rule("two").replace("name: two", "name: one"), count("[one]")],
    'name one is already used by "Rule one"',
  ],
  ["no timespan", [rule("one"), count("[one]", "condition: { gte: 3 }")], "correlation has no timespan"],
  [
    "a timespan in weeks",
    [rule("one"), count("[one]", "timespan: 2w\ncondition: { gte: 3 }")],
    'timespan "2w" must be a number and s, m, h or d',
  ],
  ["no timespan at all", [rule("one"), count("[one]", "timespan: 0m\ncondition: { gte: 3 }")], 'timespan "0m" must be'],
  ["no condition", [rule("one"), count("[one]", "timespan: 5m")], "needs a condition"],
  ["an empty condition", [rule("one"), count("[one]", "timespan: 5m\ncondition: {}")], "condition has no bound"],
  ["a condition in letters", [rule("one"), count("[one]", "timespan: 5m\ncondition: { gte: many }")], "condition gte must be a number"],
  ["an unknown bound", [rule("one"), count("[one]", "timespan: 5m\ncondition: { min: 4 }")], 'condition has no "min"'],
  ["half an event", [rule("one"), count("[one]", "timespan: 5m\ncondition: { gte: 1.5 }")], "whole numbers"],
  [
    "a field of a count of events",
    [rule("one"), count("[one]", "timespan: 5m\ncondition: { gte: 2, field: User }")],
    "has no field: use value_count",
  ],
  [
    "no field of a count of values",
    [rule("one"), correlation("type: value_count\nrules: [one]\ntimespan: 5m\ncondition: { gte: 2 }")],
    "add field to its condition",
  ],
  ["a detection beside it", [rule("one"), `${count("[one]")}detection: { s: { a: b }, condition: s }\n`], "a correlation has no detection"],
  [
    "an alias that forgets a rule",
    [
      rule("one"),
      rule("two"),
      correlation("type: temporal\nrules: [one, two]\ngroup-by: [who]\naliases: { who: { one: User } }\ntimespan: 5m"),
    ],
    'does not say which field it is of rule "two"',
  ],
  [
    "an alias of another rule",
    [rule("one"), correlation("type: temporal\nrules: [one]\ngroup-by: [who]\naliases: { who: { one: User, three: User } }\ntimespan: 5m")],
    'names rule "three", which rules does not list',
  ],
  [
    "an alias nobody uses",
    [rule("one"), correlation("type: temporal\nrules: [one]\naliases: { who: { one: User } }\ntimespan: 5m")],
    'alias "who" is used by nothing',
  ],
  ["generate in words", [rule("one"), `${count("[one]")}generate: maybe\n`], "generate must be true or false"],
  [
    "more rules than there are",
    [rule("one"), correlation("type: temporal\nrules: [one]\ntimespan: 5m\ncondition: { gte: 2 }")],
    "condition wants 2 rules, but rules lists 1",
  ],
])("an error with its line: %s", (_, documents, message) => {
  const { errors, correlations } = parse(...documents);
  expect(errors.map((error) => `${error.line}: ${error.message}`).join("\n")).toContain(message);
  expect(correlations.filter(({ id }) => id === "together" && !message.startsWith("name"))).toEqual([]);
});

test.each<[string, string[], string]>([
  [
    "a rule that cannot fire here",
    [rule("one").replace("product: linux", "product: windows"), count("[one]")],
    'unsupported: needs rule "one" (a.yml:1), which is not loaded',
  ],
  [
    "a field its events lack",
    [rule("one"), count("[one]", "group-by: [SourceIp]\ntimespan: 5m\ncondition: { gte: 3 }")],
    "unsupported: needs field SourceIp, which process.exec events of rule",
  ],
  [
    "a field in other letters",
    [rule("one"), count("[one]", "group-by: [user]\ntimespan: 5m\ncondition: { gte: 3 }")],
    "did you mean User?",
  ],
  [
    "a condition in words",
    [rule("one"), correlation("type: temporal\nrules: [one]\ntimespan: 5m\ncondition: one and not two")],
    "unsupported: a condition in words",
  ],
  ["absence", [rule("one"), count("[one]", "timespan: 5m\ncondition: { eq: 0 }")], "of what is not there no event tells"],
  ["absence, as less than one", [rule("one"), count("[one]", "timespan: 5m\ncondition: { lt: 1 }")], "of what is not there no event tells"],
  ["months", [rule("one"), count("[one]", "timespan: 90d\ncondition: { gte: 3 }")], "unsupported: a timespan of more than 30 days"],
  ["millions", [rule("one"), count("[one]", "timespan: 5m\ncondition: { gte: 1000001 }")], "unsupported: more than 100000"],
  [
    "waiting for what is told late",
    [
      rule("one"),
      count("[one]", "timespan: 5m\ncondition: { lte: 3 }").replace("title", "name: few\ntitle"),
      correlation("type: temporal\nrules: [few, one]\ntimespan: 5m").replace("together", "outer"),
    ],
    "is only known when its time is over",
  ],
])("a warning that says what is not supported: %s", (_, documents, message) => {
  const { errors, warnings } = parse(...documents);
  expect(errors).toEqual([]);
  expect(warnings.map((warning) => warning.message).join("\n")).toContain(message);
});

test("one that is told late says so and is loaded", () => {
  const { correlations, warnings } = parse(rule("one"), count("[one]", "timespan: 5m\ncondition: { lt: 3 }"));
  expect(correlations).toHaveLength(1);
  expect(warnings[0]!.message).toContain("when their time is over");
});

test("a broken correlation spares the others", () => {
  const { correlations, rules, errors } = parse(count("[nobody]").replace("together", "bad"), rule("one"), count("[one]"));
  expect([correlations.map(({ id }) => id), rules.length, errors.length]).toEqual([["together"], 1, 1]);
});

const examples = new URL("../../../shared/data/sigma-linux/spec-examples/correlation/", import.meta.url).pathname;
const names = (() => {
  try {
    return readdirSync(examples);
  } catch {
    return [];
  }
})();

test.skipIf(names.length === 0)(
  "the specification's examples (skipped without ../shared): each parses with rules that have its fields, and says what Picket lacks without",
  () => {
    const stand = (id: string) =>
      rule("x")
        .replace(/id: .*\nname: .*/, `id: ${id}`)
        .replace("Rule x", id);
    const told: Record<string, string> = {};
    for (const name of names) {
      const text = readFileSync(examples + name, "utf8");
      const ids = [
        "5638f7c0-ac70-491d-8465-2a65075e0d86",
        "recon_cmd_a",
        "recon_cmd_b",
        "recon_cmd_c",
        "rule_a_id",
        "process_creation",
        "website_access",
      ];
      const { correlations, errors, warnings } = parse(...ids.map(stand), text);
      expect(errors, name).toEqual([]);
      told[name] =
        correlations.length === 1
          ? "loaded"
          : (/needs field \S+?(?=,| \()/.exec(warnings.map(({ message }) => message).join(" "))?.[0] ?? "");
      expect(parse(text).errors[0]!.message, name).toContain("is not in these files");
    }
    expect(told).toEqual({
      "event_count.yml": "loaded",
      "event_count_ecs.yml": "needs field dns.question.name",
      "temporal.yml": "loaded",
      "temporal_ordered.yml": "loaded",
      "value_avg.yml": "needs field SourceIP",
      "value_count.yml": "needs field WorkstationName",
      "value_percentile.yml": "loaded",
      "value_sum.yml": "needs field SourceIP",
    });
  },
);
