import * as z from "zod";
import { Process } from "./event.ts";
import { deviceId, siteId } from "./names.ts";

export const severities = ["low", "medium", "high", "critical"] as const;
export const Severity = z.enum(severities);
export type Severity = z.infer<typeof Severity>;

export const engines = ["sigma", "yara", "ioc", "correlation", "onnx", "broker"] as const;
export const statuses = ["open", "acknowledged", "closed"] as const;
export const AlertStatus = z.enum(statuses);
export type AlertStatus = z.infer<typeof AlertStatus>;

/** What an operator says an alert was when it is closed. */
export const verdicts = ["true_positive", "false_positive"] as const;
export const AlertVerdict = z.enum(verdicts);
export type AlertVerdict = z.infer<typeof AlertVerdict>;

/** One decision about an alert: who, when, what. `picket` is the site itself, which opens an alert again that got worse. */
export const AlertDecision = z.object({
  timeMs: z.int().nonnegative(),
  operator: z.string().max(64),
  what: z.enum(["acknowledged", "closed", "opened", "assigned", "excepted"]),
  verdict: AlertVerdict.optional(),
  /** Whom it was assigned to, why it was opened again, or the number of the exception. */
  detail: z.string().max(500).optional(),
  /** How often it had been seen by then: what is more came later. */
  count: z.int().positive(),
});
export type AlertDecision = z.infer<typeof AlertDecision>;

/** One process in the tree that explains an alert, root first. `depth` is the distance from the root of this picture, 0 upwards. */
export const TreeNode = z.object({
  depth: z.int().min(0).max(64),
  pid: z.int(),
  exe: z.string(),
  argv: z.array(z.string()),
  /** Titles of the rules this process matched. */
  matched: z.array(z.string()).max(16),
});
export type TreeNode = z.infer<typeof TreeNode>;

export const Note = z.object({ timeMs: z.int(), operator: z.string().max(64), text: z.string().max(2000) });

/** What the detector decides. The broker adds what operators decide, and never lets the one overwrite the other. */
export const Detection = z.object({
  // UUIDv5 of site, rule, device, group key and first event: a replay makes the same alert again, never a second one.
  id: z.uuid({ version: "v5" }),
  site: siteId,
  device: deviceId,
  /** The incident it belongs to. Absent of what an older detector decided. */
  incident: z.uuid({ version: "v5" }).optional(),
  /** Time of the first event. */
  timeMs: z.int().nonnegative(),
  rule: z.object({
    id: z.string().max(128),
    title: z.string().max(256),
    engine: z.enum(engines),
    /** The rule's author: Sigma's Detection Rule License asks to name them when a rule fires. */
    author: z.string().max(256).optional(),
    /** What its author says an operator should do. */
    todo: z.string().max(500).optional(),
  }),
  severity: Severity,
  /** 0-100; a process' score counts half, at most 100. */
  score: z.int().min(0).max(100),
  attack: z.object({ tactics: z.array(z.string().max(64)).max(16), techniques: z.array(z.string().max(16)).max(32) }),
  // Ids, not copies: the events are already in the broker's log. An alert about silence has none.
  events: z.array(z.string().max(160)).max(100),
  process: Process.optional(),
  tree: z.array(TreeNode).max(64),
  /** One plain sentence: what was seen, with the values that made it match. */
  summary: z.string().max(1000),
  count: z.int().positive(),
  firstMs: z.int().nonnegative(),
  lastMs: z.int().nonnegative(),
  revision: z.int().nonnegative(),
});
export type Detection = z.infer<typeof Detection>;

/** Where an alert of another site came from. `trust`: its site is a peer of ours, or only vouched for by the peer it came through (`via`). */
export const AlertOrigin = z.object({
  site: siteId,
  via: siteId,
  trust: z.enum(["peer", "vouched"]),
  receivedMs: z.int().nonnegative(),
});
export type AlertOrigin = z.infer<typeof AlertOrigin>;

export const Alert = Detection.extend({
  /** Only of alerts that came through the mesh. Status, assignee and notes of such a one are those of this site: its own site does not hear of them. */
  origin: AlertOrigin.optional(),
  status: AlertStatus,
  /** Of a closed one, where the operator said it. */
  verdict: AlertVerdict.optional(),
  /** What operators decided, oldest first: the newest 100. Absent from older sites, and while nobody decided anything. */
  history: z.array(AlertDecision).max(100).optional(),
  assignee: z.string().max(64).optional(),
  notes: z.array(Note).max(200),
});
export type Alert = z.infer<typeof Alert>;

/** The same thing on the same device, by rule and subject, in all alerts that are kept, this one among them. */
export const AlertRecurrence = z.object({
  alerts: z.int().positive(),
  count: z.int().positive(),
  firstMs: z.int().nonnegative(),
  lastMs: z.int().nonnegative(),
  true_positive: z.int().nonnegative(),
  false_positive: z.int().nonnegative(),
});
export type AlertRecurrence = z.infer<typeof AlertRecurrence>;
