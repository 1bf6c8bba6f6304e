// Exceptions: what an operator has judged to be no alert, in words narrow enough that nothing else hides behind them.
import * as z from "zod";
import type { Detection } from "./alert.ts";
import type { EventType } from "./event.ts";
import { deviceId } from "./names.ts";

const DAY_S = 86_400;
/** How long an exception holds when nobody says otherwise, and the longest: there is none for ever. Seconds. */
export const STANDARD_TTL_S = 30 * DAY_S;
export const MAX_TTL_S = 365 * DAY_S;
/** That hold at the same time. */
export const MAX_EXCEPTIONS = 200;
/** Of one exception, as JSON. */
const MAX_WHERE = 8192;
/** Characters a pattern must say besides its wildcards. */
const MIN_LITERAL = 3;
/** Devices that an exception for more than one rule may name. */
const MAX_WIDE_DEVICES = 10;

/** An engine as an exception names all its rules. */
const ENGINE = /^engine:(sigma|yara|ioc|correlation|onnx)$/;
const KEY = /^[A-Za-z][A-Za-z0-9_]{0,63}(\|(contains|startswith|endswith|cidr)(\|all)?)?$/;

/**
 * Conditions, all of which must hold: a field as rules name it, with Sigma's `contains`, `startswith`, `endswith`, `cidr` and `all`, and values, one of
 * which must match (`*` and `?` are wildcards, `\` takes that away). Always case-sensitive. No regular expressions: the next operator must see at once what is hidden.
 */
export const Where = z
  .record(z.string().max(96), z.array(z.string().min(1).max(1024)).min(1).max(20))
  .refine((where) => Object.keys(where).length <= 10, "at most 10 conditions")
  .refine((where) => JSON.stringify(where).length <= MAX_WHERE, `the conditions are longer than ${MAX_WHERE} characters`);
export type Where = z.infer<typeof Where>;

/** What an operator asks for. */
export const ExceptionRequest = z
  .object({
    /** A rule's id; `engine:sigma` and the like for all rules of an engine, `*` for any: only together with named devices and exact conditions. */
    rule: z.string().min(1).max(128),
    where: Where.default({}),
    /** Empty: all devices of the site. */
    devices: z.array(deviceId).max(200).default([]),
    reason: z.string().trim().min(1).max(500),
    /** Seconds from now until it ends by itself. */
    ttlS: z.int().min(60).max(MAX_TTL_S).default(STANDARD_TTL_S),
    /** The alert it was made from: closed as a false positive with it. */
    alert: z.uuid().optional(),
  })
  .superRefine((request, context) => {
    const wrong = whatIsTooWide(request);
    if (wrong !== undefined) context.addIssue({ code: "custom", path: [wrong.at], message: wrong.what });
  });
export type ExceptionRequest = z.output<typeof ExceptionRequest>;

/** An exception as the site keeps it. It is never changed: another one takes its place. */
export const Exception = z.object({
  id: z.int().positive(),
  rule: z.string().max(128),
  where: Where,
  devices: z.array(deviceId).max(200),
  reason: z.string().max(500),
  operator: z.string().max(64),
  createdMs: z.int().nonnegative(),
  expiresMs: z.int().nonnegative(),
  state: z.enum(["holds", "expired", "removed"]),
  /** When and by whom it was removed. */
  endedMs: z.int().nonnegative().optional(),
  endedBy: z.string().max(64).optional(),
  alert: z.uuid().optional(),
  /** Matches it has hidden, and when the site received the last of them. */
  used: z.int().nonnegative(),
  lastUsedMs: z.int().nonnegative().optional(),
});
export type Exception = z.infer<typeof Exception>;

/** As the detector needs it. Which events it holds for is a matter of the log alone: those of batches from `from` on, before `end`, received before `expiresMs`. */
export const HeldException = Exception.pick({ id: true, rule: true, where: true, devices: true, expiresMs: true }).extend({
  from: z.int().nonnegative(),
  end: z.int().nonnegative().nullable(),
});
export type HeldException = z.infer<typeof HeldException>;

/** Picket's own word about itself: whoever silences it blinds the site. No rule that looks at such an event can be excepted. */
export const protectedEvents: ReadonlySet<EventType> = new Set<EventType>([
  "agent.start",
  "agent.stop",
  "sensor.state",
  "sensor.lost",
  "response.result",
]);

/** Rules about Picket itself, by id: those of the broker, and shipped ones that look at `protectedEvents`. */
const protectedRules: ReadonlySet<string> = new Set([
  "picket-alert-overflow",
  // sensor-off, events-lost, forged-command, replayed-command
  "e1c65d22-e041-52a8-9f08-7a028fcf162b",
  "a1ccdfde-d3b1-5ede-b0a1-18b89c62e60d",
  "783d8d46-e2df-5a88-af4f-0adecefaa115",
  "91ee714f-7c0b-5f60-b5a1-55959682884c",
]);

/** Whether a rule speaks about Picket itself. */
export const isProtectedRule = (id: string): boolean => protectedRules.has(id) || id.startsWith("picket-broker-");

type Shape = Pick<ExceptionRequest, "rule" | "where" | "devices">;

