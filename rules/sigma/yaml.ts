// YAML as rule authors write it, with the line of every value, and bounded before it is trusted: a rule pack may come from anybody.
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from "yaml";

/** Bytes of one file, and of one rule in it (UTF-16 units, near enough). SigmaHQ's largest rule has 50 KB. */
export const MAX_FILE = 8 << 20;
export const MAX_DOCUMENT = 256 << 10;
const MAX_DEPTH = 16;
const MAX_ALIASES = 100;
/** Counted after aliases are followed, so that ten lines of `[*a, *a]` cannot become a billion values. */
const MAX_NODES = 50_000;

export type Scalar = {
  readonly kind: "scalar";
  readonly type: "string" | "number" | "boolean";
  readonly text: string;
  readonly line: number;
};
export type List = { readonly kind: "list"; readonly items: readonly Yaml[]; readonly line: number };
export type Entry = { readonly key: string; readonly line: number; readonly value: Yaml };
export type YamlMap = { readonly kind: "map"; readonly entries: readonly Entry[]; readonly line: number };
export type Yaml = { readonly kind: "null"; readonly line: number } | Scalar | List | YamlMap;

/** A rule that cannot be used, and where. Thrown inside the parser, reported by it as a RuleProblem. */
export class RuleError extends Error {
  readonly line: number;
  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

export type Document = { readonly text: string; readonly line: number };

/**
 * The documents of a file, each to be parsed on its own, so that one broken rule spares the others.
 * A line that starts with `---` is a document marker even inside a block text (YAML 1.2, 9.1.2), so no parser is needed to find them.
 */
export function splitDocuments(text: string): Document[] {
  const documents: Document[] = [];
  let lines: string[] = [];
  let first = 1;
  const end = () => {
    if (lines.some((line) => !/^\s*(#|$)|^%|^\.\.\.\s*$/.test(line))) documents.push({ text: lines.join("\n"), line: first });
  };
  for (const [index, line] of text
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .entries()) {
    if (/^---(\s|$)/.test(line)) {
      end();
      lines = [line.slice(3)];
      first = index + 1;
    } else lines.push(line);
  }
  end();
  return documents;
}

/** One document as a tree of plain values. Throws RuleError: syntax, size, depth, duplicate keys, aliases that multiply. */
export function readYaml({ text, line: firstLine }: Document): Yaml {
  if (text.length > MAX_DOCUMENT) throw new RuleError(firstLine, `the rule is larger than ${MAX_DOCUMENT >> 10} KiB: split it`);
  const counter = new LineCounter();
  // Its own check of unique keys compares every pair: 10,000 keys take a second. `reader` does it in one pass.
  const document = parseBounded(text, counter, firstLine);
  const lineOf = (node: Node | null | undefined) => firstLine - 1 + (node?.range ? counter.linePos(node.range[0]).line : 1);
  const error = document.errors[0];
  if (error)
    throw new RuleError(
      firstLine - 1 + (error.linePos?.[0].line ?? 1),
      `not valid YAML: ${error.message.split("\n", 1)[0]?.replace(/ at line.*$/, "")}`,
    );
  return reader(lineOf)(document.contents, 0, firstLine);
}

function parseBounded(text: string, lineCounter: LineCounter, firstLine: number) {
  try {
    return parseDocument(text, { lineCounter, uniqueKeys: false, prettyErrors: true });
  } catch (error) {
    // The library recurses: thousands of open brackets end here.
    throw new RuleError(firstLine, `not readable as YAML (${String(error).slice(0, 100)}): is it nested very deep?`);
  }
}

function reader(lineOf: (node: Node | null | undefined) => number) {
  const anchors = new Map<string, Node>();
  let nodes = 0;
  let aliases = 0;

  return function read(node: unknown, depth: number, parentLine: number): Yaml {
    if (node === null || node === undefined) return { kind: "null", line: parentLine };
    const line = lineOf(node as Node);
    if (depth > MAX_DEPTH) throw new RuleError(line, `nested deeper than ${MAX_DEPTH} levels`);
    if (++nodes > MAX_NODES) throw new RuleError(line, `more than ${MAX_NODES} values (aliases count each time)`);
    if (isAlias(node)) {
      const target = anchors.get(node.source);
      if (!target) throw new RuleError(line, `alias *${node.source} has no anchor before it`);
      if (++aliases > MAX_ALIASES) throw new RuleError(line, `more than ${MAX_ALIASES} aliases`);
      return read(target, depth + 1, line);
    }
    if ((isScalar(node) || isMap(node) || isSeq(node)) && node.anchor) anchors.set(node.anchor, node);
    if ((isScalar(node) || isMap(node) || isSeq(node)) && node.tag && !plainTags.has(node.tag))
      throw new RuleError(line, `tag ${node.tag.slice(0, 60)} is not used in rules: remove it`);
    if (isScalar(node)) return scalar(node.value, node.source, line);
    if (isSeq(node)) return { kind: "list", line, items: node.items.map((item) => read(item, depth + 1, line)) };
    if (isMap(node)) return { kind: "map", line, entries: entries(node.items, read, depth, lineOf, line) };
    throw new RuleError(line, "this kind of YAML value is not used in rules");
  };
}

const plainTags: ReadonlySet<string> = new Set(
  ["str", "int", "float", "bool", "null", "map", "seq"].map((name) => `tag:yaml.org,2002:${name}`),
);

type Read = (node: unknown, depth: number, parentLine: number) => Yaml;

function entries(pairs: readonly Pair[], read: Read, depth: number, lineOf: (node: Node) => number, mapLine: number): Entry[] {
  const seen = new Map<string, number>();
  const own = pairs.map((pair): Entry => {
    const key = read(pair.key, depth + 1, mapLine);
    if (key.kind !== "scalar") throw new RuleError(key.line, "a key must be plain text");
    const line = lineOf(pair.key as Node);
    const before = seen.get(key.text);
    if (before !== undefined) throw new RuleError(line, `key "${key.text}" occurs twice (first at line ${before}); YAML keeps only one`);
    seen.set(key.text, line);
    return { key: key.text, line, value: read(pair.value, depth + 1, line) };
  });
  const merged = own.find(({ key }) => key === "<<");
  return merged ? withMerged(own, merged) : own;
}

/** YAML 1.1's merge key, which rule authors' tools know: keys of the maps it names, where the map itself has none of that name. */
function withMerged(own: readonly Entry[], { line, value }: Entry): Entry[] {
  const entries = new Map(own.flatMap((entry) => (entry.key === "<<" ? [] : [[entry.key, entry] as const])));
  for (const map of value.kind === "list" ? value.items : [value]) {
    if (map.kind !== "map") throw new RuleError(line, '"<<" merges maps: write an alias of one, such as *name');
    for (const entry of map.entries) if (!entries.has(entry.key)) entries.set(entry.key, entry);
  }
  return [...entries.values()];
}

function scalar(value: unknown, source: string | undefined, line: number): Yaml {
  if (value === null) return { kind: "null", line };
  if (typeof value === "string") return { kind: "scalar", type: "string", text: value, line };
  if (typeof value === "boolean") return { kind: "scalar", type: "boolean", text: String(value), line };
  // As written: 0777 and 1.10 are texts to most fields.
  if (typeof value === "number") return { kind: "scalar", type: "number", text: source ?? String(value), line };
  throw new RuleError(line, "this kind of YAML value is not used in rules");
}

/** The value of a key, where `node` is a map that has it. */
export const get = (node: Yaml, key: string): Yaml | undefined =>
  node.kind === "map" ? node.entries.find((entry) => entry.key === key)?.value : undefined;

/** The text of a key. Undefined when it is missing or empty; throws RuleError when it is a list or a map. */
export function textOf(node: Yaml, key: string): string | undefined {
  const value = get(node, key);
  if (!value || value.kind === "null") return undefined;
  if (value.kind !== "scalar") throw new RuleError(value.line, `${key} must be one text`);
  return value.text;
}

/** The texts of a key that holds one or a list of them; null entries are left out. */
export function textsOf(node: Yaml, key: string): string[] {
  const value = get(node, key);
  if (!value || value.kind === "null") return [];
  const items = value.kind === "list" ? value.items : [value];
  return items.flatMap((item) => {
    if (item.kind === "null") return [];
    if (item.kind !== "scalar") throw new RuleError(item.line, `${key} must be a list of texts`);
    return [item.text];
  });
}
