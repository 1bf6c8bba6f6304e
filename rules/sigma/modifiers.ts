// `Field|contains|all`: what the modifiers of one detection item ask for, and the tests that a value becomes.
import type { Comparison, FieldTest } from "../rule.ts";
import { parseNetwork } from "./cidr.ts";
import { type Encoding, encode, encodings, windash } from "./encode.ts";
import { needsOf } from "./literals.ts";
import { type How, hasWildcard, plain, textTest } from "./pattern.ts";
import { expand, type Placeholders } from "./placeholders.ts";
import { linearRegex } from "./regex.ts";
import { type TimePart, timeParts } from "./time.ts";
import { RuleError, type Scalar, type Yaml } from "./yaml.ts";

type Kind = How | "re" | "cidr" | "exists" | "fieldref" | Comparison;

export type Modifiers = {
  readonly kind: Kind;
  /** How a `fieldref` compares. */
  readonly how: How;
  readonly all: boolean;
  readonly negated: boolean;
  readonly cased: boolean;
  readonly windash: boolean;
  readonly encodings: readonly Encoding[];
  readonly flags: string;
  /** The part of a date that is compared. */
  readonly part: TimePart | undefined;
  /** What `%name%` stands for, where the value has placeholders. */
  readonly placeholders: Placeholders | undefined;
};

/** Valid Sigma that this engine does not run: the rule is left out with a warning, not an error. */
export class Unsupported extends RuleError {}

const hows: ReadonlySet<string> = new Set<How>(["contains", "startswith", "endswith"]);
const comparisons: ReadonlySet<string> = new Set<Comparison>(["lt", "lte", "gt", "gte"]);
const regexFlags: Record<string, string> = { i: "i", ignorecase: "i", m: "m", multiline: "m", s: "s", dotall: "s" };
/** Of a text: most are shorter, so a regular expression that needs so much is seldom tried. */
const LONG = 16;

/** Reads `Field|mod|mod`. Throws RuleError on modifiers that are unknown or contradict each other. */
export function parseKey(key: string, line: number, placeholders: Placeholders = new Map()): { field: string; modifiers: Modifiers } {
  const [field = "", ...names] = key.split("|");
  const seen = new Set(names);
  const fail = (message: string): never => {
    throw new RuleError(line, `"${key}": ${message}`);
  };
  if (seen.size !== names.length) fail("a modifier occurs twice");
  const kinds: Kind[] = [];
  const chain: Encoding[] = [];
  const flags = new Set<string>();
  let how: How = "equals";
  let part: TimePart | undefined;
  for (const name of names) {
    if (hows.has(name)) how = how === "equals" ? (name as How) : fail("only one of contains, startswith, endswith");
    else if (comparisons.has(name) || name === "re" || name === "cidr" || name === "exists" || name === "fieldref")
      kinds.push(name as Kind);
    else if (encodings.has(name)) chain.push(name as Encoding);
    else if (Object.hasOwn(regexFlags, name)) flags.add(regexFlags[name]!);
    else if (isTimePart(name)) part = part === undefined ? name : fail(`${part} and ${name} cannot be combined`);
    else if (!["all", "cased", "windash", "neq", "expand"].includes(name)) fail(`unknown modifier "${name}"`);
  }
  if (kinds.length > 1) fail(`${kinds.join(" and ")} cannot be combined`);
  const kind = kinds[0] ?? how;
  if (flags.size > 0 && kind !== "re") fail("i, m and s only follow re");
  if (how !== "equals" && kinds.length > 0 && kind !== "fieldref") fail(`${how} cannot be combined with ${kind}`);
  if (kinds.length > 0 && (chain.length > 0 || seen.has("windash"))) fail(`encodings and windash cannot be combined with ${kind}`);
  if (part !== undefined && !(kind === "equals" || comparisons.has(kind))) fail(`${part} can only be compared with lt, lte, gt and gte`);
  if (part !== undefined && (chain.length > 0 || seen.has("windash") || seen.has("cased"))) fail(`${part} is a number, not a text`);
  return {
    field,
    modifiers: {
      kind,
      how,
      all: seen.has("all"),
      negated: seen.has("neq"),
      cased: seen.has("cased"),
      windash: seen.has("windash"),
      encodings: chain,
      flags: [...flags].sort().join(""),
      part,
      placeholders: seen.has("expand") ? placeholders : undefined,
    },
  };
}

