import type { Rule } from "@picket/rules/rule";

/** A rule of the site replaces the shipped one of the same id. */
export function together(shipped: readonly Rule[], given: readonly Rule[]): Rule[] {
  const ids = new Set(given.map((rule) => rule.id));
  return [...shipped.filter((rule) => !ids.has(rule.id)), ...given];
}
