// A rule over stored batches: every event a rule matches; for what is told by several events, the alerts a site would have made.
import type { Alert } from "@picket/protocol/alert";
import { BadBatch, decodeBatch } from "@picket/protocol/batch";
import { eventId, type SensorEvent } from "@picket/protocol/event";
import { builtinRules } from "@picket/rules/builtin";
import { compileRules, type Rule } from "@picket/rules/engine";
import { chains } from "./correlate/chains.ts";
import { Order, perform, type Step } from "./order.ts";
import { createPipeline } from "./pipeline.ts";
import { ruleSet, type SigmaSet } from "./rule-set.ts";

export type Hit =
  | { readonly rule: Pick<Rule, "id" | "title" | "level">; readonly event: SensorEvent & { id: string } }
  | { readonly rule: Pick<Rule, "id" | "title" | "level">; readonly alert: Alert };

export type Hunt = {
  /** Takes a stored batch, in the order of the log. What cannot be read is counted. */
  take(batch: Uint8Array, receivedMs: number): Hit[];
  /** What was still growing in the end. */
  rest(): Hit[];
  readonly events: number;
  readonly refused: number;
};

/** What a hunt may look for besides Sigma rules: sequences, which Picket ships. */
export const sequences: readonly Pick<Rule, "id" | "title" | "level">[] = chains;

/** Nobody stores what is decided step by step here: past this it is let go. */
const MAX_PENDING = 5000;

type Reading = { events: number; refused: number };

/** Hunts for single events. Hits that devices reported for these rules count, as they do at a site. */
function huntEvents(rules: readonly Rule[]): Hunt {
  const matcher = compileRules(rules);
  const known = new Map(rules.map((rule) => [rule.id, rule]));
  const reading: Reading = { events: 0, refused: 0 };
  return {
    take: (batch, receivedMs) => {
      const hits: Hit[] = [];
      for (const event of read(batch, reading)?.events ?? []) {
        const matched = new Set<Rule>(matcher.match(event));
        for (const { rule } of event.hits ?? []) {
          const reported = known.get(rule);
          if (reported) matched.add(reported);
        }
        for (const rule of matched) hits.push({ rule: brief(rule), event: { id: eventId(event), ...event, receivedMs } });
      }
      return hits;
    },
    rest: () => [],
    get events() {
      return reading.events;
    },
    get refused() {
      return reading.refused;
    },
  };
}

/** Hunts for a sequence, with everything it rests on: the whole pipeline with the rules Picket ships. An alert comes when it cannot grow any more. */
export function huntSequence(id: string): Hunt {
  const rules = builtinRules();
  return huntAlerts({ rules, correlations: [] }, [sequences.find((one) => one.id === id)!]);
}

/** Hunts for what rules match and for what correlations over them say, over windows as long as they are. Rules that are only there for correlations are not told. */
export function huntTogether(of: SigmaSet): Hunt {
  const events = huntEvents(of.rules.filter(({ part }) => !part));
  if (of.correlations.length === 0) return events;
  const wanted = of.correlations.filter(({ part }) => !part);
  const alerts = huntAlerts(ruleSet(false, of), wanted);
  return {
    take: (batch, receivedMs) => [...events.take(batch, receivedMs), ...alerts.take(batch, receivedMs)],
    rest: () => alerts.rest(),
    get events() {
      return alerts.events;
    },
    get refused() {
      return alerts.refused;
    },
  };
}

/** The alerts of `wanted` that a site with these rules would have made. */
function huntAlerts({ rules, correlations }: SigmaSet, wanted: readonly Pick<Rule, "id" | "title" | "level">[]): Hunt {
  // Asked for, they are told whatever their level.
  const loud = correlations.map((one) => (wanted.some(({ id }) => id === one.id) ? { ...one, alerts: true } : one));
  const pipeline = createPipeline({ site: "hunt", rules, correlations: loud, matcher: compileRules(rules) });
  const order = new Order();
  const reading: Reading = { events: 0, refused: 0 };
  const named = new Map(wanted.map((rule) => [rule.id, brief(rule)]));
  let lastMs = 0;
  const hitsOf = (alerts: readonly Omit<Alert, "status" | "notes">[]): Hit[] =>
    alerts.flatMap((alert): Hit[] => {
      const rule = named.get(alert.rule.id);
      return rule ? [{ rule, alert: { ...alert, status: "open", notes: [] } }] : [];
    });
  const performAll = (steps: readonly Step[]) => {
    for (const step of steps) perform(pipeline, step);
  };
  return {
    take: (batch, receivedMs) => {
      const decoded = read(batch, reading);
      if (!decoded) return [];
      lastMs = receivedMs;
      const { header, events } = decoded;
      const reports = events.map((event) => ({ event, arrival: { id: eventId(event), boot: header.boot, receivedMs, silent: false } }));
      performAll(order.take({ header, receivedMs, silent: false, reports }));
      const { alerts, seen, correlated, closed } = pipeline.pending;
      return closed > 0 || alerts + seen + correlated > MAX_PENDING ? hitsOf(pipeline.take().closed) : [];
    },
    rest: () => {
      performAll(order.rest(lastMs));
      pipeline.end();
      return hitsOf([...pipeline.take().closed, ...pipeline.growing()]);
    },
    get events() {
      return reading.events;
    },
    get refused() {
      return reading.refused;
    },
  };
}

const brief = ({ id, title, level }: Pick<Rule, "id" | "title" | "level">) => ({ id, title, level });

function read(batch: Uint8Array, reading: Reading): ReturnType<typeof decodeBatch> | undefined {
  try {
    const decoded = decodeBatch(batch);
    reading.events += decoded.events.length;
    reading.refused += decoded.refused;
    return decoded;
  } catch (error) {
    if (!(error instanceof BadBatch)) throw error;
    reading.refused++;
    return undefined;
  }
}
