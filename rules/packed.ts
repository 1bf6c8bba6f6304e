// Rules as packs carry them to devices (protocol/rule-pack.ts): what of a rule goes along, and a rule from what came.

import type { PackedRule } from "@picket/protocol/rule-pack";
import type { Condition, Detection, FieldTest, Rule } from "./rule.ts";
import { eventTypes } from "./sigma/fields.ts";
import { linearRegex } from "./sigma/regex.ts";
import { stepsOf } from "./sigma/regex-size.ts";

// Exhaustive: what a later engine adds is refused by this one, not passed over.
const ops: Record<Condition["op"], true> = { and: true, or: true, not: true, constant: true, field: true, keyword: true };
type Shape = (value: unknown) => boolean;
const [text, flag, number] = (["string", "boolean", "number"] as const).map(
  (type): Shape =>
    (value) =>
      typeof value === type,
) as [Shape, Shape, Shape];
const listOf =
  (of: Shape): Shape =>
  (value) =>
    Array.isArray(value) && value.every(of);
const oneOf =
  (...words: readonly string[]): Shape =>
  (value) =>
    words.includes(value as string);
const optional =
  (of: Shape): Shape =>
  (value) =>
    value === undefined || of(value);
const plain = { text, cased: flag };
const tests: { readonly [K in FieldTest["kind"]]: { readonly [F in Exclude<keyof Extract<FieldTest, { kind: K }>, "kind">]-?: Shape } } = {
  ...{ equals: plain, contains: plain, startswith: plain, endswith: plain },
  glob: { parts: listOf(listOf((value) => value === null || text(value))), cased: flag },
  regex: { source: text, flags: text, literals: optional(listOf(listOf(text))), atLeast: optional(number) },
  cidr: { network: listOf(number), bits: number },
  compare: { than: oneOf("lt", "lte", "gt", "gte"), number },
  time: { part: oneOf("minute", "hour", "day", "week", "month", "year"), than: oneOf("lt", "lte", "gt", "gte", "eq"), number },
  exists: { wanted: flag },
  null: {},
  fieldref: { field: text, how: oneOf("equals", "contains", "startswith", "endswith"), cased: flag },
};
/** What a detection may say besides. */
const detectionKeys: Record<keyof Detection, true> = { events: true, condition: true, records: true };
const recordings: readonly unknown[] = [undefined, "auditd"];

/** Tests and conditions of one rule, at most. */
const MAX_PARTS = 20_000;

/**
 * Steps of all regular expressions of a pack (rules/sigma/regex-size.ts): 30 MB once each was used. They are compiled when a text first needs them, so no
 * trial sees what they take. All rules of Picket and SigmaHQ together have as many.
 */
const MAX_PACK_STEPS = 64_000;

/** What is left of what the rules of one pack may take together. */
export type PackRoom = { steps: number };
export const packRoom = (): PackRoom => ({ steps: MAX_PACK_STEPS });

/** What a device and a site need of a rule. */
export function pack(rule: Rule): PackedRule {
  const { id, title, level, version, author, attack, score, alerts, todo, detection } = rule;
  return {
    ...{ id, title: title.slice(0, 256), level, version, score, alerts, detection },
    attack: { tactics: [...attack.tactics], techniques: [...attack.techniques] },
    ...(author === undefined ? {} : { author: author.slice(0, 256) }),
    ...(todo === undefined ? {} : { todo: todo.slice(0, 1000) }),
  };
}

/** The rule, or why this engine cannot run it. `file` is what errors call it; `room` is the same for all rules of one pack. */
export function unpack(packed: PackedRule, file: string, room: PackRoom): Rule | string {
  const wrong = whatIsWrong(packed.detection, room);
  if (wrong !== undefined) return `${packed.id}: ${wrong}`;
  const { detection, author, todo, ...rest } = packed;
  return {
    ...rest,
    ...(author === undefined ? {} : { author }),
    ...(todo === undefined ? {} : { todo }),
    ...{ tags: [], falsepositives: [], references: [], logsource: {}, file, line: 1 },
    detection: detection as Detection,
  };
}

type Parts = { left: number; readonly room: PackRoom };

function whatIsWrong(detection: unknown, room: PackRoom): string | undefined {
  if (!isRecord(detection)) return "it asks nothing";
  const unknown = Object.keys(detection).find((key) => !Object.hasOwn(detectionKeys, key));
  if (unknown !== undefined || !recordings.includes(detection.records)) return "it is written for a later version";
  const { events, condition } = detection;
  if (!Array.isArray(events) || events.length === 0) return "it looks at no event";
  if (!events.every((type) => (eventTypes as readonly unknown[]).includes(type))) return "it looks at events this version does not know";
  const parts = { left: MAX_PARTS, room };
  return wrongIn(condition, parts) ?? (parts.left < 0 ? `it has more than ${MAX_PARTS} parts` : undefined);
}

function wrongIn(condition: unknown, parts: Parts): string | undefined {
  if (--parts.left < 0) return undefined;
  if (!isRecord(condition) || typeof condition.op !== "string" || !Object.hasOwn(ops, condition.op)) return later("condition");
  const each = (list: unknown, look: (one: unknown) => string | undefined) =>
    Array.isArray(list) ? firstOf(list, look) : later("condition");
  switch (condition.op as Condition["op"]) {
    case "and":
    case "or":
      return each(condition.of, (one) => wrongIn(one, parts));
    case "not":
      return wrongIn(condition.of, parts);
    case "constant":
      return typeof condition.value === "boolean" ? undefined : later("condition");
    case "field":
      return typeof condition.field === "string" ? each(condition.tests, (one) => wrongTest(one, parts)) : later("condition");
    case "keyword":
      return wrongTest(condition.test, parts);
  }
}

function wrongTest(test: unknown, parts: Parts): string | undefined {
  if (--parts.left < 0) return undefined;
  if (!isRecord(test) || typeof test.kind !== "string" || !Object.hasOwn(tests, test.kind)) return later("test");
  const shape = { kind: text, ...tests[test.kind as FieldTest["kind"]] } as Record<string, Shape>;
  if (Object.keys(test).some((key) => !Object.hasOwn(shape, key))) return later("test");
  const wrong = Object.keys(shape).find((key) => !shape[key]!(test[key]));
  if (wrong !== undefined) return `a test "${test.kind}" whose ${wrong} is none`;
  if (test.kind !== "regex") return undefined;
  // Before it is compiled: that is what would take too long.
  parts.room.steps -= stepsOf(String(test.source));
  if (parts.room.steps < 0) return `with it the regular expressions of the pack make more than ${MAX_PACK_STEPS} steps`;
  try {
    linearRegex(String(test.source), String(test.flags));
    return undefined;
  } catch (error) {
    return `a regular expression that cannot be used: ${error instanceof Error ? error.message.slice(0, 80) : "unknown"}`;
  }
}

const later = (what: string) => `a ${what} this version does not know: upgrade the agent`;
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

function firstOf<T>(list: readonly T[], look: (one: T) => string | undefined): string | undefined {
  for (const one of list) {
    const wrong = look(one);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}
