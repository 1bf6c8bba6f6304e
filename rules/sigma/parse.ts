// One Sigma document to one Rule.
import { uuid5 } from "@picket/protocol/uuid5";
import { type Condition, type Detection, type Level, levels, type Rule, type RuleProblem, scoreOfLevel } from "../rule.ts";
import { parseDetection } from "./detection.ts";
import { fieldsOf } from "./fields.ts";
import { eventsOf, type Source } from "./logsource.ts";
import { Unsupported } from "./modifiers.ts";
import type { Placeholders } from "./placeholders.ts";
import { reach } from "./reach.ts";
import { reachRecords } from "./records.ts";
import { type Document, get, RuleError, textOf, textsOf, type Yaml } from "./yaml.ts";

/** Runs `read`; valid Sigma that Picket does not run becomes a warning, any other RuleError an error, each with file and line. */
export function attempt<T>(file: string, read: (warn: Warn) => T): { result?: T; errors: RuleProblem[]; warnings: RuleProblem[] } {
  const warnings: RuleProblem[] = [];
  try {
    return { result: read((line, message) => warnings.push({ file, line, message })), errors: [], warnings };
  } catch (error) {
    if (!(error instanceof RuleError)) throw error;
    const problem = { file, line: error.line, message: error.message };
    return error instanceof Unsupported ? { errors: [], warnings: [...warnings, problem] } : { errors: [problem], warnings };
  }
}

type Warn = (line: number, message: string) => void;

/** A rule that can fire on our events; undefined, with a warning, where it cannot. Throws RuleError. */
export function readRule(file: string, document: Document, root: Yaml, placeholders: Placeholders, warn: Warn): Rule | undefined {
  if (root.kind !== "map") throw new RuleError(root.line, "a rule must be a map with title, logsource and detection");
  const action = get(root, "action");
  if (action) throw new RuleError(action.line, "action is not part of Sigma 2: write what documents share into each of them");
  checkTaxonomy(root);
  const title = required(root, "title");
  const logsource = get(root, "logsource") ?? missing(root, "logsource");
  const detection = get(root, "detection") ?? missing(root, "detection");
  const parsed = parseDetection(detection, placeholders);
  for (const { name, line } of parsed.unused) warn(line, `search "${name}" is not used by the condition`);

  const source = sourceOf(logsource);
  const events = eventsOf(source);
  const meta = metaOf(root, title, file, document, warn);
  if ("missing" in events) {
    warn(logsource.line, `${events.missing}; the rule is not loaded`);
    return undefined;
  }
  if (events.note !== undefined) warn(logsource.line, events.note);
  const made = events.records ? ofRecords(parsed.condition, detection, warn) : ofFields(parsed.condition, events, detection, warn);
  return made && { ...meta, logsource: source, detection: made };
}

/** Throws Unsupported: the names of fields are those of the Sigma taxonomy. */
export function checkTaxonomy(root: Yaml): void {
  const taxonomy = textOf(root, "taxonomy");
  if (taxonomy === undefined || taxonomy.toLowerCase() === "sigma") return;
  const what = `unsupported: taxonomy ${taxonomy.slice(0, 60)}: Picket knows the fields of taxonomy sigma`;
  throw new Unsupported(get(root, "taxonomy")!.line, `${what}; the document is not loaded`);
}

const NEVER = "the condition can never be true";
const ALWAYS = "the condition is always true: every event would match";

function ofFields(asked: Condition, source: Source, detection: Yaml, warn: Warn): Detection | undefined {
  const reached = reach(asked, source.events);
  const other = isNever(reached.condition) && source.instead ? reach(asked, source.instead) : undefined;
  const answered = other && !isNever(other.condition) ? other : undefined;
  const events = answered ? source.instead! : source.events;
  const { condition, missing: fields } = answered ?? reached;
  const never = isNever(condition);
  for (const field of fields) warn(lineOfField(detection, field), unsupported(field, events, never));
  if (never && fields.length === 0) throw new RuleError(detection.line, NEVER);
  if (never) return undefined;
  if (condition.op === "constant") throw new RuleError(detection.line, ALWAYS);
  return { events, condition: source.only ? { op: "and", of: [source.only, condition] } : condition };
}

function ofRecords(condition: Condition, detection: Yaml, warn: Warn): Detection | undefined {
  const { events, always, missing: lacking } = reachRecords(condition);
  const never = events.length === 0;
  const effect = never ? "the rule is not loaded" : "that part never matches";
  for (const { field, what } of lacking)
    warn(lineOfField(detection, field), `unsupported: needs auditd ${what}, which Picket's events do not have (docs/sigma.md); ${effect}`);
  if (never && lacking.length === 0) throw new RuleError(detection.line, NEVER);
  if (always) throw new RuleError(detection.line, ALWAYS);
  return never ? undefined : { events, condition, records: "auditd" };
}

const isNever = (condition: Condition) => condition.op === "constant" && !condition.value;

/** The text of a key that must be there. Throws RuleError. */
export const required = (root: Yaml, key: string): string => textOf(root, key) ?? missing(root, key);

const missing = (root: Yaml, key: string): never => {
  throw new RuleError(root.line, `the rule has no ${key}`);
};

