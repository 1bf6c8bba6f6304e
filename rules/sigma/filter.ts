// Sigma's filter documents (specification "Filters", 2.1): what a site does not want to hear of rules that others wrote.
import type { Condition, Rule, RuleProblem } from "../rule.ts";
import { parseDetection } from "./detection.ts";
import type { Placeholders } from "./placeholders.ts";
import { reach, simplified } from "./reach.ts";
import { reachRecords } from "./records.ts";
import { get, RuleError, type Yaml } from "./yaml.ts";

export type Filter = {
  /** Ids and names of rules; "any" for all of its log source. */
  readonly rules: readonly { readonly name: string; readonly line: number }[] | "any";
  readonly logsource: Rule["logsource"];
  /** Which events keep their match. */
  readonly keeps: Condition;
  readonly file: string;
  readonly line: number;
};

/** Throws RuleError. `source` reads a log source as rules have it. */
export function parseFilter(
  file: string,
  root: Yaml,
  { source, placeholders }: { source: Rule["logsource"]; placeholders: Placeholders },
): Filter {
  const node = get(root, "filter");
  if (node?.kind !== "map") throw new RuleError(node?.line ?? root.line, "filter must be a map with rules, a selection and a condition");
  const rules = rulesOf(get(node, "rules"), node.line);
  const searches: Yaml = { ...node, entries: node.entries.filter(({ key }) => key !== "rules") };
  const { condition } = parseDetection(searches, placeholders);
  return { rules, logsource: source, keeps: keepsOf(condition, node.line), file, line: root.line };
}

function rulesOf(node: Yaml | undefined, line: number): Filter["rules"] {
  const items = node?.kind === "list" ? node.items : node ? [node] : [];
  if (items.length === 0) throw new RuleError(line, 'a filter must say which rules it is for: rules: [id or name, ...], or "any"');
  const names = items.map((item) => {
    if (item.kind !== "scalar") throw new RuleError(item.line, "rules of a filter are ids or names");
    return { name: item.text, line: item.line };
  });
  return names.some(({ name }) => name.toLowerCase() === "any") ? "any" : names;
}

/**
 * A filter only takes away, and never from an event that none of its selections describes. The specification's own example writes
 * `condition: selection` for what is left out, SigmaHQ's documentation `condition: not selection` for what stays: both mean the same here.
 */
function keepsOf(condition: Condition, line: number): Condition {
  const blank = withoutSelections(condition);
  if (blank.op !== "constant") throw new RuleError(line, "the filter's condition has no selection");
  return blank.value ? condition : { op: "not", of: condition };
}

function withoutSelections(condition: Condition): Condition {
  switch (condition.op) {
    case "not":
      return simplified({ op: "not", of: withoutSelections(condition.of) });
    case "and":
    case "or":
      return simplified({ op: condition.op, of: condition.of.map(withoutSelections) });
    case "constant":
    case "field":
    case "keyword":
      return { op: "constant", value: false };
  }
}

export type Filtered = { readonly rules: readonly Rule[]; readonly warnings: readonly RuleProblem[] };

/** Rules with the filters that are for them. `nameOf`: the `name` of a rule, where it has one. A filter that finds no rule, or no field, is a warning. */
export function applyFilters(rules: readonly Rule[], filters: readonly Filter[], nameOf: (rule: Rule) => string | undefined): Filtered {
  if (filters.length === 0) return { rules, warnings: [] };
  const warnings: RuleProblem[] = [];
  const changed = [...rules];
  const byName = new Map<string, number>();
  for (const [at, rule] of rules.entries()) {
    byName.set(rule.id, at);
    const name = nameOf(rule);
    if (name !== undefined && !byName.has(name)) byName.set(name, at);
  }
  for (const filter of filters) {
    const warn = (line: number, message: string) => warnings.push({ file: filter.file, line, message });
    const missing = new Set<string>();
    for (const at of targets(filter, rules, byName, warn)) changed[at] = filtered(changed[at]!, filter, missing);
    for (const field of missing) warn(filter.line, `unsupported: needs ${field}, which the filtered rules' events do not have`);
  }
  return { rules: changed, warnings };
}

function targets(
  filter: Filter,
  rules: readonly Rule[],
  byName: ReadonlyMap<string, number>,
  warn: (line: number, message: string) => void,
) {
  const { logsource: wanted, rules: names } = filter;
  const fits = ({ logsource }: Rule) =>
    (["category", "product", "service"] as const).every((key) => wanted[key] === undefined || wanted[key] === logsource[key]);
  if (names === "any") {
    const all = rules.flatMap((rule, at) => (fits(rule) ? [at] : []));
    if (all.length === 0) warn(filter.line, "the filter's log source is that of no rule");
    return all;
  }
  return new Set(
    names.flatMap(({ name, line }) => {
      const at = byName.get(name);
      if (at === undefined) warn(line, `the filter names rule ${name.slice(0, 128)}, which is not among the rules that are loaded with it`);
      else if (!fits(rules[at]!)) warn(line, `the filter names rule ${name.slice(0, 128)}, but their log sources differ`);
      else return [at];
      return [];
    }),
  );
}

function filtered(rule: Rule, { keeps }: Filter, missing: Set<string>): Rule {
  const { detection } = rule;
  // Fields of records are known when the rule is compiled.
  const known = detection.records
    ? { condition: keeps, missing: reachRecords(keeps).missing.map(({ what }) => what) }
    : reach(keeps, detection.events);
  for (const field of known.missing) missing.add(field);
  return { ...rule, detection: { ...detection, condition: { op: "and", of: [detection.condition, known.condition] } } };
}
