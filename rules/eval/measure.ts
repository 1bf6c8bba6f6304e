// What a rule set says of lines: pure counting, on rules that are compiled already.
import type { SensorEvent } from "@picket/protocol/event";
import type { Matcher, Rule } from "../engine.ts";
import type { AtomicTest, Exec, Half, Line } from "./data.ts";
import { type Evasion, evasions } from "./evasions.ts";
import { eventsOf, type Form, forms, programStart, recorded } from "./forms.ts";

/** What one rule set says of a line: of all events that it becomes. */
export type Verdict = { readonly alerts: boolean; readonly any: boolean; readonly rules: readonly Rule[] };

/** `lines` in `half`: how many alert, and how many match any rule, alerting or not. */
export type Share = { readonly lines: number; readonly alerts: number; readonly any: number };

export type Measured = {
  /** By form; then lines of a kind, in one half or in both. */
  readonly kinds: Readonly<Record<Form, Readonly<Record<Line["kind"] | "benign exec", Readonly<Record<Half | "both", Share>>>>>>;
  /** `known`: how many alert by a rule that also alerts on overt lines of another source, and so would be there without this one. */
  readonly sources: readonly { readonly kind: Line["kind"]; readonly source: string; readonly share: Share; readonly known: number }[];
  /** Overt lines of half B, disguised. */
  readonly evasions: readonly { readonly name: string; readonly share: Share }[];
  readonly rules: readonly RuleUse[];
  readonly techniques: Techniques;
  readonly trace: Share;
};
export type RuleUse = {
  readonly rule: Rule;
  readonly overt: number;
  readonly dual: number;
  readonly benign: number;
  readonly trace: number;
};
export type Techniques = {
  /** Atomic tests, those on which a rule alerts, and those on which one that names their technique (or its parent) matches. */
  readonly tests: number;
  readonly alerts: number;
  readonly named: number;
  /** Techniques of all attacks measured, those with an alert on one, and those that a matching rule names. */
  readonly known: number;
  readonly seen: number;
  readonly seenByName: number;
};

export type Input = {
  readonly lines: readonly Line[];
  readonly atomic: readonly AtomicTest[];
  readonly trace: readonly Exec[];
  readonly renumbered: ReadonlyMap<string, readonly string[]>;
};

export const headline: Form = "device";

/** What `matcher` says of a line in one form. What was recorded as a program start is one in every form. */
export function judge(matcher: Matcher, { text, parent, exec }: Pick<Line, "text" | "parent" | "exec">, form: Form): Verdict {
  return verdictOn(matcher, exec ? [recorded(text, parent)] : eventsOf(text, form, parent));
}

function verdictOn(matcher: Matcher, events: readonly SensorEvent[]): Verdict {
  const rules = new Set<Rule>();
  for (const event of events) for (const rule of matcher.match(event)) rules.add(rule);
  return { alerts: [...rules].some((rule) => rule.alerts), any: rules.size > 0, rules: [...rules] };
}

export function measure(matcher: Matcher, rules: readonly Rule[], { lines, atomic, trace, renumbered }: Input): Measured {
  const verdicts = Object.fromEntries(
    (Object.keys(forms) as Form[]).map((form) => [form, lines.map((line) => judge(matcher, line, form))]),
  ) as Record<Form, Verdict[]>;
  const main = verdicts[headline];
  const where = (of: readonly Verdict[], wanted: (line: Line) => boolean) => shareOf(of.filter((_, at) => wanted(lines[at]!)));
  const halves = (of: readonly Verdict[], wanted: (line: Line) => boolean) => ({
    A: where(of, (line) => line.half === "A" && wanted(line)),
    B: where(of, (line) => line.half === "B" && wanted(line)),
    both: where(of, wanted),
  });
  const pairs = [...new Set(lines.map(({ kind, source }) => `${kind} ${source}`))].sort();
  const seen = trace.map(({ argv, exe, parent }) => verdictOn(matcher, [programStart(argv, exe, parent ?? "/usr/bin/dash")]));
  return {
    kinds: Object.fromEntries(
      Object.entries(verdicts).map(([form, of]) => [
        form,
        {
          overt: halves(of, ({ kind }) => kind === "overt"),
          dual_use: halves(of, ({ kind }) => kind === "dual_use"),
          benign: halves(of, ({ kind }) => kind === "benign"),
          "benign exec": halves(of, ({ kind, exec }) => kind === "benign" && exec),
        },
      ]),
    ) as Measured["kinds"],
    sources: pairs.map((pair) => {
      const [kind = "", source = ""] = pair.split(" ");
      const share = where(main, (line) => line.kind === kind && line.source === source);
      return { kind: kind as Line["kind"], source, share, known: knownElsewhere(lines, main, source, kind) };
    }),
    evasions: Object.entries(evasions).map(([name, evasion]) => ({ name, share: underEvasion(matcher, lines, evasion) })),
    rules: rules.map((rule) => useOf(rule, lines, main, seen)),
    techniques: techniquesOf(matcher, lines, main, atomic, renumbered),
    trace: shareOf(seen),
  };
}

