// Correlations and what they refer to, once all files are read: by id or by name, in whatever file, also one another.
import type { EventType } from "@picket/protocol/event";
import type { Rule, RuleProblem } from "../rule.ts";
import { fieldsOf } from "../sigma/fields.ts";
import { Unsupported } from "../sigma/modifiers.ts";
import { get, RuleError, textOf, type Yaml } from "../sigma/yaml.ts";
import { type Correlation, deviceFields, isClosed, isCorrelation } from "./correlation.ts";
import { type Draft, parseCorrelation, type Reference } from "./parse.ts";

type Meta = Omit<Correlation, "type" | "rules" | "groupBy" | "timespanMs" | "bounds" | "fields">;

/** One document as it was read: a rule that can fire, one that cannot, or a correlation, which has `correlate`. */
export type Read = {
  readonly file: string;
  readonly root: Yaml;
  readonly rule?: Rule | undefined;
  /** Its title, level, tags..., if it is a correlation. Throws RuleError. */
  readonly meta: () => Meta;
};

export type Linked = {
  /** As given; those that are only there for correlations say so. */
  readonly rules: readonly Rule[];
  readonly correlations: readonly Correlation[];
  readonly errors: readonly RuleProblem[];
  readonly warnings: readonly RuleProblem[];
};

/** What may be referred to besides what the files hold: what Picket ships. */
export type Known = { readonly rules: readonly Rule[]; readonly correlations: readonly Correlation[] };

type Entry = {
  readonly file: string;
  readonly line: number;
  readonly title: string;
  rule?: Rule | undefined;
  draft?: { readonly meta: Meta; readonly draft: Draft };
  /** Undefined until it is linked; "failed" when it cannot be, which was said. */
  linked?: Correlation | "linking" | "failed";
};

/** Never throws. A correlation that cannot be used is an error, valid Sigma that Picket does not run a warning; neither stops the others. */
export function linkCorrelations(documents: readonly Read[], rules: readonly Rule[], known: Known): Linked {
  const errors: RuleProblem[] = [];
  const warnings: RuleProblem[] = [];
  const say = (file: string, error: unknown) => {
    if (!(error instanceof RuleError)) throw error;
    (error instanceof Unsupported ? warnings : errors).push({ file, line: error.line, message: error.message });
  };
  const entries = new Map<string, Entry>();
  const drafts: Entry[] = [];
  for (const document of documents) {
    try {
      const entry = entryOf(document, (line, message) => warnings.push({ file: document.file, line, message }));
      register(entries, document, entry);
      if (entry.draft) drafts.push(entry);
    } catch (error) {
      say(document.file, error);
    }
  }
  for (const rule of known.rules) if (!entries.has(rule.id)) entries.set(rule.id, { ...rule, rule });
  for (const linked of known.correlations) if (!entries.has(linked.id)) entries.set(linked.id, { ...linked, linked });
  const link = (entry: Entry): void => {
    try {
      entry.linked = "linking";
      entry.linked = linkOne(entry, entries, link);
    } catch (error) {
      entry.linked = "failed";
      say(entry.file, error);
    }
  };
  for (const entry of drafts) if (entry.linked === undefined) link(entry);
  const done = drafts.flatMap(({ linked, draft }) => (typeof linked === "object" ? [{ linked, generate: draft!.draft.generate }] : []));
  return { ...silenced(rules, done), errors, warnings };
}

function entryOf({ file, root, rule, meta }: Read, warn: (line: number, message: string) => void): Entry {
  const title = textOf(root, "title") ?? "";
  const entry = { file, line: root.line, title, rule };
  if (!isCorrelation(root)) return entry;
  return { ...entry, draft: { draft: parseCorrelation(root, warn), meta: meta() } };
}

/** Throws where a name is taken; ids of rules were looked at before. */
function register(entries: Map<string, Entry>, { root, rule }: Read, entry: Entry): void {
  const id = rule?.id ?? entry.draft?.meta.id ?? textOf(root, "id");
  const name = textOf(root, "name");
  const problem = (what: string, text: string, first: Entry) => {
    const left = entry.draft ? "; this correlation is not loaded" : "; correlations that use it mean the first";
    return new RuleError(
      get(root, what)?.line ?? root.line,
      `${what} ${text} is already used by "${first.title}" (${first.file}:${first.line})${left}`,
    );
  };
  const sameId = id === undefined ? undefined : entries.get(id);
  // Of two rules with one id the second is left out, and was named.
  if (sameId && (entry.draft || sameId.draft)) throw problem("id", id!, sameId);
  if (id !== undefined && !sameId) entries.set(id, entry);
  if (name === undefined || name === id) return;
  const sameName = entries.get(name);
  if (sameName) throw problem("name", name, sameName);
  entries.set(name, entry);
}

