// Rules evaluated as they read, without compiling or looking anything up: what the engine must agree with.
import type { SensorEvent } from "@picket/protocol/event";
import type { Condition, FieldTest, Rule } from "../rule.ts";
import { auditRecordsOf } from "../sigma/auditd.ts";
import { inside, parseAddress } from "../sigma/cidr.ts";
import { fieldsOf, isSearched, type Value } from "../sigma/fields.ts";
import { linearRegex } from "../sigma/regex.ts";

/** What a condition is held against: an event, or one record of an audit log. */
type Subject = { readonly valueOf: (field: string) => Value; readonly searched: readonly Value[] };

/** The rules that match, in their order. */
export const naiveMatch = (rules: readonly Rule[], event: SensorEvent): readonly Rule[] => {
  const asRecords = recordsOf(event);
  return rules.filter(({ detection: { events, condition, records } }) => {
    if (!events.includes(event.type)) return false;
    return (records === undefined ? [eventAsIs(event)] : asRecords).some((subject) => holds(condition, subject));
  });
};

const fieldValue = (field: string, event: SensorEvent): Value => fieldsOf(event.type).get(field)?.(event);

const eventAsIs = (event: SensorEvent): Subject => ({
  valueOf: (field) => fieldValue(field, event),
  searched: [...fieldsOf(event.type).keys()].filter(isSearched).map((field) => fieldValue(field, event)),
});

const recordsOf = (event: SensorEvent): Subject[] =>
  auditRecordsOf(event.type).map(({ fields, text }) => {
    const values = new Map<string, Value>();
    for (const [name, field] of fields)
      values.set(name, field.kind === "fixed" ? field.values : field.kind === "same" ? fieldValue(field.as, event) : field.get(event));
    // A link stands for two paths.
    for (const [name, field] of fields)
      if (field.kind === "same" && field.link !== undefined)
        values.set(name, [...textsOf(values.get(name)), ...textsOf(values.get(field.link))]);
    const fixed = [...fields.values()].flatMap((field) => (field.kind === "fixed" ? field.values : []));
    return { valueOf: (field) => values.get(field), searched: [fixed, ...text.map((field) => fieldValue(field, event))] };
  });

function holds(condition: Condition, event: Subject): boolean {
  switch (condition.op) {
    case "constant":
      return condition.value;
    case "and":
      return condition.of.every((part) => holds(part, event));
    case "or":
      return condition.of.some((part) => holds(part, event));
    case "not":
      return !holds(condition.of, event);
    case "field":
      return condition.tests.some((test) => passes(test, condition.field, event));
    case "keyword":
      return event.searched.some((value) => passesKeyword(condition.test, value));
  }
}

const passesKeyword = (test: FieldTest, value: Value): boolean =>
  test.kind !== "null" && test.kind !== "exists" && test.kind !== "fieldref" && textsOf(value).some((text) => passesText(test, text));

const textsOf = (value: Value): readonly string[] => (value === undefined ? [] : typeof value === "object" ? value : [String(value)]);

function passes(test: FieldTest, field: string, event: Subject): boolean {
  const value = event.valueOf(field);
  if (test.kind === "null") return value === undefined;
  if (test.kind === "exists") return (value !== undefined) === test.wanted;
  return textsOf(value).some((text) => {
    if (test.kind !== "fieldref") return passesText(test, text);
    return textsOf(event.valueOf(test.field)).some((wanted) => {
      const as = (one: string) => (test.cased ? one : one.toLowerCase());
      return passesText({ kind: test.how, text: as(wanted), cased: test.cased }, text);
    });
  });
}

function passesText(test: Exclude<FieldTest, { kind: "null" | "exists" | "fieldref" }>, given: string): boolean {
  const text = "cased" in test && !test.cased ? given.toLowerCase() : given;
  switch (test.kind) {
    case "equals":
      return text === test.text;
    case "contains":
      return text.includes(test.text);
    case "startswith":
      return text.startsWith(test.text);
    case "endswith":
      return text.endsWith(test.text);
    case "glob":
      return globOf(test.parts).test(text);
    case "regex":
      return regexOf(test.source, test.flags)(given);
    case "cidr":
      return inside(test, parseAddress(given));
    case "time": {
      const number = partOf(given, test.part);
      const than = { ...comparisons(number, test.number), eq: number === test.number };
      return than[test.than];
    }
    case "compare": {
      const number = given.trim() === "" ? Number.NaN : Number(given);
      return comparisons(number, test.number)[test.than];
    }
  }
}

const comparisons = (a: number, b: number) => ({ lt: a < b, lte: a <= b, gt: a > b, gte: a >= b });

/** NaN where the text is no date. */
function partOf(text: string, part: Extract<FieldTest, { kind: "time" }>["part"]): number {
  const date = new Date(`${text.trim().replace(" ", "T").slice(0, 16)}${/[T ]\d\d:\d\d/.test(text) ? "Z" : "T00:00Z"}`);
  if (part === "minute") return date.getUTCMinutes();
  if (part === "hour") return date.getUTCHours();
  if (part === "day") return date.getUTCDate();
  if (part === "month") return date.getUTCMonth() + 1;
  if (part === "year") return date.getUTCFullYear();
  // The week of a date is that of its Thursday, counted from the year's first.
  const thursday = new Date(date);
  while (thursday.getUTCDay() !== 4 && !Number.isNaN(date.getTime()))
    thursday.setUTCDate(thursday.getUTCDate() + (thursday.getUTCDay() === 0 || thursday.getUTCDay() > 4 ? -1 : 1));
  let week = 1;
  for (const day = new Date(thursday); day.getUTCFullYear() === thursday.getUTCFullYear(); day.setUTCDate(day.getUTCDate() - 7)) week += 1;
  return Number.isNaN(date.getTime()) ? Number.NaN : week - 1;
}

const escaped = (char: string) => char.replace(/[\\^$.*+?()[\]{}|/-]/, "\\$&");
const globOf = (parts: readonly (readonly (string | null)[])[]) =>
  new RegExp(`^${parts.map((part) => part.map((char) => (char === null ? "[^]" : escaped(char))).join("")).join("[^]*")}$`);

const regexes = new Map<string, (text: string) => boolean>();
function regexOf(source: string, flags: string) {
  const key = `${flags}/${source}`;
  const made = regexes.get(key) ?? linearRegex(source, flags);
  regexes.set(key, made);
  return made;
}
