// The half of rules/gen.ts that is about correlations: `*.correlation.yml` hold them with the rules that are only there for them.
import { parseRules } from "../engine.ts";
import type { Rule, RuleFile } from "../rule.ts";
import type { Known } from "./link.ts";

export const isOfCorrelation = (name: string): boolean => name.endsWith(".correlation.yml");

/** Throws when a shipped correlation has an error or a warning. `rules`: the shipped ones, which they may refer to. */
export function parseBuiltinCorrelations(files: readonly RuleFile[], rules: readonly Rule[]): Known {
  const { rules: parts, correlations, errors, warnings } = parseRules(files, { rules, correlations: [] });
  const problem = errors[0] ?? warnings[0];
  if (problem) throw new Error(`${problem.file}:${problem.line}: ${problem.message}`);
  return { rules: parts, correlations };
}

/** The module's text; the same correlations give the same text. */
export function generateCorrelations({ rules, correlations }: Known): string {
  const rows = (of: readonly unknown[]) => of.map((one) => `  ${JSON.stringify(JSON.stringify(one))},`).join("\n");
  return `// Generated from rules/builtin/**.correlation.yml by \`bun rules/gen.ts\`. Do not edit.\nexport const partRows: readonly string[] = [\n${rows(rules)}\n];\nexport const correlationRows: readonly string[] = [\n${rows(correlations)}\n];\n`;
}
