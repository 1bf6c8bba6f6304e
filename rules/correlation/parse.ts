// The `correlation` section of a document. What it refers to is looked up later, when all files are read (link.ts).
import { Unsupported } from "../sigma/modifiers.ts";
import { get, RuleError, textOf, textsOf, type Yaml } from "../sigma/yaml.ts";
import {
  atLeast,
  type Bounds,
  boundNames,
  type Correlation,
  type CorrelationType,
  correlationTypes,
  holds,
  isClosed,
} from "./correlation.ts";

export type Reference = { readonly text: string; readonly line: number };
/** `of`: field by rule, as the author named it. */
type Alias = { readonly name: string; readonly line: number; readonly of: readonly { rule: Reference; field: string }[] };

/** A correlation whose references are still texts. */
export type Draft = Pick<Correlation, "type" | "timespanMs" | "bounds"> & {
  readonly fields: readonly string[];
  readonly references: readonly Reference[];
  readonly groupBy: readonly Reference[];
  readonly aliases: readonly Alias[];
  readonly generate: boolean;
  readonly fieldLine: number;
};

type Warn = (line: number, message: string) => void;

const MAX_RULES = 64;
const MAX_GROUP_BY = 8;
const MAX_FIELDS = 4;
/** Longest window: what is in it is kept at the site. Days. */
const MAX_DAYS = 30;
/** Events or different values one group may need before it fires: all of them are kept. */
const MAX_EVENTS = 100_000;
const MAX_VALUES = 1000;

const keys = ["type", "rules", "aliases", "group-by", "timespan", "condition", "generate"];

/** Reads `correlation` of a document. Throws RuleError, and Unsupported for what is valid Sigma that Picket cannot do. */
export function parseCorrelation(root: Yaml, warn: Warn): Draft {
  const node = get(root, "correlation")!;
  if (node.kind !== "map") throw new RuleError(node.line, "correlation must be a map with type, rules and timespan");
  for (const key of ["detection", "logsource"])
    if (get(root, key))
      throw new RuleError(get(root, key)!.line, `a correlation has no ${key}: write the rule as a document of its own, split by ---`);
  for (const { key, line } of node.entries)
    if (!keys.includes(key)) throw new RuleError(line, `correlation has no key "${key}": use ${keys.join(", ")}`);
  const type = typeOf(node);
  const given = conditionOf(node, type);
  const draft: Draft = {
    type,
    ...given,
    references: referencesOf(node),
    groupBy: groupByOf(node),
    aliases: aliasesOf(node),
    timespanMs: timespanOf(node),
    generate: generateOf(root, node),
  };
  checkReach(draft, node, warn);
  return draft;
}

function typeOf(node: Yaml): CorrelationType {
  const text = textOf(node, "type");
  if (text === undefined) throw new RuleError(node.line, `correlation has no type: one of ${correlationTypes.join(", ")}`);
  const type = correlationTypes.find((name) => name === text);
  if (!type) throw new RuleError(get(node, "type")!.line, `correlation type "${text}" is not one of ${correlationTypes.join(", ")}`);
  return type;
}

function referencesOf(node: Yaml): Reference[] {
  const value = get(node, "rules");
  const items = value?.kind === "list" ? value.items : value && value.kind !== "null" ? [value] : [];
  if (items.length === 0) throw new RuleError(value?.line ?? node.line, "correlation has no rules: name at least one, by its id or name");
  if (items.length > MAX_RULES) throw new RuleError(value!.line, `more than ${MAX_RULES} rules in one correlation: split it`);
  const seen = new Map<string, number>();
  return items.map((item) => {
    if (item.kind !== "scalar" || item.text === "") throw new RuleError(item.line, "each of rules must be the id or the name of a rule");
    const before = seen.get(item.text);
    if (before !== undefined) throw new RuleError(item.line, `rule "${item.text}" is listed twice (first at line ${before}): remove one`);
    seen.set(item.text, item.line);
    return { text: item.text, line: item.line };
  });
}

function groupByOf(node: Yaml): Reference[] {
  const names = textsOf(node, "group-by");
  const value = get(node, "group-by")!;
  if (names.length > MAX_GROUP_BY) throw new RuleError(value.line, `more than ${MAX_GROUP_BY} fields in group-by`);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new RuleError(value.line, `group-by names "${twice}" twice: remove one`);
  return names.map((text, at) => ({ text, line: value.kind === "list" ? value.items[at]!.line : value.line }));
}

function aliasesOf(node: Yaml): Alias[] {
  const value = get(node, "aliases");
  if (!value || value.kind === "null") return [];
  if (value.kind !== "map") throw new RuleError(value.line, "aliases must be a map: name, then the field for each rule");
  return value.entries.map(({ key, line, value: of }) => {
    if (of.kind !== "map" || of.entries.length === 0)
      throw new RuleError(line, `alias "${key}" must be a map of rules to the field that each calls so`);
    return {
      name: key,
      line,
      of: of.entries.map((entry) => {
        if (entry.value.kind !== "scalar") throw new RuleError(entry.line, `alias "${key}" of rule "${entry.key}" must be one field`);
        return { rule: { text: entry.key, line: entry.line }, field: entry.value.text };
      }),
    };
  });
}