/** Why an exception cannot be: it would hide more than somebody can have judged. Undefined when it can. */
export function whatIsTooWide({ rule, where, devices }: Shape): { at: "rule" | "where" | "devices"; what: string } | undefined {
  if (isProtectedRule(rule))
    return { at: "rule", what: `${rule} tells of Picket itself (a sensor off, a forged command, events lost...) and cannot be excepted` };
  if (rule.includes("*") && rule !== "*") return { at: "rule", what: "a rule is named by its whole id" };
  if (rule.startsWith("engine:") && !ENGINE.test(rule))
    return { at: "rule", what: "an engine is engine:sigma, engine:yara, engine:ioc, engine:correlation or engine:onnx" };
  for (const [key, values] of Object.entries(where)) {
    const wrong = whatIsWrongWith(key, values);
    if (wrong !== undefined) return { at: "where", what: `${key.slice(0, 64)}: ${wrong}` };
  }
  if (Object.keys(where).length === 0 && devices.length === 0)
    return { at: "where", what: "name at least one condition or one device: without either it would switch the rule off" };
  if (!isWide(rule)) return undefined;
  if (devices.length === 0 || devices.length > MAX_WIDE_DEVICES)
    return { at: "devices", what: `an exception for more than one rule names 1 to ${MAX_WIDE_DEVICES} devices` };
  const exact = Object.entries(where).filter(([key, values]) => isExact(key, values));
  if (exact.length < 2 || !exact.some(([key]) => ["Image", "TargetFilename", "sha256"].includes(key)))
    return {
      at: "where",
      what: "an exception for more than one rule needs at least two conditions without modifiers and wildcards, one of them Image, TargetFilename or sha256",
    };
  return undefined;
}

/** Whether it is for more than one rule. */
export const isWide = (rule: string): boolean => rule === "*" || rule.startsWith("engine:");

function whatIsWrongWith(key: string, values: readonly string[]): string | undefined {
  if (/\|re\b/.test(key)) return "regular expressions are not taken: * and ? in a value are";
  if (!KEY.test(key))
    return "a condition is a field such as Image or CommandLine, with |contains, |startswith, |endswith or |cidr, and |all after one of these";
  if (key.includes("|cidr")) return undefined;
  const short = values.find((value) => !isExact(key, [value]) && literalOf(value).length < MIN_LITERAL);
  return short === undefined
    ? undefined
    : `${JSON.stringify(short)} would match nearly anything: say at least ${MIN_LITERAL} characters besides * and ?`;
}

const isExact = (key: string, values: readonly string[]) =>
  !key.includes("|") && values.every((value) => !/(^|[^\\])(\\\\)*[*?]/.test(value));

const literalOf = (value: string) => value.replaceAll(/\\[*?\\]/g, "x").replaceAll(/[*?]/g, "");

/** A text as a value that means itself and nothing else. */
const literal = (text: string) => text.replaceAll(/[\\*?]/g, "\\$&");

/** Programs that say nothing by themselves: what they run stands in their arguments. */
const INTERPRETER = /\/(?:(?:ba|da|z|a|k|c|tc|fi)?sh|busybox|env|sudo|(?:python|perl|ruby|php|lua|node|bun)[\d.]*)$/;
/** Longest command line a proposal pins. */
const MAX_PINNED = 1000;

/**
 * The narrowest exception that makes sense of this alert: its rule, its program, who started that, on this device; of an interpreter also the command line. An alert
 * about no process is excepted by its rule and device alone. Undefined where there can be none.
 */
export function proposalOf(alert: Pick<Detection, "rule" | "device" | "process">): Shape | undefined {
  const { rule, device, process } = alert;
  if (rule.engine === "broker" || isProtectedRule(rule.id)) return undefined;
  const where: Record<string, string[]> = {};
  const pin = (field: string, text: string | undefined) => {
    if (text !== undefined && text !== "" && literal(text).length <= 1024) where[field] = [literal(text)];
  };
  if (process && rule.engine === "yara" && process.sha256) pin("sha256", process.sha256);
  pin("Image", process?.exe);
  pin("ParentImage", process?.parent?.exe);
  if (!process || !INTERPRETER.test(process.exe)) return { rule: rule.id, where, devices: [device] };
  const commandLine = process.argv.join(" ");
  if (literal(commandLine).length <= MAX_PINNED) pin("CommandLine", commandLine);
  return { rule: rule.id, where, devices: [device] };
}

/** What an exception would have hidden of what the site has stored. */
export type ExceptionPreview = {
  /** Where it began to look, by the site's time of receipt. */
  readonly sinceMs: number;
  /** Events looked at, and how many there are: fewer when somebody stopped it. */
  readonly events: number;
  readonly total: number;
  /** Events found by the rule that it would have hidden. */
  readonly matches: number;
  /** Alerts it is for, those that would not exist, and those that would have counted less. */
  readonly alerts: { readonly all: number; readonly gone: number; readonly smaller: number };
  /** Where, by what would have been hidden there: the most first. */
  readonly devices: readonly { readonly device: string; readonly alerts: number; readonly matches: number }[];
  /** Rules of those alerts. */
  readonly rules: readonly string[];
  /** Some of what it would have hidden. */
  readonly examples: readonly { readonly timeMs: number; readonly device: string; readonly words: string }[];
  /** Alerts among them that speak against it. */
  readonly truePositives: number;
  readonly openCritical: number;
};
