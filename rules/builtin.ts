// The rules Picket ships. Each lies in builtin/<tactic>/ beside its samples.
import { builtinFiles } from "./builtin.gen.ts";
import { parseRules } from "./engine.ts";
import type { Rule } from "./rule.ts";

let parsed: readonly Rule[] | undefined;

/** Parsed on first use and kept: agent and detector ask at start, the console for titles. Throws when a shipped rule is broken. */
export function builtinRules(): readonly Rule[] {
  if (parsed) return parsed;
  const { rules, errors, warnings } = parseRules(builtinFiles);
  const problem = errors[0] ?? warnings[0];
  if (problem) throw new Error(`shipped rule ${problem.file}:${problem.line}: ${problem.message}`);
  parsed = rules;
  return rules;
}
