// The rules Picket ships. Each lies in builtin/<tactic>/ beside its samples.
import { builtinRows } from "./builtin.gen.ts";
import type { Rule } from "./rule.ts";

let read: readonly Rule[] | undefined;

/** The shipped rules, in the order of their files. They were parsed and checked by rules/gen.ts: the parser costs a device 40 MB. */
export function builtinRules(): readonly Rule[] {
  read ??= builtinRows.map((row) => JSON.parse(row) as Rule);
  return read;
}
