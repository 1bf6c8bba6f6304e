// Which parts of a rule can ever be true, given the fields our events have.
import type { EventType } from "@picket/protocol/event";
import type { Condition, FieldTest } from "../rule.ts";
import { fieldsOf } from "./fields.ts";

export type Reach = { readonly condition: Condition; readonly missing: readonly string[] };

/** `condition` with every item on a field that none of these events has replaced by what it then always is. `missing` names those fields. */
export function reach(condition: Condition, events: readonly EventType[]): Reach {
  const missing = new Set<string>();
  const has = (field: string) => events.some((type) => fieldsOf(type).has(field));

  function known(part: Condition): Condition {
    switch (part.op) {
      case "constant":
      case "keyword":
        return part;
      case "not":
        return simplified({ op: "not", of: known(part.of) });
      case "and":
      case "or":
        return simplified({ op: part.op, of: part.of.map(known) });
      case "field":
        return field(part);
    }
  }

  function field(part: Extract<Condition, { op: "field" }>): Condition {
    for (const test of part.tests) if (test.kind === "fieldref" && !has(test.field)) missing.add(test.field);
    if (has(part.field)) return part;
    missing.add(part.field);
    return { op: "constant", value: part.tests.some(passesMissing) };
  }

  return { condition: known(condition), missing: [...missing] };
}

/** Without the constants that `and`, `or` and `not` can do without; looks no deeper than their own parts. */
export function simplified(condition: Condition): Condition {
  switch (condition.op) {
    case "not":
      return condition.of.op === "constant" ? { op: "constant", value: !condition.of.value } : condition;
    case "and":
    case "or": {
      const decides = condition.op === "or";
      const of = condition.of.filter((one) => one.op !== "constant" || one.value === decides);
      const decided = of.find((one) => one.op === "constant");
      if (decided) return decided;
      return of.length === 0 ? { op: "constant", value: !decides } : of.length === 1 ? of[0]! : { op: condition.op, of };
    }
    default:
      return condition;
  }
}

/** Whether a field that is not there passes. */
export const passesMissing = (test: FieldTest): boolean => test.kind === "null" || (test.kind === "exists" && !test.wanted);
