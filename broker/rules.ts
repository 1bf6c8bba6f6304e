// The rules of the site for people: what the detector said it runs, what packs bring to devices, and what was counted of each.

import type { PackRecord } from "@picket/protocol/pack";
import type { Finding } from "@picket/protocol/rest";
import { type ListedRule, MAX_ROWS, MAX_TROUBLES, type RuleRow, type RuleTrouble, type ToldRules } from "@picket/protocol/rule-list";
import { openRules, type PackedRule } from "@picket/protocol/rule-pack";
import type { Store } from "./store/database.ts";
import { mutedSince, ruleAlerts, ruleMatches } from "./store/rule-use.ts";

const HOUR_MS = 3600_000;
const MAX_NOISY_DEVICES = 20;
const none = { day: 0, week: 0 };

type Told = { readonly version: string; readonly readMs: number; readonly rules: Map<string, RuleRow>; readonly troubles: RuleTrouble[] };
type Carried = {
  readonly jws: string;
  readonly dev: string;
  readonly version: number;
  readonly rules: readonly PackedRule[];
  readonly disable: readonly string[];
};

export type RulesList = {
  readonly version?: string;
  readonly readMs?: number;
  readonly rules: ListedRule[];
  readonly troubles: RuleTrouble[];
};

export class SiteRules {
  readonly #store: Store;
  readonly #packs: () => readonly PackRecord[];
  #told: Told | undefined;
  /** By target; opening one costs milliseconds. */
  #opened = new Map<string, Carried>();

  /** `packs`: those carried to devices, of any kind. */
  constructor(store: Store, packs: () => readonly PackRecord[]) {
    this.#store = store;
    this.#packs = packs;
  }

  /** What the detector runs now, or a further part of it. */
  told({ at, version, readMs, rules, troubles }: ToldRules): void {
    if (at === 0) this.#told = { version, readMs, rules: new Map(), troubles: [] };
    const told = this.#told;
    if (told?.version !== version) return;
    for (const rule of rules) if (told.rules.size < MAX_ROWS) told.rules.set(rule.id, rule);
    told.troubles.push(...troubles.slice(0, MAX_TROUBLES - told.troubles.length));
  }

  /** Payloads of packs of rules: those of the whole site first, so that what a device has for itself is named last. */
  payloads(): unknown[] {
    return this.#ofRules().map(({ jws }) => payloadOf(jws));
  }

  list(nowMs: number): RulesList {
    const [matches, alerts, noisy] = [ruleMatches(this.#store, nowMs), ruleAlerts(this.#store, nowMs), this.#noisy(nowMs)];
    const carried = this.#carried();
    const withCounts = (row: Omit<ListedRule, "packs" | "matches" | "alertCount">): ListedRule => ({
      ...row,
      packs: carried.flatMap(({ dev, version, rules, disable }) => [
        ...(rules.some(({ id }) => id === row.id) ? [{ dev, version, is: "carries" as const }] : []),
        ...(disable.includes(row.id) ? [{ dev, version, is: "disables" as const }] : []),
      ]),
      matches: matches.get(row.id) ?? none,
      alertCount: alerts.get(row.id) ?? none,
      ...(noisy.has(row.id) ? { noisy: noisy.get(row.id)! } : {}),
    });
    const ofSite = this.#told?.rules ?? new Map<string, RuleRow>();
    const ofPacks = new Map(carried.flatMap(({ rules }) => rules.map((rule) => [rule.id, rule] as const)));
    return {
      ...(this.#told ? { version: this.#told.version, readMs: this.#told.readMs } : {}),
      rules: [
        ...[...ofSite.values()].map(withCounts),
        ...[...ofPacks.values()].filter(({ id }) => !ofSite.has(id)).map((rule) => withCounts(rowOf(rule))),
      ],
      troubles: this.#told?.troubles ?? [],
    };
  }

  /** For `picket doctor`: rule files that cannot be used, and rules that match nearly everything. */
  findings(nowMs: number): Finding[] {
    const troubles = this.#told?.troubles ?? [];
    const titles = new Map([...(this.#told?.rules.values() ?? [])].map(({ id, title }) => [id, title]));
    for (const { rules } of this.#carried()) for (const { id, title } of rules) if (!titles.has(id)) titles.set(id, title);
    const [first] = troubles;
    return [
      ...(first
        ? [
            {
              level: "warning" as const,
              what: `${troubles.length === 1 ? "A rule cannot" : `${troubles.length} rules cannot`} be used: ${first.file}:${first.line}: ${first.message}${troubles.length > 1 ? " (`picket rules list` shows all)" : ""}`,
              todo: "Correct the file: it is read again by itself. What was read of it before stays in use meanwhile",
            },
          ]
        : []),
      ...[...this.#noisy(nowMs)].map(([id, { muted, devices }]) => ({
        level: "warning" as const,
        what: `The rule "${titles.get(id) ?? id}" matches nearly everything on ${devices
          .map(({ device }) => device)
          .slice(0, 5)
          .join(", ")}: ${muted} matches of the last hour were counted, and left out of alerts and scores there.`,
        todo: `Narrow the rule (\`picket rules show ${id}\`), or except what it should not see; it speaks again by itself once it matches less`,
      })),
    ];
  }

  #noisy(nowMs: number): Map<string, { muted: number; devices: { device: string; muted: number }[] }> {
    const byRule = Map.groupBy(mutedSince(this.#store, nowMs - 2 * HOUR_MS), ({ rule }) => rule);
    return new Map(
      [...byRule].map(([rule, rows]) => [
        rule,
        {
          muted: rows.reduce((sum, { muted }) => sum + muted, 0),
          devices: rows.slice(0, MAX_NOISY_DEVICES).map(({ device, muted }) => ({ device, muted })),
        },
      ]),
    );
  }

  #ofRules = () => this.#packs().filter(({ kind }) => kind === "rules");

  #carried(): Carried[] {
    const opened = this.#ofRules().map(({ jws, dev, version }): Carried => {
      const before = this.#opened.get(dev);
      if (before?.jws === jws) return before;
      const pack = openRules(payloadOf(jws));
      return { jws, dev, version, ...(typeof pack === "string" ? { rules: [], disable: [] } : pack) };
    });
    this.#opened = new Map(opened.map((one) => [one.dev, one]));
    return opened;
  }
}

const rowOf = ({
  id,
  title,
  level,
  version,
  attack,
  alerts,
  todo,
  detection,
}: PackedRule): Omit<ListedRule, "packs" | "matches" | "alertCount"> => ({
  ...{ id, title, level, version, alerts, engine: "sigma", source: "pack" },
  ...{ tactics: attack.tactics, techniques: attack.techniques, events: eventsOf(detection) },
  ...(todo === undefined ? {} : { todo }),
});

const eventsOf = (detection: unknown): string[] => {
  const events = typeof detection === "object" && detection !== null && "events" in detection ? detection.events : [];
  return Array.isArray(events) ? events.filter((type) => typeof type === "string").slice(0, 64) : [];
};

/** Of a pack that was checked when it was stored. */
const payloadOf = (jws: string): unknown =>
  (JSON.parse(Buffer.from(jws.split(".")[1]!, "base64url").toString()) as { payload: unknown }).payload;
