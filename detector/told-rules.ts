// What the broker is told of the rules, and what it tells of those that devices have for themselves.
import { MAX_TOLD, MAX_TROUBLES, type RuleRow, type ToldRules } from "@picket/protocol/rule-list";
import { openRules } from "@picket/protocol/rule-pack";
import type { Rule } from "@picket/rules/rule";
import { chains } from "./correlate/chains.ts";
import type { Named } from "./engines/sigma.ts";
import type { RuleFacts } from "./finding.ts";
import type { RuleSet } from "./rulebook.ts";

/** Rules of packs that are known by name, at most. */
const MAX_NAMED = 20_000;

/** In parts of at most `MAX_TOLD` rules. */
export function toldRules({ version, readMs, rules, correlations, troubles }: RuleSet): Omit<ToldRules, "session">[] {
  const rows = [
    ...rules.map((rule) => rowOf(rule, "sigma", rule.detection.events)),
    ...correlations.map((rule) => rowOf(rule, "correlation", [])),
    ...chains.map(
      ({ id, title, level, attack, alerts }): RuleRow => ({
        ...{ id, title, level, alerts, engine: "correlation", source: "shipped", version: "picket", events: [] },
        ...{ tactics: [...attack.tactics], techniques: [...attack.techniques] },
      }),
    ),
  ];
  const wrong = troubles
    .slice(0, MAX_TROUBLES)
    .map(({ file, line, message }) => ({ file: file.slice(0, 4096), line, message: message.slice(0, 500) }));
  const parts = Math.max(1, Math.ceil(Math.max(rows.length, wrong.length) / MAX_TOLD));
  return Array.from({ length: parts }, (_, part) => {
    const [from, to] = [part * MAX_TOLD, (part + 1) * MAX_TOLD];
    return { kind: "rules", at: from, version, readMs, rules: rows.slice(from, to), troubles: wrong.slice(from, to) };
  });
}

function rowOf(rule: Omit<Rule, "detection" | "logsource">, engine: RuleRow["engine"], events: readonly string[]): RuleRow {
  const { id, title, level, version, attack, alerts, todo, file } = rule;
  return {
    ...{ id: id.slice(0, 128), title: title.slice(0, 256), level, engine, version: version.slice(0, 64), alerts, events: [...events] },
    ...(file.startsWith("builtin/") ? { source: "shipped" } : { source: "site", file: file.slice(0, 4096) }),
    ...{ tactics: attack.tactics.slice(0, 32), techniques: attack.techniques.slice(0, 64) },
    ...(todo === undefined ? {} : { todo: todo.slice(0, 1000) }),
  };
}

export type CarriedRules = { readonly named: Named; learn(payload: unknown): void };

/** Rules that packs bring to devices: the site does not match them, and names what devices say they matched. */
export function carriedRules(): CarriedRules {
  const byId = new Map<string, RuleFacts>();
  return {
    named: (id) => byId.get(id),
    learn: (payload) => {
      const pack = openRules(payload);
      // What the broker took, and this version does not know: hits of it are alerts without a title.
      if (typeof pack === "string") return;
      for (const { id, title, level, author, attack, score, alerts } of pack.rules)
        if (byId.size < MAX_NAMED || byId.has(id))
          byId.set(id, { id, title, level, attack, score, alerts, ...(author === undefined ? {} : { author }) });
    },
  };
}