/** The tests one value stands for: any of them passing is the value matching. Throws RuleError. */
export function testsOf(value: Yaml, modifiers: Modifiers, key: string): FieldTest[] {
  const fail = (message: string): never => {
    throw new RuleError(value.line, `"${key}": ${message}`);
  };
  if (value.kind === "list" || value.kind === "map") return fail("a value must be a text, a number, true, false or null");
  if (value.kind === "null")
    return modifiers.kind === "equals" ? [{ kind: "null" }] : fail(`null cannot be combined with ${modifiers.kind}`);
  if (!modifiers.placeholders) return testsOfText(value, modifiers, fail);
  const forms = expand(value.text, modifiers.placeholders, value.line, (name) => {
    const what = `placeholder %${name}% is not defined: add a document such as "placeholders: { ${name}: [...] }"`;
    return new Unsupported(value.line, `unsupported: "${key}": ${what}; the rule is not loaded`);
  });
  return forms.flatMap((text) => testsOfText({ ...value, text }, modifiers, fail));
}

function testsOfText({ text }: Scalar, modifiers: Modifiers, fail: (message: string) => never): FieldTest[] {
  const { kind, cased, part } = modifiers;
  if (part !== undefined) return [timeTest(text, part, comparisons.has(kind) ? (kind as Comparison) : "eq", fail)];
  switch (kind) {
    case "re": {
      checkRegex(text, modifiers.flags, fail);
      const { literals, atLeast } = needsOf(text);
      const long = atLeast >= LONG;
      return [{ kind: "regex", source: text, flags: modifiers.flags, ...(literals.length > 0 && { literals }), ...(long && { atLeast }) }];
    }
    case "cidr": {
      const network = parseNetwork(text) ?? fail(`"${text.slice(0, 60)}" is not a network such as 192.0.2.0/24 or 2001:db8::/32`);
      return [{ kind: "cidr", ...network }];
    }
    case "exists":
      if (text !== "true" && text !== "false") return fail("exists takes true or false");
      return [{ kind: "exists", wanted: text === "true" }];
    case "fieldref":
      return [{ kind: "fieldref", field: text, how: modifiers.how, cased }];
    case "lt":
    case "lte":
    case "gt":
    case "gte":
      return [{ kind: "compare", than: kind, number: numberOf(text, fail) }];
    default:
      return textForms(text, modifiers, fail).map((form) => textTest(form, kind, cased));
  }
}

const isTimePart = (name: string): name is TimePart => (timeParts as readonly string[]).includes(name);

function timeTest(text: string, part: TimePart, than: Comparison | "eq", fail: (message: string) => never): FieldTest {
  return { kind: "time", part, than, number: numberOf(text, fail) };
}

function numberOf(text: string, fail: (message: string) => never): number {
  const number = text.trim() === "" ? Number.NaN : Number(text);
  return Number.isFinite(number) ? number : fail(`"${text.slice(0, 60)}" is not a number that can be compared`);
}

function checkRegex(pattern: string, flags: string, fail: (message: string) => never): void {
  try {
    linearRegex(pattern, flags);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    fail(`regular expression not usable (look-around and back-references are not supported): ${why.slice(0, 200)}`);
  }
}

function textForms(text: string, modifiers: Modifiers, fail: (message: string) => never): string[] {
  const dashed = modifiers.windash ? (windash(text) ?? fail("windash: too many flags in one value")) : [text];
  if (modifiers.encodings.length === 0) return dashed;
  if (dashed.some(hasWildcard)) return fail("a value that is encoded cannot have wildcards");
  // The encoded text is data, not a pattern: base64 has no wildcard or backslash, UTF-16 may.
  return dashed.flatMap((form) => encode(plain(form), modifiers.encodings)).map((form) => form.replaceAll(/[\\*?]/g, "\\$&"));
}
