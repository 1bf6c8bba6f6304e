// The rule engine's public face: texts of rule files in, a matcher for single events out.
import type { Rule, RuleFile, RuleProblem } from "./rule.ts";
import { parseSigma } from "./sigma/parse.ts";
import { MAX_FILE, splitDocuments } from "./sigma/yaml.ts";

export { compileRules } from "./matcher.ts";
export type { Level, Matcher, Rule, RuleFile, RuleProblem } from "./rule.ts";

export type ParsedRules = {
  /** Rules that can fire, in the order of the files. */
  readonly rules: readonly Rule[];
  /** Rule documents seen, loaded or not. */
  readonly documents: number;
  readonly errors: readonly RuleProblem[];
  readonly warnings: readonly RuleProblem[];
};

/**
 * Parses Sigma files (Sigma specification 2; several documents in a file, split by `---`). Never throws, and one bad rule never stops others.
 * A rule that is valid but cannot fire on our events (other log source, missing field, correlation) is a warning and not in `rules`.
 */
export function parseRules(files: readonly RuleFile[]): ParsedRules {
  const rules: Rule[] = [];
  const errors: RuleProblem[] = [];
  const warnings: RuleProblem[] = [];
  const seen = new Map<string, Rule>();
  let documents = 0;
  for (const { file, text } of files) {
    if (text.length > MAX_FILE) {
      errors.push({ file, line: 1, message: `the file is larger than ${MAX_FILE >> 20} MiB: split it` });
      continue;
    }
    const found = splitDocuments(text);
    if (found.length === 0) warnings.push({ file, line: 1, message: "the file holds no rule" });
    for (const document of found) {
      documents++;
      const parsed = parseSigma(file, document);
      errors.push(...parsed.errors);
      warnings.push(...parsed.warnings);
      if (!parsed.rule) continue;
      const first = seen.get(parsed.rule.id);
      if (first) {
        errors.push({
          file,
          line: parsed.rule.line,
          message: `id ${parsed.rule.id} is already used by "${first.title}" (${first.file}:${first.line}); this rule is not loaded`,
        });
        continue;
      }
      seen.set(parsed.rule.id, parsed.rule);
      rules.push(parsed.rule);
    }
  }
  return { rules, documents, errors, warnings };
}
