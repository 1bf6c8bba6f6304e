import type { Hit, SensorEvent } from "@picket/protocol/event";
import { builtinRules } from "@picket/rules/builtin";
import { compileRules } from "@picket/rules/matcher";
import type { z } from "zod";

export type HitOf = z.infer<typeof Hit>;
/** Most hits one event carries (protocol/event.ts). */
const MAX_HITS = 64;

/**
 * The shipped rules, compiled. They make no alerts here: a hit is a fact for the detector, which honours it even when its own rules differ.
 * Throws when a shipped rule is broken, which a test of the rules prevents.
 */
export function localRules(): (event: SensorEvent) => HitOf[] {
  const matcher = compileRules(builtinRules());
  return (event) =>
    matcher
      .match(event)
      .slice(0, MAX_HITS)
      .map(({ id, version }) => ({ rule: id, version }));
}
