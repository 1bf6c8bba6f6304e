// The rules of a site as people look at them: what the detector says it runs, and what the site counted of each.
import * as z from "zod";
import { eventTypes } from "./event.ts";
import { deviceId } from "./names.ts";

const count = z.int().nonnegative();
const ms = z.int().nonnegative();

/** A rule as the detector runs it. */
export const RuleRow = z.object({
  id: z.string().min(1).max(128),
  title: z.string().max(256),
  level: z.enum(["informational", "low", "medium", "high", "critical"]),
  engine: z.enum(["sigma", "correlation"]),
  version: z.string().max(64),
  /** shipped: with Picket; site: from a file of the site (`file`). */
  source: z.enum(["shipped", "site"]),
  file: z.string().max(4096).optional(),
  tactics: z.array(z.string().max(64)).max(32),
  techniques: z.array(z.string().max(16)).max(64),
  /** False: a match only adds to the score of the process. */
  alerts: z.boolean(),
  todo: z.string().max(1000).optional(),
  /** Kinds of events it looks at; empty where that is not told. */
  events: z.array(z.enum(eventTypes as [string, ...string[]])).max(64),
});
export type RuleRow = z.infer<typeof RuleRow>;

/** A rule file that is not used as it is. */
export const RuleTrouble = z.object({ file: z.string().max(4096), line: count, message: z.string().max(500) });
export type RuleTrouble = z.infer<typeof RuleTrouble>;

/** Rules and troubles in one message, at most. */
export const MAX_TOLD = 20;
/** Rules the broker remembers, at most; and troubles. */
export const MAX_ROWS = 20_000;
export const MAX_TROUBLES = 200;

/** `feed/want` of the kind "rules": what the detector runs now, in parts. The first part has `at` 0, and replaces what was told before. */
export const ToldRules = z.object({
  kind: z.literal("rules"),
  session: z.string().max(36),
  at: count,
  /** Of the whole set: another one after every change. */
  version: z.string().max(64),
  readMs: ms,
  rules: z.array(RuleRow).max(MAX_TOLD),
  troubles: z.array(RuleTrouble).max(MAX_TOLD),
});
export type ToldRules = z.infer<typeof ToldRules>;

/** On `feed/data`: a signed pack of rules that devices have, so that the detector can name what they match. */
export const CarriedPack = z.object({ kind: z.literal("pack"), session: z.string().max(36), payload: z.unknown() });
export type CarriedPack = z.infer<typeof CarriedPack>;

const ruleId = z.string().min(1).max(128);

/** Of `feed/commit`: how often a rule matched in an hour of receipt. */
export const RuleMatches = z.object({ rule: ruleId, hourMs: ms, count: z.int().positive() });
export type RuleMatches = z.infer<typeof RuleMatches>;
/** And how many of those on a device were left out of alerts and scores, for there the rule matches nearly everything. */
export const RuleMuted = RuleMatches.extend({ device: deviceId });
export type RuleMuted = z.infer<typeof RuleMuted>;
/** Of either in one commit, at most. */
export const MAX_RULE_USES = 2000;

/** Where a rule matched nearly everything, in this hour or the last. */
const Noisy = z.object({
  /** Devices on which matches were left out, the worst first, at most 20 of them. */
  devices: z.array(z.object({ device: deviceId, muted: count })).max(20),
  /** Of all devices. */
  muted: count,
});

/** A rule with what the site counted of it. */
export const ListedRule = RuleRow.extend({
  source: z.enum(["shipped", "site", "pack"]),
  /** Packs that bring it to devices, or switch it off there: the device, or "*". */
  packs: z.array(z.object({ dev: z.string(), version: count, is: z.enum(["carries", "disables"]) })).max(100),
  matches: z.object({ day: count, week: count }),
  alertCount: z.object({ day: count, week: count }),
  noisy: Noisy.optional(),
});
export type ListedRule = z.infer<typeof ListedRule>;

export const ruleRoutes = {
  rules: {
    method: "GET",
    path: "/v1/rules",
    summary: "The rules that the detector and devices run, with what was counted of each, and the rule files that cannot be used",
    auth: "operator",
    params: z.object({}),
    query: z.object({}),
    body: undefined,
    response: z.object({
      /** Of the set the detector runs; absent while no detector has said. */
      version: z.string().optional(),
      readMs: ms.optional(),
      rules: z.array(ListedRule),
      troubles: z.array(RuleTrouble),
    }),
  },
} as const;
