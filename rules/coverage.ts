// How much of a rule set a device can see.
import { capabilityOf } from "@picket/protocol/collectors";
import type { Capability } from "@picket/protocol/status";
import type { Rule } from "./rule.ts";

export type RuleCoverage = { readonly live: readonly Rule[]; readonly degraded: readonly Rule[]; readonly dead: readonly Rule[] };

/**
 * Each rule by what a device with these capabilities brings it: live when all its kinds of events come in full, dead when none comes, degraded between.
 */
export function coverageOf(rules: readonly Rule[], capabilities: readonly Capability[]): RuleCoverage {
  const levels = new Map(capabilities.map(({ name, level }) => [name, level]));
  const levelOf = (capability: string) => (capability === "always" ? "live" : (levels.get(capability) ?? "off"));
  const kinds: Record<keyof RuleCoverage, Rule[]> = { live: [], degraded: [], dead: [] };
  for (const rule of rules) {
    const needs = rule.detection.events.map((type) => levelOf(capabilityOf[type]));
    const kind = needs.every((level) => level === "off") ? "dead" : needs.every((level) => level === "live") ? "live" : "degraded";
    kinds[kind].push(rule);
  }
  return kinds;
}
