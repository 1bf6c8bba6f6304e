// What engines say and correlation adds up: the one shape every engine's result takes.
import type { Detection, Severity } from "@picket/protocol/alert";
import type { SensorEvent } from "@picket/protocol/event";
import type { Level } from "@picket/rules/rule";

/** A rule, as far as scoring and alerts need it. `Rule` of @picket/rules is one. */
export type RuleFacts = {
  readonly id: string;
  readonly title: string;
  readonly level: Level;
  readonly author?: string;
  /** What an operator should do. */
  readonly todo?: string;
  readonly attack: { readonly tactics: readonly string[]; readonly techniques: readonly string[] };
  /** Points for the process. */
  readonly score: number;
  /** False: a match only adds to the score of the process. */
  readonly alerts: boolean;
  /** It is only there for Sigma's correlations: alone it neither alerts nor counts for a process. */
  readonly part?: boolean;
};

/** When and as what an event reached the detector. */
export type Arrival = {
  /** Id of the event. */
  readonly id: string;
  /** Boot id: (boot, pid, startTicks) names a process. */
  readonly boot: string;
  /** Of its batch in the log; undefined in recordings, where no exception holds. */
  readonly offset?: number;
  /** When the broker stored it. Milliseconds. */
  readonly receivedMs: number;
  /** Where it waited for events before it: when it came itself, while `receivedMs` is when it went on. */
  readonly anchorMs?: number;
  /** True while windows are filled again after a start: nothing is emitted or counted. */
  readonly silent: boolean;
  /** Another lane decides what it means; it is only remembered. */
  readonly foreign?: boolean;
};

const severityOfLevel: Record<Level, Severity> = {
  informational: "low",
  low: "low",
  medium: "medium",
  high: "high",
  critical: "critical",
};

export const severityOf = (rule: RuleFacts): Severity => severityOfLevel[rule.level];

/** What an engine other than Sigma says of one event. */
export type Finding = {
  readonly engine: Exclude<Detection["rule"]["engine"], "sigma" | "correlation" | "broker">;
  readonly rule: RuleFacts;
  /** What an operator would call the same thing; default: the same program started by the same parent. At most `MAX_GROUP_KEY`. */
  readonly group?: string;
  /** One plain sentence: what was seen, and what made it suspicious. */
  readonly summary: string;
  /** What it is about; default: the event and its process. Of a device: the process is not blamed, and its score does not rise. */
  readonly about?: "device";
  /** Earlier events that it rests on, and the device's time of the first. */
  readonly before?: { readonly eventIds: readonly string[]; readonly firstMs: number };
};

/** A batch as engines are given it: in the order of the log, before any event of it is judged. */
export type EventBatch = {
  readonly events: readonly SensorEvent[];
  /** One for each event. */
  readonly arrivals: readonly Arrival[];
};

/** By the index of an event in its batch. */
export type Findings = ReadonlyMap<number, readonly Finding[]>;

/** An event as the pipeline takes it. */
export type Report = { readonly event: SensorEvent; readonly arrival: Arrival; readonly findings?: readonly Finding[] | undefined };

/** An event whose rules were judged, and that was not correlated yet: all that blames its process. */
export type Judged = Report & {
  readonly rules: readonly RuleFacts[];
  /** All Sigma rules that matched, for correlations. */
  readonly matched: readonly RuleFacts[];
};

/**
 * An engine that may take its time, such as a model. It is given every batch of a session once, one after another, silent ones too. What it says depends on nothing
 * but the batches it was given: the same log gives the same alerts. Undefined at once when it has nothing to say. A rejection is logged, and the batch is judged without it.
 */
export type Engine = { readonly name: string; judge(batch: EventBatch): Promise<Findings> | undefined };
