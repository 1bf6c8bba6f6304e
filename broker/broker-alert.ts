// Alerts the broker itself raises: about silence, loss and misuse, which no event tells. Deterministic, like all others: the id comes from the start of the interval.
import { type Detection, type Severity, severities } from "@picket/protocol/alert";
import { alertId } from "@picket/protocol/uuid5";
import { getAlert, incidentsOf, type Upserted, upsertAlert } from "./store/alerts.ts";
import type { Store } from "./store/database.ts";
import { tellIncidents } from "./store/incident-life.ts";

export const brokerRules = {
  offline: {
    id: "picket-broker-offline",
    title: "Device is silent",
    severity: "medium",
    score: 35,
    tactics: ["defense-evasion"],
    techniques: ["T1562"],
  },
  blind: {
    id: "picket-broker-blind",
    title: "Device does not see what it saw before",
    severity: "high",
    score: 60,
    tactics: ["defense-evasion"],
    techniques: ["T1562"],
  },
  killed: {
    id: "picket-broker-killed",
    title: "Agent was killed",
    severity: "high",
    score: 65,
    tactics: ["defense-evasion"],
    techniques: ["T1562"],
  },
  blackout: {
    id: "picket-broker-blackout",
    title: "Many devices went silent at once",
    severity: "high",
    score: 70,
    tactics: ["defense-evasion", "impact"],
    techniques: ["T1562", "T1499"],
  },
  loss: { id: "picket-broker-loss", title: "Events were lost", severity: "medium", score: 35, tactics: [], techniques: [] },
  deadLetter: {
    id: "picket-broker-dead-letter",
    title: "Device sends data that cannot be read",
    severity: "medium",
    score: 35,
    tactics: [],
    techniques: [],
  },
  twins: {
    id: "picket-broker-twins",
    title: "Two machines on one certificate",
    severity: "high",
    score: 70,
    tactics: ["credential-access"],
    techniques: ["T1552"],
  },
  meshPeer: {
    id: "picket-broker-mesh-peer",
    title: "A mesh peer sends what it must not",
    severity: "medium",
    score: 50,
    tactics: [],
    techniques: [],
  },
  flood: {
    id: "picket-broker-flood",
    title: "Device sends more than it may",
    severity: "medium",
    score: 40,
    tactics: ["impact"],
    techniques: ["T1499"],
  },
  exception: {
    id: "picket-broker-exception",
    title: "An operator made an exception",
    severity: "low",
    score: 20,
    tactics: ["defense-evasion"],
    techniques: ["T1562"],
  },
  disk: { id: "picket-broker-disk", title: "The site's disk takes no events", severity: "high", score: 60, tactics: [], techniques: [] },
} as const satisfies Record<
  string,
  { id: string; title: string; severity: Severity; score: number; tactics: readonly string[]; techniques: readonly string[] }
>;
export type BrokerRule = keyof typeof brokerRules;

/** Alerts of one rule and device within the same hour are one alert that counts up. */
export const hourOf = (ms: number) => Math.floor(ms / 3600_000) * 3600_000;

/**
 * Raises an alert, or lets the one with the same anchor grow by `add`; call inside a transaction and tell `Changes` afterwards.
 * `summary` gets the total.
 */
export function raise(
  store: Store,
  of: {
    site: string;
    rule: BrokerRule;
    device: string;
    anchorMs: number;
    nowMs: number;
    add: number;
    summary: (count: number) => string;
    /** Where it is not that of the rule; what an alert once was, it stays. */
    severity?: Severity;
    score?: number;
  },
): { id: string; change: Upserted } {
  const rule = brokerRules[of.rule];
  const id = alertId({ site: of.site, rule: rule.id, device: of.device, group: "", anchor: String(of.anchorMs) });
  const before = getAlert(store, id);
  // A device may claim any loss; a count beyond this would make the list of alerts unreadable.
  const count = Math.min((before?.count ?? 0) + of.add, Number.MAX_SAFE_INTEGER);
  const detection: Detection = {
    id,
    site: of.site,
    device: of.device,
    timeMs: before?.timeMs ?? of.anchorMs,
    rule: { id: rule.id, title: rule.title, engine: "broker" },
    severity: worst(of.severity ?? rule.severity, before?.severity),
    score: Math.max(of.score ?? rule.score, before?.score ?? 0),
    attack: { tactics: [...rule.tactics], techniques: [...rule.techniques] },
    events: [],
    tree: [],
    summary: of.summary(count),
    count,
    firstMs: before?.firstMs ?? of.anchorMs,
    lastMs: Math.max(of.nowMs, before?.lastMs ?? 0),
    revision: (before?.revision ?? -1) + 1,
  };
  const change = upsertAlert(store, detection, "", of.nowMs);
  tellIncidents(store, incidentsOf(store, [id]), of.nowMs);
  return { id, change };
}

const worst = (a: Severity, b: Severity = a): Severity => (severities.indexOf(a) > severities.indexOf(b) ? a : b);
