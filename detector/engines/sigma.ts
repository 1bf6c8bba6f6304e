// The Sigma engine: what matches here, and what the device already saw match.
import type { SensorEvent } from "@picket/protocol/event";
import type { Matcher } from "@picket/rules/rule";
import type { RuleFacts } from "../finding.ts";
import { clean } from "../text.ts";

/** Rules only devices know of that are kept at hand; past it they are made anew for each hit. */
const MAX_UNKNOWN = 1000;

export type SigmaEngine = {
  match(event: SensorEvent): readonly RuleFacts[];
  /** Whether it is a rule of this site, or of a pack that devices have. */
  knows(rule: string): boolean;
};

/** Rules that devices have and the site does not, by id. */
export type Named = (rule: string) => RuleFacts | undefined;

/**
 * Rules that match an event here, joined with the `hits` its device reported. A hit is a fact even when the rule is
 * unknown here and to `named`: then its title is its id, its severity medium.
 */
export function sigmaEngine(rules: readonly RuleFacts[], matcher: Matcher, named: Named = () => undefined): SigmaEngine {
  const known = new Map(rules.map((rule) => [rule.id, rule]));
  const unknown = new Map<string, RuleFacts>();

  function factsOf(id: string): RuleFacts {
    const facts = known.get(id) ?? (isReserved(id) ? undefined : named(id)) ?? unknown.get(id);
    if (facts) return facts;
    const made = unknownRule(id);
    if (unknown.size < MAX_UNKNOWN) unknown.set(id, made);
    return made;
  }

  return {
    knows: (id) => known.has(id) || (!isReserved(id) && named(id) !== undefined),
    match(event) {
      const here: readonly RuleFacts[] = matcher.match(event);
      if (!event.hits || event.hits.length === 0) return here;
      const union = new Map(here.map((rule) => [rule.id, rule]));
      for (const hit of event.hits) {
        const facts = factsOf(hit.rule);
        if (!union.has(facts.id)) union.set(facts.id, facts);
      }
      return [...union.values()];
    },
  };
}

/** Names of what the site itself decides. A device, or a pack, does not speak in them. */
const isReserved = (id: string): boolean => id.startsWith("picket-");

function unknownRule(reported: string): RuleFacts {
  const id = clean(isReserved(reported) ? `reported:${reported}` : reported, 128) || "unnamed";
  return { id, title: id, level: "medium", attack: { tactics: [], techniques: [] }, score: 35, alerts: true };
}
