// What every rule language compiles to. Detector and agent see rules only through these types.
import type { SensorEvent } from "@picket/protocol/event";

export const levels = ["informational", "low", "medium", "high", "critical"] as const;
export type Level = (typeof levels)[number];

/** What a match adds to a process' score (0-200 and more) when the rule does not say: `picket: { score: N }`. */
export const scoreOfLevel: Record<Level, number> = { informational: 5, low: 15, medium: 35, high: 55, critical: 80 };

/** Plain data, so that the shipped rules can be parsed when Picket is built and not on every device. */
export type Rule = {
  readonly id: string;
  readonly title: string;
  readonly level: Level;
  /** Sigma's `modified`, else its `date`, else a hash of the text: what a device reports with a hit. */
  readonly version: string;
  readonly description?: string;
  /** Sigma's Detection Rule License asks to name the author when a rule fires. */
  readonly author?: string;
  readonly status?: string;
  readonly tags: readonly string[];
  /** From the tags: tactics as ATT&CK writes them in tags ("credential-access"), techniques as "T1059.004". */
  readonly attack: { readonly tactics: readonly string[]; readonly techniques: readonly string[] };
  readonly score: number;
  /** False: a match only adds to the score of the process. True from level medium, unless the rule says `picket: { alert: ... }`. */
  readonly alerts: boolean;
  /** Only there for correlations: a match alone neither alerts nor counts for a process. */
  readonly part?: boolean;
  /** What an operator should do, in plain words: `picket: { todo: ... }`. */
  readonly todo?: string;
  readonly falsepositives: readonly string[];
  readonly references: readonly string[];
  readonly logsource: { readonly category?: string; readonly product?: string; readonly service?: string };
  readonly file: string;
  /** Line of the rule's first key, from 1. */
  readonly line: number;
  readonly detection: Detection;
};

/** The event types a rule looks at, and what it asks of them. Made by a parser, turned into code by `compileRules`. */
export type Detection = {
  readonly events: readonly SensorEvent["type"][];
  readonly condition: Condition;
  /** The condition is written for the records of an audit log (sigma/auditd.ts), and holds when it does for one record of the event. */
  readonly records?: "auditd";
};

export type Condition =
  | { readonly op: "and" | "or"; readonly of: readonly Condition[] }
  | { readonly op: "not"; readonly of: Condition }
  | { readonly op: "constant"; readonly value: boolean }
  /** One passing test is enough. */
  | { readonly op: "field"; readonly field: string; readonly tests: readonly FieldTest[] }
  /** A keyword: looked for in every text field of the event. */
  | { readonly op: "keyword"; readonly test: FieldTest };

export type Comparison = "lt" | "lte" | "gt" | "gte";

/** Texts are lower-case unless `cased`. A list field passes when one of its values does. */
export type FieldTest =
  | { readonly kind: "equals" | "contains" | "startswith" | "endswith"; readonly text: string; readonly cased: boolean }
  /** A value with wildcards inside: `parts` are the literal pieces between `*`, each a list of characters where null is `?`. */
  | { readonly kind: "glob"; readonly parts: readonly (readonly (string | null)[])[]; readonly cased: boolean }
  | {
      readonly kind: "regex";
      readonly source: string;
      /** Of i, m, s. */
      readonly flags: string;
      /** Of each list one stands in every text that matches, once that is folded (sigma/fold.ts). Best first; absent when nothing can be told. */
      readonly literals?: readonly (readonly string[])[];
      /** UTF-16 units of the shortest text that can match, where that is long. */
      readonly atLeast?: number;
    }
  | { readonly kind: "cidr"; readonly network: readonly number[]; readonly bits: number }
  | { readonly kind: "compare"; readonly than: Comparison; readonly number: number }
  /** A part of a date (sigma/time.ts). */
  | {
      readonly kind: "time";
      readonly part: "minute" | "hour" | "day" | "week" | "month" | "year";
      readonly than: Comparison | "eq";
      readonly number: number;
    }
  | { readonly kind: "exists"; readonly wanted: boolean }
  | { readonly kind: "null" }
  | {
      readonly kind: "fieldref";
      readonly field: string;
      readonly how: "equals" | "contains" | "startswith" | "endswith";
      readonly cased: boolean;
    };

/** Something wrong with a rule file. `line` counts from 1. */
export type RuleProblem = { readonly file: string; readonly line: number; readonly message: string };

export type RuleFile = { readonly file: string; readonly text: string };

export type Matcher = {
  /** Every rule this single event matches, in the order of the rules given. Never throws. */
  match(event: SensorEvent): readonly Rule[];
};