const shareOf = (of: readonly Verdict[]): Share => ({
  lines: of.length,
  alerts: of.filter(({ alerts }) => alerts).length,
  any: of.filter(({ any }) => any).length,
});

function knownElsewhere(lines: readonly Line[], verdicts: readonly Verdict[], source: string, kind: string): number {
  const others = new Set<Rule>();
  for (const [at, { rules }] of verdicts.entries())
    if (lines[at]!.kind === "overt" && lines[at]!.source !== source) for (const rule of rules) if (rule.alerts) others.add(rule);
  const of = verdicts.filter((_, at) => lines[at]!.kind === kind && lines[at]!.source === source);
  return of.filter(({ rules }) => rules.some((rule) => others.has(rule))).length;
}

function underEvasion(matcher: Matcher, lines: readonly Line[], evasion: Evasion): Share {
  const overt = lines.filter(({ kind, half }) => kind === "overt" && half === "B");
  return shareOf(overt.map((line) => judge(matcher, { ...line, text: evasion(line.text) }, headline)));
}

function useOf(rule: Rule, lines: readonly Line[], verdicts: readonly Verdict[], trace: readonly Verdict[]): RuleUse {
  const use = { overt: 0, dual_use: 0, benign: 0 };
  for (const [at, { rules }] of verdicts.entries()) if (rules.includes(rule)) use[lines[at]!.kind]++;
  return {
    rule,
    overt: use.overt,
    dual: use.dual_use,
    benign: use.benign,
    trace: trace.filter(({ rules }) => rules.includes(rule)).length,
  };
}

function techniquesOf(
  matcher: Matcher,
  lines: readonly Line[],
  verdicts: readonly Verdict[],
  atomic: readonly AtomicTest[],
  renumbered: Input["renumbered"],
): Techniques {
  const now = (technique: string) => [technique, ...(renumbered.get(technique) ?? [])].map(parentOf);
  const names = ({ rules }: Verdict, technique: string) =>
    rules.some(({ attack }) => attack.techniques.some((tag) => now(technique).includes(parentOf(tag))));
  const judged = atomic.map((test) => ({ test, verdict: judge(matcher, { text: test.text, exec: false }, headline) }));
  const known = new Map<string, { seen: boolean; named: boolean }>();
  const see = (technique: string, verdict: Verdict) => {
    const key = renumbered.get(technique)?.[0] ?? technique;
    const before = known.get(key) ?? { seen: false, named: false };
    known.set(key, { seen: before.seen || verdict.alerts, named: before.named || names(verdict, technique) });
  };
  for (const { test, verdict } of judged) see(test.technique, verdict);
  for (const [at, line] of lines.entries()) for (const technique of line.techniques) see(technique, verdicts[at]!);
  return {
    tests: judged.length,
    alerts: judged.filter(({ verdict }) => verdict.alerts).length,
    named: judged.filter(({ test, verdict }) => names(verdict, test.technique)).length,
    known: known.size,
    seen: [...known.values()].filter(({ seen }) => seen).length,
    seenByName: [...known.values()].filter(({ named }) => named).length,
  };
}

const parentOf = (technique: string) => technique.split(".", 1)[0]!;
