// What an event has under the names of a group: Sigma's field names, or what an alias says for the rule.
import type { SensorEvent } from "@picket/protocol/event";
import { deviceFields, type GroupField } from "@picket/rules/correlation/correlation";
import { fieldsOf } from "@picket/rules/sigma/fields";
import { clean, shortKey } from "../text.ts";

const MAX_KEY = 256;
const MAX_SHOWN = 120;
/** Of a value that is counted: longer ones are told apart by their hash. */
const MAX_COUNTED = 64;

type Values = readonly string[];

/** What a rule, or a correlation that others refer to, said of an event. */
export type Said = {
  readonly rule: string;
  readonly event: SensorEvent;
  /** Of a correlation: its group, by name. */
  readonly group?: ReadonlyMap<string, string>;
};

/** Values of all `fields`; undefined where the event lacks one. */
export function valuesOf(fields: readonly GroupField[], said: Said): Values | undefined {
  const values: string[] = [];
  for (const { name, of } of fields) {
    const value = fieldValue(Object.hasOwn(of, said.rule) ? of[said.rule]! : name, said);
    if (value === undefined) return undefined;
    values.push(value);
  }
  return values;
}

function fieldValue(field: string, { event, group }: Said): string | undefined {
  const grouped = group?.get(field);
  if (grouped !== undefined) return grouped;
  const get = fieldsOf(event.type).get(field);
  const value = get ? get(event) : deviceFields.has(field) ? event.device : undefined;
  if (value === undefined) return undefined;
  return typeof value === "string" ? value : typeof value === "object" ? value.join(" ") : String(value);
}

/** The group's name: bounded, and another for other values. */
export const keyOf = (values: Values): string => shortKey(JSON.stringify(values), MAX_KEY);

/** As a sentence may show them. */
export const shownOf = (values: Values): string[] => values.map((value) => clean(value, MAX_SHOWN));

/** What is counted of them. */
export function countedOf(values: Values): string {
  const text = values.length === 1 ? values[0]! : JSON.stringify(values);
  return text.length <= MAX_COUNTED ? text.toWellFormed() : shortKey(text, MAX_COUNTED).slice(0, MAX_COUNTED);
}
