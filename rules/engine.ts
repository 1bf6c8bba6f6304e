// The rule engine's public face: texts of rule files in, a matcher for single events out.
import { type Correlation, isCorrelation } from "./correlation/correlation.ts";
import { type Known, type Read as LinkedDocument, linkCorrelations } from "./correlation/link.ts";
import type { Rule, RuleFile, RuleProblem } from "./rule.ts";
import { applyFilters, type Filter, parseFilter } from "./sigma/filter.ts";
import { attempt, checkTaxonomy, correlationMeta, readRule, required, sourceOf } from "./sigma/parse.ts";
import { type Placeholders, readPlaceholders } from "./sigma/placeholders.ts";
import { type Document, get, MAX_FILE, RuleError, readYaml, splitDocuments, textOf, type Yaml } from "./sigma/yaml.ts";

export { compileRules } from "./matcher.ts";
export type { Level, Matcher, Rule, RuleFile, RuleProblem } from "./rule.ts";

export type ParsedRules = {
  /** Rules that can fire, in the order of the files. */
  readonly rules: readonly Rule[];
  /** Correlations over them that can. */
  readonly correlations: readonly Correlation[];
  /** Rule documents seen, loaded or not; correlations are rules, filters are not. */
  readonly documents: number;
  readonly errors: readonly RuleProblem[];
  readonly warnings: readonly RuleProblem[];
};

type Problems = { readonly errors: RuleProblem[]; readonly warnings: RuleProblem[] };
/** `root`: undefined for what cannot be read. */
type Read = { readonly file: string; readonly document: Document; readonly root: Yaml | undefined };

/**
 * Parses Sigma files (Sigma specification 2; several documents in a file, split by `---`). Never throws, and one bad rule never stops others.
 * Documents with `filter` or `placeholders` hold for all the files, wherever they stand; so do names that correlations use.
 * A rule that is valid but cannot fire on our events (other log source, missing field) is a warning and not in `rules`.
 * `known`: what correlations may refer to besides what the files hold.
 */
export function parseRules(files: readonly RuleFile[], known: Known = { rules: [], correlations: [] }): ParsedRules {
  const problems: Problems = { errors: [], warnings: [] };
  const read = files.flatMap((file) => documentsOf(file, problems));
  const placeholders = new Map<string, readonly string[]>();
  const filters: Filter[] = [];
  const loaded = new Loaded(problems);
  const documents: LinkedDocument[] = [];
  for (const { file, root } of read) if (isPlaceholders(root)) readPlaceholders(file, root, placeholders, problems.errors);
  for (const { file, document, root } of read) {
    if (!root || isPlaceholders(root)) continue;
    if (get(root, "filter")) filters.push(...take(problems, file, () => filterOf(file, root, placeholders)));
    else {
      const [rule] = isCorrelation(root)
        ? []
        : take(problems, file, (warn) => readRule(file, document, root, placeholders, warn)).filter((one) => one !== undefined);
      if (rule) loaded.add(rule, textOf(root, "name"));
      documents.push({ file, root, rule, meta: correlationMeta(root, file, document, problems.warnings) });
    }
  }
  const filtered = applyFilters(loaded.rules, filters, (rule) => loaded.names.get(rule.id));
  const linked = linkCorrelations(documents, filtered.rules, known);
  return {
    rules: linked.rules,
    correlations: linked.correlations,
    documents: documents.length + read.filter(({ root }) => !root).length,
    errors: inOrder([...problems.errors, ...linked.errors], files),
    warnings: inOrder([...problems.warnings, ...filtered.warnings, ...linked.warnings], files),
  };
}

function inOrder(problems: readonly RuleProblem[], files: readonly RuleFile[]): RuleProblem[] {
  const at = new Map(files.map(({ file }, index) => [file, index]));
  return problems.toSorted((a, b) => at.get(a.file)! - at.get(b.file)! || a.line - b.line);
}

const isPlaceholders = (root: Yaml | undefined): root is Yaml =>
  root !== undefined && get(root, "placeholders") !== undefined && get(root, "detection") === undefined;

function documentsOf({ file, text }: RuleFile, problems: Problems): Read[] {
  const fail = (line: number, message: string) => {
    problems.errors.push({ file, line, message });
    return [];
  };
  if (text.length > MAX_FILE) return fail(1, `the file is larger than ${MAX_FILE >> 20} MiB: split it`);
  const nul = text.indexOf("\0");
  if (nul >= 0) return fail(text.slice(0, nul).split("\n").length, "the file holds a NUL character: if it is a text, save it as UTF-8");
  const found = splitDocuments(text);
  if (found.length === 0) problems.warnings.push({ file, line: 1, message: "the file holds no rule" });
  return found.map((document) => ({ file, document, root: take(problems, file, () => readYaml(document))[0] }));
}

/** What `read` makes, in a list; none when it fails, which is told. */
function take<T>(problems: Problems, file: string, read: Parameters<typeof attempt<T>>[1]): T[] {
  const { result, errors, warnings } = attempt(file, read);
  problems.errors.push(...errors);
  problems.warnings.push(...warnings);
  return result === undefined ? [] : [result];
}

function filterOf(file: string, root: Yaml, placeholders: Placeholders): Filter {
  checkTaxonomy(root);
  required(root, "title");
  const logsource = get(root, "logsource");
  if (!logsource) throw new RuleError(root.line, "the filter has no logsource");
  return parseFilter(file, root, { source: sourceOf(logsource), placeholders });
}

/** Rules so far; an id belongs to the rule that was first to use it. */
class Loaded {
  readonly rules: Rule[] = [];
  /** Sigma's `name` of rules that have one, by id. */
  readonly names = new Map<string, string>();
  readonly #byId = new Map<string, Rule>();
  readonly #problems: Problems;

  constructor(problems: Problems) {
    this.#problems = problems;
  }

  add(rule: Rule, name: string | undefined): void {
    const first = this.#byId.get(rule.id);
    if (first) {
      const message = `id ${rule.id} is already used by "${first.title}" (${first.file}:${first.line}); this rule is not loaded`;
      this.#problems.errors.push({ file: rule.file, line: rule.line, message });
      return;
    }
    this.#byId.set(rule.id, rule);
    if (name !== undefined) this.names.set(rule.id, name);
    this.rules.push(rule);
  }
}
