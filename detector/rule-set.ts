import type { Correlation } from "@picket/rules/correlation/correlation";
import { shipped } from "@picket/rules/load";
import type { Rule } from "@picket/rules/rule";

export type SigmaSet = { readonly rules: readonly Rule[]; readonly correlations: readonly Correlation[] };

/** A rule of the site replaces the shipped one of the same id. */
export function together<T extends { readonly id: string }>(shipped: readonly T[], given: readonly T[]): T[] {
  const ids = new Set(given.map(({ id }) => id));
  return [...shipped.filter(({ id }) => !ids.has(id)), ...given];
}

/** What a site runs: with `builtin` also what Picket ships. Of that, the rules that `given` refers to are there in any case. */
export function ruleSet(builtin: boolean, given: SigmaSet): SigmaSet {
  const all = shipped();
  if (builtin) return { rules: together(all.rules, given.rules), correlations: together(all.correlations, given.correlations) };
  const needed = new Set<string>();
  for (let found: readonly Correlation[] = given.correlations; found.length > 0; ) {
    const ids = found.flatMap(({ rules }) => rules).filter((id) => !needed.has(id));
    for (const id of ids) needed.add(id);
    found = all.correlations.filter(({ id }) => ids.includes(id));
  }
  const asPart = <T extends { readonly id: string }>(of: readonly T[]) =>
    of.filter(({ id }) => needed.has(id)).map((one) => ({ ...one, alerts: false, part: true }));
  return { rules: together(asPart(all.rules), given.rules), correlations: together(asPart(all.correlations), given.correlations) };
}
