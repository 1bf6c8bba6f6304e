// What a Sigma correlation says (Sigma specification 2.1, correlation rules): several events that mean more than each of them.
import type { Rule } from "../rule.ts";
import { get, type Yaml } from "../sigma/yaml.ts";

export const correlationTypes = [
  "event_count",
  "value_count",
  "temporal",
  "temporal_ordered",
  "value_sum",
  "value_avg",
  "value_percentile",
] as const;
export type CorrelationType = (typeof correlationTypes)[number];

export const boundNames = ["gt", "gte", "lt", "lte", "eq", "neq"] as const;
/** What a count, sum, average or share must be; all that are given must hold. */
export type Bounds = { readonly [K in (typeof boundNames)[number]]?: number };

/** One part of the group: its name, and which field that is for those rules for which it is another. By the rule's id. */
export type GroupField = { readonly name: string; readonly of: Readonly<Record<string, string>> };

/** Plain data, like `Rule`: shipped ones are parsed when Picket is built. Runs at the site only. */
export type Correlation = Omit<Rule, "logsource" | "detection"> & {
  readonly type: CorrelationType;
  /** Ids of rules and of other correlations, in the order in which they are written. */
  readonly rules: readonly string[];
  readonly groupBy: readonly GroupField[];
  readonly timespanMs: number;
  readonly bounds: Bounds;
  /** What is counted, summed or averaged; empty for counts of events and for sequences. */
  readonly fields: readonly GroupField[];
};

/** Names under which rule authors mean the device; a group without one of them is of the whole site. */
export const deviceFields: ReadonlySet<string> = new Set(["Computer", "ComputerName", "Hostname", "HostName", "host.name"]);

/** Whether all of `bounds` hold. */
export const holds = ({ gt, gte, lt, lte, eq, neq }: Bounds, value: number): boolean =>
  (gt === undefined || value > gt) &&
  (gte === undefined || value >= gte) &&
  (lt === undefined || value < lt) &&
  (lte === undefined || value <= lte) &&
  (eq === undefined || value === eq) &&
  (neq === undefined || value !== neq);

/** Whether it can only be told when the time is over: more events can make it untrue again. What only has a lower bound is told at once. */
export const isClosed = ({ type, bounds }: Pick<Correlation, "type" | "bounds">): boolean =>
  type === "value_avg" ||
  type === "value_percentile" ||
  [bounds.lt, bounds.lte, bounds.eq, bounds.neq].some((bound) => bound !== undefined);

/** The lowest whole number that satisfies a lower bound. */
export const atLeast = ({ gt, gte }: Bounds): number => Math.max(gte ?? 0, gt === undefined ? 0 : gt + 1);

/** Whether a document is one, rather than a rule. */
export const isCorrelation = (root: Yaml): boolean => get(root, "correlation") !== undefined;
