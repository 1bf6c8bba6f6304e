// How often rules matched, by the hour: kept with the detector's decisions, so that a restart counts nothing twice.
import type { RuleMatches, RuleMuted } from "@picket/protocol/rule-list";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const ruleUseMigrations: Migrations = [
  `
  CREATE TABLE rule_matches (
    hourMs INTEGER NOT NULL,
    rule TEXT NOT NULL,
    matches INTEGER NOT NULL,
    PRIMARY KEY (hourMs, rule)
  ) STRICT, WITHOUT ROWID;
  -- Only where matches were left out.
  CREATE TABLE rule_muted (
    hourMs INTEGER NOT NULL,
    rule TEXT NOT NULL,
    device TEXT NOT NULL,
    muted INTEGER NOT NULL,
    PRIMARY KEY (hourMs, rule, device)
  ) STRICT, WITHOUT ROWID;
  `,
];

const DAY_MS = 24 * 3600_000;
const KEPT_MS = 8 * DAY_MS;

/** Adds counts. Call in the transaction that stores the decisions they come from. */
export function saveRuleUse(store: Store, of: { matched: readonly RuleMatches[]; muted: readonly RuleMuted[] }, nowMs: number): void {
  if (of.matched.length === 0 && of.muted.length === 0) return;
  const { db } = store;
  const match = db.query(
    "INSERT INTO rule_matches VALUES ($hourMs, $rule, $count) ON CONFLICT DO UPDATE SET matches = matches + excluded.matches",
  );
  for (const { hourMs, rule, count } of of.matched) match.run({ hourMs, rule, count });
  const mute = db.query(
    "INSERT INTO rule_muted VALUES ($hourMs, $rule, $device, $count) ON CONFLICT DO UPDATE SET muted = muted + excluded.muted",
  );
  for (const { hourMs, rule, device, count } of of.muted) mute.run({ hourMs, rule, device, count });
  for (const table of ["rule_matches", "rule_muted"]) db.query(`DELETE FROM ${table} WHERE hourMs < ?`).run(nowMs - KEPT_MS);
}

export type Counts = { readonly day: number; readonly week: number };

/** By rule. */
export const ruleMatches = (store: Store, nowMs: number): Map<string, Counts> =>
  countsOf(
    store,
    "SELECT rule, SUM(CASE WHEN hourMs > $day THEN matches ELSE 0 END) AS day, SUM(matches) AS week FROM rule_matches WHERE hourMs > $week GROUP BY rule",
    nowMs,
  );

/** Alerts of this site that were made, grew or were judged then, by rule. */
export const ruleAlerts = (store: Store, nowMs: number): Map<string, Counts> =>
  countsOf(
    store,
    "SELECT json_extract(detection, '$.rule.id') AS rule, SUM(changedMs > $day) AS day, COUNT(*) AS week FROM alerts WHERE changedMs > $week GROUP BY 1",
    nowMs,
  );

function countsOf(store: Store, sql: string, nowMs: number): Map<string, Counts> {
  const rows = store.db
    .query<{ rule: string } & Counts, { day: number; week: number }>(sql)
    .all({ day: nowMs - DAY_MS, week: nowMs - 7 * DAY_MS });
  return new Map(rows.map(({ rule, day, week }) => [rule, { day, week }]));
}

/** Where matches were left out since then, the most first. */
export const mutedSince = (store: Store, sinceMs: number): { readonly rule: string; readonly device: string; readonly muted: number }[] =>
  store.db
    .query<{ rule: string; device: string; muted: number }, [number]>(
      "SELECT rule, device, SUM(muted) AS muted FROM rule_muted WHERE hourMs > ? GROUP BY rule, device ORDER BY muted DESC, rule, device LIMIT 10000",
    )
    .all(sinceMs);
