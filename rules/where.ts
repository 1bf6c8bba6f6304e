// Conditions as an operator writes them, outside of a rule: the same fields, values and modifiers, with the same meaning.
import { eventTypes } from "@picket/protocol/event";
import type { Condition } from "./rule.ts";
import { fieldsOf } from "./sigma/fields.ts";
import { parseKey, testsOf } from "./sigma/modifiers.ts";

/** Every field that an event of some type has. */
const fields: ReadonlySet<string> = new Set(eventTypes.flatMap((type) => [...fieldsOf(type).keys()]));

/** Sigma's meaning of `Field|modifier: values`, all of which must hold; always case-sensitive. Throws Error with what is wrong. */
export function conditionOf(where: Readonly<Record<string, readonly string[]>>): Condition {
  const of = Object.entries(where).map(([key, values]): Condition => {
    const { field, modifiers } = parseKey(`${key}|cased`, 1);
    if (!fields.has(field)) throw new Error(`${key}: ${unknown(field)}`);
    const groups = values.map((text) => testsOf({ kind: "scalar", type: "string", text, line: 1 }, modifiers, key));
    if (!modifiers.all) return { op: "field", field, tests: groups.flat() };
    return { op: "and", of: groups.map((tests): Condition => ({ op: "field", field, tests })) };
  });
  return of.length === 0 ? { op: "constant", value: true } : { op: "and", of };
}

function unknown(field: string): string {
  const near = [...fields].find((name) => name.toLowerCase() === field.toLowerCase());
  return `no event has a field ${field}${near ? ` (did you mean ${near}? names are case-sensitive)` : ""}`;
}
