// What a scan says of a file. Plain data: it is kept by hash for the whole site and may travel to other sites.
import { type Level, scoreOfLevel } from "@picket/rules/rule";
import type { RuleFacts } from "../../finding.ts";
import { clean } from "../../text.ts";

/** A pattern of a rule, and where the file holds it. */
export type MatchedString = {
  /** With its "$". */
  readonly identifier: string;
  /** Of the first places, from the start of the file. Bytes. */
  readonly offsets: readonly number[];
  /** How often it was found; counting stops at some thousands. */
  readonly count: number;
  /** The first place as text, "." for what is not printable ASCII. */
  readonly excerpt: string;
};

export type YaraMatch = {
  readonly rule: string;
  /** The rule file, as `problems` names it. */
  readonly file: string;
  readonly tags: readonly string[];
  readonly meta: {
    readonly title: string;
    readonly description?: string;
    readonly severity: Level;
    readonly author?: string;
    readonly reference?: string;
    /** Tactics as "credential-access", techniques as "T1059.004". */
    readonly attack: { readonly tactics: readonly string[]; readonly techniques: readonly string[] };
    /** It is meant for command lines too. */
    readonly text?: boolean;
  };
  readonly strings: readonly MatchedString[];
};

/** Why nothing is known of a file: it took too long, is larger than the limit, or the engine ended on it. */
export type ScanError = "timeout" | "too big" | "crashed";

export type Verdict = {
  readonly matches: readonly YaraMatch[];
  /** Set: the file was not judged, and `matches` is empty. */
  readonly error?: ScanError;
};

/** What scoring and alerts need of a match. Public packs are of strangers: their texts are bounded and without control characters. */
export function factsOf({ rule, meta }: YaraMatch): RuleFacts {
  return {
    id: clean(`yara:${rule}`, 128),
    title: clean(meta.title, 256),
    level: meta.severity,
    ...(meta.author === undefined ? {} : { author: clean(meta.author, 256) }),
    attack: meta.attack,
    score: scoreOfLevel[meta.severity],
    alerts: meta.severity !== "informational",
  };
}
