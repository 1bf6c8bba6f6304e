// Rules evaluated as they read, without compiling or looking anything up: what the engine must agree with.
import type { SensorEvent } from "@picket/protocol/event";
import type { Condition, FieldTest, Rule } from "../rule.ts";
import { inside, parseAddress } from "../sigma/cidr.ts";
import { fieldsOf, type Value } from "../sigma/fields.ts";
import { linearRegex } from "../sigma/regex.ts";

/** The rules that match, in their order. */
export const naiveMatch = (rules: readonly Rule[], event: SensorEvent): readonly Rule[] =>
  rules.filter(({ detection }) => detection.events.includes(event.type) && holds(detection.condition, event));

function holds(condition: Condition, event: SensorEvent): boolean {
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
      return [...fieldsOf(event.type).keys()].some((field) => field !== "Computer" && passesKeyword(condition.test, field, event));
  }
}

const passesKeyword = (test: FieldTest, field: string, event: SensorEvent): boolean =>
  !["null", "exists", "fieldref"].includes(test.kind) && passes(test, field, event);

const fieldValue = (field: string, event: SensorEvent): Value => fieldsOf(event.type).get(field)?.(event);
const textsOf = (value: Value): readonly string[] => (value === undefined ? [] : typeof value === "object" ? value : [String(value)]);

function passes(test: FieldTest, field: string, event: SensorEvent): boolean {
  const value = fieldValue(field, event);
  if (test.kind === "null") return value === undefined;
  if (test.kind === "exists") return (value !== undefined) === test.wanted;
  return textsOf(value).some((text) => {
    if (test.kind !== "fieldref") return passesText(test, text);
    return textsOf(fieldValue(test.field, event)).some((wanted) => {
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
    case "compare": {
      const number = given.trim() === "" ? Number.NaN : Number(given);
      const than = { lt: number < test.number, lte: number <= test.number, gt: number > test.number, gte: number >= test.number };
      return than[test.than];
    }
  }
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
