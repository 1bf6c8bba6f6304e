import type { Condition } from "../rule.ts";

/**
 * The programs (last segment of Image, lower case) outside of which `condition` cannot be true; undefined when any program may do.
 * Used to look rules up, so it may name too many, never too few.
 */
export function namesRequired(condition: Condition): ReadonlySet<string> | undefined {
  switch (condition.op) {
    case "field":
      return condition.field === "Image" ? namesOf(condition) : undefined;
    case "and": {
      const sets = condition.of.map(namesRequired).filter((set) => set !== undefined);
      return sets.toSorted((a, b) => a.size - b.size)[0];
    }
    case "or": {
      const sets = condition.of.map(namesRequired);
      if (sets.some((set) => set === undefined)) return undefined;
      return new Set(sets.flatMap((set) => [...set!]));
    }
    case "constant":
      return condition.value ? undefined : new Set();
    case "not":
    case "keyword":
      return undefined;
  }
}

function namesOf({ tests }: Extract<Condition, { op: "field" }>): ReadonlySet<string> | undefined {
  const names = new Set<string>();
  for (const test of tests) {
    const ofPath = test.kind === "equals" || (test.kind === "endswith" && test.text.includes("/"));
    if (!ofPath) return undefined;
    names.add(test.text.slice(test.text.lastIndexOf("/") + 1).toLowerCase());
  }
  return names;
}
