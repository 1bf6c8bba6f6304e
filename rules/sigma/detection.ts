// The `detection` section: named searches, each a map (all items), a list of maps (any) or a list of keywords (any).
import type { Condition } from "../rule.ts";
import { parseCondition } from "./condition.ts";
import { parseKey, testsOf } from "./modifiers.ts";
import type { Placeholders } from "./placeholders.ts";
import { get, RuleError, type Yaml } from "./yaml.ts";

export type ParsedDetection = { readonly condition: Condition; readonly unused: readonly { name: string; line: number }[] };

/** Throws RuleError. */
export function parseDetection(node: Yaml, placeholders: Placeholders): ParsedDetection {
  if (node.kind !== "map") throw new RuleError(node.line, "detection must be a map of searches and a condition");
  const searches = new Map<string, Condition>();
  for (const { key, value, line } of node.entries) {
    if (key === "condition") continue;
    if (key === "timeframe")
      throw new RuleError(line, "timeframe belongs to aggregations, which Sigma 2 does not have; write a correlation rule");
    searches.set(key, search(value, key, placeholders));
  }
  const conditions = conditionTexts(get(node, "condition"), node.line);
  const parsed = conditions.map(({ text, line }) => parseCondition(text, searches, line));
  const unused = node.entries.filter(({ key }) => key !== "condition" && !parsed.some(({ used }) => used.has(key)));
  return { condition: any(parsed.map(({ condition }) => condition)), unused: unused.map(({ key, line }) => ({ name: key, line })) };
}

function conditionTexts(node: Yaml | undefined, line: number): { text: string; line: number }[] {
  const items = node?.kind === "list" ? node.items : node ? [node] : [];
  if (items.length === 0) throw new RuleError(line, "detection has no condition");
  return items.map((item) => {
    if (item.kind !== "scalar" || item.text.trim() === "")
      throw new RuleError(item.line, "condition must be a text such as: selection and not filter");
    return item;
  });
}

function search(node: Yaml, name: string, placeholders: Placeholders): Condition {
  switch (node.kind) {
    case "null":
      throw new RuleError(node.line, `search "${name}" is empty`);
    case "scalar":
      return { op: "keyword", test: keyword(node) };
    case "map":
      if (node.entries.length === 0) throw new RuleError(node.line, `search "${name}" is empty`);
      return all(node.entries.map(({ key, value, line }) => item(key, value, line, placeholders)));
    case "list":
      if (node.items.length === 0) throw new RuleError(node.line, `search "${name}" is empty`);
      return any(node.items.map((part) => search(part, name, placeholders)));
  }
}

function keyword(value: Yaml) {
  const { modifiers } = parseKey("|contains", value.line);
  return testsOf(value, modifiers, "keyword")[0]!;
}

function item(key: string, value: Yaml, line: number, placeholders: Placeholders): Condition {
  const { field, modifiers } = parseKey(key, line, placeholders);
  const values = value.kind === "list" ? value.items : [value];
  if (values.length === 0) throw new RuleError(value.line, `"${key}" has an empty list of values, which would never match`);
  const groups = values.map((one) => testsOf(one, keywordModifiers(field, modifiers), key));
  const test = (tests: (typeof groups)[number]): Condition =>
    // A key that is only modifiers, such as `'|all'`, searches the whole event.
    field === "" ? any(tests.map((one) => ({ op: "keyword", test: one }))) : { op: "field", field, tests };
  const condition = modifiers.all ? all(groups.map(test)) : test(groups.flat());
  return modifiers.negated ? { op: "not", of: condition } : condition;
}

function keywordModifiers(field: string, modifiers: ReturnType<typeof parseKey>["modifiers"]) {
  return field === "" && modifiers.kind === "equals" ? { ...modifiers, kind: "contains" as const } : modifiers;
}

const all = (of: readonly Condition[]): Condition => (of.length === 1 ? of[0]! : { op: "and", of });
const any = (of: readonly Condition[]): Condition => (of.length === 1 ? of[0]! : { op: "or", of });
