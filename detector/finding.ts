// What engines say and correlation adds up: the one shape every engine's result takes.
import type { Severity } from "@picket/protocol/alert";
import type { Level } from "@picket/rules/rule";

/** A rule, as far as scoring and alerts need it. `Rule` of @picket/rules is one. */
export type RuleFacts = {
  readonly id: string;
  readonly title: string;
  readonly level: Level;
  readonly author?: string;
  readonly attack: { readonly tactics: readonly string[]; readonly techniques: readonly string[] };
  /** Points for the process. */
  readonly score: number;
  /** False: a match only adds to the score of the process. */
  readonly alerts: boolean;
};

/** When and as what an event reached the detector. */
export type Arrival = {
  /** Id of the event. */
  readonly id: string;
  /** Boot id: (boot, pid, startTicks) names a process. */
  readonly boot: string;
  /** When the broker stored it. Milliseconds. */
  readonly receivedMs: number;
  /** True while windows are filled again after a start: nothing is emitted or counted. */
  readonly silent: boolean;
};

const severityOfLevel: Record<Level, Severity> = {
  informational: "low",
  low: "low",
  medium: "medium",
  high: "high",
  critical: "critical",
};

export const severityOf = (rule: RuleFacts): Severity => severityOfLevel[rule.level];