const unitsMs: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function timespanOf(node: Yaml): number {
  const text = textOf(node, "timespan");
  if (text === undefined) throw new RuleError(node.line, "correlation has no timespan: a number and s, m, h or d, such as 5m");
  const { line } = get(node, "timespan")!;
  const [, count, unit] = /^([1-9]\d{0,8})([smhd])$/.exec(text) ?? [];
  if (count === undefined) throw new RuleError(line, `timespan "${text}" must be a number and s, m, h or d in lower case, such as 5m`);
  const timespanMs = Number(count) * unitsMs[unit!]!;
  if (timespanMs > MAX_DAYS * unitsMs.d!)
    throw new Unsupported(line, `unsupported: a timespan of more than ${MAX_DAYS} days; the correlation is not loaded`);
  return timespanMs;
}

/** The specification's schema has it beside `correlation`; many write it inside. */
function generateOf(root: Yaml, node: Yaml): boolean {
  for (const at of [node, root]) {
    const text = textOf(at, "generate");
    if (text === undefined) continue;
    if (text !== "true" && text !== "false") throw new RuleError(get(at, "generate")!.line, "generate must be true or false");
    return text === "true";
  }
  return false;
}

function conditionOf(node: Yaml, type: CorrelationType): Pick<Draft, "bounds" | "fields" | "fieldLine"> {
  const value = get(node, "condition");
  const isSequence = type === "temporal" || type === "temporal_ordered";
  if (!value || value.kind === "null") {
    if (isSequence) return { bounds: {}, fields: [], fieldLine: node.line };
    throw new RuleError(node.line, `a correlation of type ${type} needs a condition, such as gte: 10`);
  }
  if (value.kind === "scalar" && isSequence)
    throw new Unsupported(
      value.line,
      `unsupported: a condition in words ("${value.text.slice(0, 40)}"), which the specification's schema does not have`,
    );
  if (value.kind !== "map") throw new RuleError(value.line, `condition must be a map, such as { gte: 10 }`);
  const bounds: Record<string, number> = {};
  for (const { key, line, value: bound } of value.entries) {
    if (key === "field") continue;
    if (!(boundNames as readonly string[]).includes(key))
      throw new RuleError(line, `condition has no "${key}": use ${boundNames.join(", ")} or field`);
    const number = bound.kind === "scalar" ? Number(bound.text) : Number.NaN;
    if (bound.kind !== "scalar" || bound.text.trim() === "" || !Number.isFinite(number))
      throw new RuleError(line, `condition ${key} must be a number`);
    bounds[key] = number;
  }
  const fields = textsOf(value, "field");
  const fieldLine = get(value, "field")?.line ?? value.line;
  checkCondition({ type, bounds, fields, fieldLine, line: value.line });
  return { bounds, fields, fieldLine };
}

function checkCondition(of: { type: CorrelationType; bounds: Bounds; fields: readonly string[]; fieldLine: number; line: number }): void {
  const { type, bounds, fields, fieldLine, line } = of;
  if (Object.keys(bounds).length === 0) throw new RuleError(line, `condition has no bound: use ${boundNames.join(", ")}`);
  const needsField = type.startsWith("value_");
  if (needsField && fields.length === 0) throw new RuleError(line, `a ${type} needs to know of what: add field to its condition`);
  if (!needsField && fields.length > 0) throw new RuleError(fieldLine, `a ${type} counts events and has no field: use value_count`);
  if (fields.length > (type === "value_count" ? MAX_FIELDS : 1))
    throw new RuleError(fieldLine, type === "value_count" ? `more than ${MAX_FIELDS} fields` : `a ${type} takes one field`);
}

/** What can be decided at all. */
function checkReach({ type, bounds, references }: Draft, node: Yaml, warn: Warn): void {
  const { line } = get(node, "condition") ?? node;
  const isSequence = type === "temporal" || type === "temporal_ordered";
  if (isSequence) {
    const wanted = atLeast(bounds);
    if (isClosed({ type, bounds }) || (type === "temporal_ordered" && wanted > 0 && wanted !== references.length))
      throw new Unsupported(
        line,
        `unsupported: this condition on a ${type}; leave it out, or use gte with a number of rules on a temporal`,
      );
    if (wanted > references.length) throw new RuleError(line, `condition wants ${wanted} rules, but rules lists ${references.length}`);
    return;
  }
  const isCount = type === "event_count" || type === "value_count";
  if (isCount && Object.values(bounds).some((bound) => !Number.isSafeInteger(bound) || bound < 0))
    throw new RuleError(line, `bounds of a ${type} are whole numbers from 0`);
  const most = type === "event_count" ? MAX_EVENTS : MAX_VALUES;
  if (isCount && Math.max(...Object.values(bounds)) > most)
    throw new Unsupported(line, `unsupported: more than ${most} in the condition of a ${type}; the correlation is not loaded`);
  if (isCount && !couldHold(bounds))
    throw new Unsupported(
      line,
      "unsupported: only true where nothing at all is seen, and of what is not there no event tells; the correlation is not loaded",
    );
  if (isCount && holds(bounds, 0) && !("neq" in bounds))
    warn(line, "told of groups of which at least one event was seen, when their time is over: of what is not there no event tells");
}

/** Whether some count from 1 on satisfies it. */
function couldHold(bounds: Bounds): boolean {
  const near = Object.values(bounds).flatMap((bound) => [bound - 1, bound, bound + 1]);
  return [1, ...near].some((count) => count >= 1 && holds(bounds, count));
}