function linkOne(entry: Entry, entries: ReadonlyMap<string, Entry>, link: (entry: Entry) => void): Correlation {
  const { draft, meta } = entry.draft!;
  const targets = draft.references.map((reference) => ({ reference, of: targetOf(reference, entries, link) }));
  const ids = targets.map(({ of }) => of.id);
  const twice = ids.findIndex((id, at) => ids.indexOf(id) !== at);
  if (twice >= 0)
    throw new RuleError(
      draft.references[twice]!.line,
      `rule "${draft.references[twice]!.text}" is listed twice, by id and by name: remove one`,
    );
  const fieldOf = (name: string, line: number, target: (typeof targets)[number]): string => {
    const alias = draft.aliases.find((one) => one.name === name);
    const named = alias?.of.find(
      ({ rule }) => rule.text === target.reference.text || entries.get(rule.text) === entries.get(target.reference.text),
    );
    if (alias && !named)
      throw new RuleError(alias.line, `alias "${name}" does not say which field it is of rule "${target.reference.text}": add it`);
    const field = named?.field ?? name;
    checkField(field, named?.rule.line ?? line, target);
    return field;
  };
  for (const { name, of } of draft.aliases)
    for (const { rule } of of)
      if (
        !targets.some(
          ({ reference }) =>
            reference.text === rule.text || (entries.has(rule.text) && entries.get(rule.text) === entries.get(reference.text)),
        )
      )
        throw new RuleError(rule.line, `alias "${name}" names rule "${rule.text}", which rules does not list`);
  const unused = draft.aliases.find(({ name }) => !draft.groupBy.some(({ text }) => text === name) && !draft.fields.includes(name));
  if (unused) throw new RuleError(unused.line, `alias "${unused.name}" is used by nothing: add it to group-by, or remove it`);
  const resolve = (name: string, line: number) => {
    const of: Record<string, string> = {};
    for (const target of targets) {
      const field = fieldOf(name, line, target);
      if (field !== name) of[target.of.id] = field;
    }
    return of;
  };
  const groupBy = draft.groupBy.map(({ text, line }) => ({ name: text, of: resolve(text, line) }));
  const fields = draft.fields.map((name) => ({ name, of: resolve(name, draft.fieldLine) }));
  const { type, timespanMs, bounds } = draft;
  return { ...meta, type, rules: ids, groupBy, timespanMs, bounds, fields };
}

type Target = { readonly id: string; readonly events?: readonly EventType[]; readonly title: string };

function targetOf({ text, line }: Reference, entries: ReadonlyMap<string, Entry>, link: (entry: Entry) => void): Target {
  const entry = entries.get(text);
  if (!entry)
    throw new RuleError(
      line,
      `rule "${text}" is not in these files, nor does Picket ship it: write its id or name as it stands there, or add its file`,
    );
  if (entry.rule) return { id: entry.rule.id, events: entry.rule.detection.events, title: entry.title };
  if (entry.linked === "linking") throw new RuleError(line, `rule "${text}" refers back to this correlation: a circle has no beginning`);
  if (entry.draft && entry.linked === undefined) link(entry);
  if (typeof entry.linked !== "object") {
    if (entry.draft) throw new RuleError(line, `correlation "${text}" (${entry.file}:${entry.line}) cannot be used itself`);
    throw new Unsupported(
      line,
      `unsupported: needs rule "${text}" (${entry.file}:${entry.line}), which is not loaded; neither is the correlation`,
    );
  }
  if (isClosed(entry.linked))
    throw new Unsupported(
      line,
      `unsupported: "${text}" is only known when its time is over, so no other correlation can wait for it; the correlation is not loaded`,
    );
  return { id: entry.linked.id, title: entry.title };
}

function checkField(field: string, line: number, { of, reference }: { of: Target; reference: Reference }): void {
  if (deviceFields.has(field) || !of.events) return;
  if (of.events.some((type) => fieldsOf(type).has(field))) return;
  const known = [...new Set(of.events.flatMap((type) => [...fieldsOf(type).keys()]))];
  const near = known.find((name) => name.toLowerCase() === field.toLowerCase());
  const hint = near ? ` (did you mean ${near}? names are case-sensitive)` : "";
  throw new Unsupported(
    line,
    `unsupported: needs field ${field}${hint}, which ${of.events.join(", ")} events of rule "${reference.text}" do not have; use aliases if they call it another name; the correlation is not loaded`,
  );
}

/** Rules that are referred to say nothing alone, unless a correlation over them says `generate: true`. */
function silenced(
  rules: readonly Rule[],
  done: readonly { linked: Correlation; generate: boolean }[],
): Pick<Linked, "rules" | "correlations"> {
  const loud = new Set(done.flatMap(({ linked, generate }) => (generate ? linked.rules : [])));
  const silent = new Set(done.flatMap(({ linked }) => linked.rules.filter((id) => !loud.has(id))));
  const asPart = <T extends { readonly id: string }>(of: T): T => (silent.has(of.id) ? { ...of, alerts: false, part: true } : of);
  return { rules: silent.size === 0 ? rules : rules.map(asPart), correlations: done.map(({ linked }) => asPart(linked)) };
}