export function sourceOf(node: Yaml): Rule["logsource"] {
  if (node.kind !== "map") throw new RuleError(node.line, "logsource must be a map with category, product or service");
  const [category, product, service] = ["category", "product", "service"].map((key) => textOf(node, key)?.toLowerCase());
  return { ...(category && { category }), ...(product && { product }), ...(service && { service }) };
}

function unsupported(field: string, events: Rule["detection"]["events"], never: boolean): string {
  const known = events.flatMap((type) => [...fieldsOf(type).keys()]);
  const near = known.find((name) => name.toLowerCase() === field.toLowerCase());
  const hint = near ? ` (did you mean ${near}? names are case-sensitive)` : "";
  return `unsupported: needs field ${field}${hint}, which ${events.join(", ")} events do not have; ${never ? "the rule is not loaded" : "that part never matches"}`;
}

function lineOfField(node: Yaml, field: string): number {
  if (node.kind === "list") return node.items.map((item) => lineOfField(item, field)).find((line) => line > 0) ?? 0;
  if (node.kind !== "map") return 0;
  for (const { key, line, value } of node.entries) {
    const found = key.split("|", 1)[0] === field ? line : lineOfField(value, field);
    if (found > 0) return found;
  }
  return 0;
}

type Meta = Omit<Rule, "logsource" | "detection">;

/** What a correlation says of itself, as a rule does; made when it is asked for. Throws RuleError then. */
export const correlationMeta = (root: Yaml, file: string, document: Document, warnings: RuleProblem[]) => (): Meta =>
  metaOf(root, textOf(root, "title") ?? missing(root, "title"), file, document, (line, message) => warnings.push({ file, line, message }));

function metaOf(root: Yaml, title: string, file: string, document: Document, warn: Warn): Meta {
  const id = textOf(root, "id") ?? uuid5("rule", title);
  if (!get(root, "id"))
    warn(root.line, `the rule has no id: ${id} is made from its title; write one (uuidgen), or a new title makes a new rule`);
  if (id.length > 128) throw new RuleError(root.line, "id is longer than 128 characters");
  if (title.length > 256) throw new RuleError(root.line, "title is longer than 256 characters");
  const level = textOf(root, "level") ?? "medium";
  if (!(levels as readonly string[]).includes(level))
    throw new RuleError(get(root, "level")!.line, `level "${level}" is not one of ${levels.join(", ")}`);
  if (!get(root, "level")) warn(root.line, "the rule has no level: taken as medium");
  const tags = textsOf(root, "tags").map((tag) => tag.toLowerCase());
  const own = picketOf(root);
  const description = textOf(root, "description")?.trim();
  const author = textOf(root, "author")?.slice(0, 256);
  const status = textOf(root, "status");
  return {
    id,
    title,
    level: level as Level,
    version: (textOf(root, "modified") ?? textOf(root, "date") ?? Bun.hash(document.text).toString(16)).slice(0, 64),
    ...(description && { description }),
    ...(author && { author }),
    ...(status && { status }),
    tags,
    attack: attackOf(tags),
    score: own.score ?? scoreOfLevel[level as Level],
    alerts: own.alert ?? levels.indexOf(level as Level) >= levels.indexOf("medium"),
    ...(own.todo && { todo: own.todo }),
    falsepositives: textsOf(root, "falsepositives"),
    references: textsOf(root, "references"),
    file,
    line: root.line,
  };
}

/** Our own key, which other Sigma tools ignore: `picket: { score, alert, todo }`. */
function picketOf(root: Yaml): { score?: number; alert?: boolean; todo?: string } {
  const node = get(root, "picket");
  if (!node || node.kind === "null") return {};
  if (node.kind !== "map") throw new RuleError(node.line, "picket must be a map with score, alert or todo");
  for (const { key, line } of node.entries) {
    if (!["score", "alert", "todo"].includes(key)) throw new RuleError(line, `picket has no key "${key}": use score, alert or todo`);
  }
  const score = textOf(node, "score");
  if (score !== undefined && !/^\d{1,3}$/.test(score))
    throw new RuleError(get(node, "score")!.line, "picket.score must be a whole number from 0 to 999");
  const alert = textOf(node, "alert");
  if (alert !== undefined && alert !== "true" && alert !== "false")
    throw new RuleError(get(node, "alert")!.line, "picket.alert must be true or false");
  const todo = textOf(node, "todo")?.trim();
  return {
    ...(score !== undefined && { score: Number(score) }),
    ...(alert !== undefined && { alert: alert === "true" }),
    ...(todo && { todo }),
  };
}

/** Tags as the Sigma specification's "Tags" appendix has them: `attack.t1059.004` is a technique, `attack.g0020` a group, other `attack.*` tactics. */
export function attackOf(tags: readonly string[]): Rule["attack"] {
  const names = tags.filter((tag) => tag.startsWith("attack.")).map((tag) => tag.slice("attack.".length));
  return {
    tactics: names.filter((name) => /^[a-z][a-z_-]+$/.test(name)).map((name) => name.replaceAll("_", "-")),
    techniques: names.filter((name) => /^t\d{4}(\.\d{3})?$/.test(name)).map((name) => name.toUpperCase()),
  };
}
