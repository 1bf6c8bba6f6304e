// Incidents: the alerts of one intrusion as one thing, with the story of what happened. The detector says which alerts belong together; the broker adds up and keeps what operators decide.
import * as z from "zod";
import { AlertDecision, AlertStatus, AlertVerdict, Note, Severity, TreeNode } from "./alert.ts";
import { deviceId, siteId } from "./names.ts";

/** How long after its last alert an incident takes in more, and how long in all. Milliseconds, by the broker's time of receipt. */
export const QUIET_MS = 30 * 60_000;
export const LONGEST_MS = 24 * 3600_000;

/** Sentences of a story. */
export const MAX_SENTENCES = 12;
export const MAX_SENTENCE = 400;
export const MAX_PROCESSES = 40;
export const MAX_DEEDS = 48;
export const MAX_HANDLES = 160;
export const MAX_MERGED = 32;
/** Open incidents of one device; the quietest gives way to a new one. */
export const MAX_INCIDENTS = 64;

/** A process of a story. `key` names it within its device. */
export const StoryProcess = z.object({
  key: z.string().max(200),
  parent: z.string().max(200).optional(),
  pid: z.int(),
  exe: z.string().max(300),
  argv: z.array(z.string().max(300)).max(64),
  /** Titles of the alerts that are about it. */
  matched: z.array(z.string().max(256)).max(16),
  /** When it is first known to have done something: the device's time. */
  timeMs: z.int().nonnegative(),
});
export type StoryProcess = z.infer<typeof StoryProcess>;

/** Something that was done: by a process, or, without one, on the device. */
export const StoryDeed = z.object({
  by: z.string().max(200).optional(),
  /** What is done to many things is told once: "wrote /tmp/x and /tmp/y". */
  verb: z.string().max(64),
  object: z.string().max(300),
  timeMs: z.int().nonnegative(),
  /** Those that say most stay when there are too many. */
  weight: z.int().min(0).max(9),
});
export type StoryDeed = z.infer<typeof StoryDeed>;

/** All the detector must know to go on with an incident; the broker keeps it for it. */
export const OpenIncident = z.object({
  id: z.uuid({ version: "v5" }),
  device: deviceId,
  /** When its first and its last alert were received. The broker's time. */
  beganMs: z.int().nonnegative(),
  seenMs: z.int().nonnegative(),
  /** An alert that shares one of these belongs to it. */
  handles: z.array(z.string().max(200)).max(MAX_HANDLES),
  processes: z.array(StoryProcess).max(MAX_PROCESSES),
  deeds: z.array(StoryDeed).max(MAX_DEEDS),
  /** Incidents that turned out to be this one. */
  merged: z.array(z.uuid({ version: "v5" })).max(MAX_MERGED),
});
export type OpenIncident = z.infer<typeof OpenIncident>;

/** An incident as the detector commits it. */
export const IncidentReport = z.object({
  open: OpenIncident,
  story: z.array(z.string().max(MAX_SENTENCE)).max(MAX_SENTENCES + 1),
  tree: z.array(TreeNode).max(MAX_PROCESSES),
  /** Addresses and hashes that would be no chance in an incident of another device. */
  marks: z.array(z.string().max(200)).max(32),
});
export type IncidentReport = z.infer<typeof IncidentReport>;

export const Incident = z.object({
  id: z.uuid({ version: "v5" }),
  site: siteId,
  device: deviceId,
  /** Of its most telling alert. */
  title: z.string().max(256),
  /** The highest of its alerts, as is the score, 0-100. */
  severity: Severity,
  score: z.int().min(0).max(100),
  /** Tactics in the order of an attack. */
  attack: z.object({ tactics: z.array(z.string().max(64)).max(16), techniques: z.array(z.string().max(16)).max(64) }),
  firstMs: z.int().nonnegative(),
  lastMs: z.int().nonnegative(),
  /** How many alerts it has, and how many events those count. */
  alerts: z.int().nonnegative(),
  events: z.int().nonnegative(),
  /** Sentences, in the order of time. */
  story: z.array(z.string().max(1000)).max(MAX_SENTENCES + 1),
  tree: z.array(TreeNode).max(64),
  /** Incidents of other devices of the site that share an address or a file with it. */
  linked: z.array(z.object({ id: z.uuid(), device: deviceId })).max(16),
  /** Ids it had before it was found that they are one: whoever knew those knows this. */
  merged: z.array(z.uuid()).max(64).optional(),
  revision: z.int().nonnegative(),
  status: AlertStatus,
  /** Of a closed one, where the operator said it. */
  verdict: AlertVerdict.optional(),
  assignee: z.string().max(64).optional(),
  notes: z.array(Note).max(200),
  /** What operators decided, oldest first: the newest 100. */
  history: z.array(AlertDecision).max(100).optional(),
});
export type Incident = z.infer<typeof Incident>;

/** The tactics of ATT&CK for enterprises, in the order of an attack. */
const killChain = [
  "reconnaissance",
  "resource-development",
  "initial-access",
  "execution",
  "persistence",
  "privilege-escalation",
  "stealth",
  "defense-evasion",
  "defense-impairment",
  "credential-access",
  "discovery",
  "lateral-movement",
  "collection",
  "command-and-control",
  "exfiltration",
  "impact",
];

/** Each once, in the order of an attack; what is none of them last. */
export function inKillChain(tactics: readonly string[]): string[] {
  const at = (tactic: string) => (killChain.indexOf(tactic) + killChain.length + 1) % (killChain.length + 1);
  return [...new Set(tactics)].sort((a, b) => at(a) - at(b));
}

/** What a title says by itself, the most telling first. Two chains name what happened; a burst, and more so a sum of signs, only that something did. */
const telling: Record<string, number> = {
  "picket-chain-reverse-shell": 0,
  "picket-chain-credential-access": 1,
  "picket-chain-burst": 3,
  "picket-process-score": 4,
};
export const tellingOf = (rule: string): number => telling[rule] ?? 2;
