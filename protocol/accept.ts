// A quick yes for what zod would surely take unchanged. Zod decides everything else, so this can only be slower, never laxer.
import type * as z from "zod";

/** True only when the schema would accept `value`, a result of JSON.parse, and return an equal one. False says nothing. */
export type Accept = (value: unknown) => boolean;

type Def = {
  readonly type: string;
  readonly format?: string;
  readonly checks?: readonly { readonly _zod: { readonly def: CheckDef } }[];
  readonly shape?: Readonly<Record<string, z.ZodType>>;
  readonly element?: z.ZodType;
  readonly items?: readonly z.ZodType[];
  readonly rest?: z.ZodType | null;
  readonly pattern?: RegExp;
  readonly innerType?: z.ZodType;
  readonly options?: readonly z.ZodType[];
  readonly entries?: Readonly<Record<string, string>>;
  readonly values?: readonly unknown[];
  readonly catchall?: unknown;
  readonly coerce?: boolean;
};
type CheckDef = {
  readonly check: string;
  readonly value?: number;
  readonly inclusive?: boolean;
  readonly maximum?: number;
  readonly minimum?: number;
  readonly length?: number;
  readonly format?: string;
  readonly pattern?: RegExp;
};

const never: Accept = () => false;
const always: Accept = () => true;
const all = (tests: readonly Accept[]): Accept =>
  tests.every((one) => one === always) ? always : (value) => tests.every((one) => one(value));

/**
 * Reads the checks out of the schema, so that there is no second list to keep. A kind of schema or check it does not know is never
 * accepted here and always goes to zod.
 */
export function accepter(schema: z.ZodType): Accept {
  const def = defOf(schema);
  if (def.coerce || def.catchall) return never;
  switch (def.type) {
    case "string":
      return textOf(def);
    case "number":
      return numberOf(def);
    case "boolean":
      return plain(def, (value) => typeof value === "boolean");
    case "null":
      return plain(def, (value) => value === null);
    case "literal":
      return plain(def, (value) => def.values!.includes(value));
    case "enum": {
      const values = new Set<unknown>(Object.values(def.entries!));
      return plain(def, (value) => values.has(value));
    }
    case "array":
      return arrayOf(def);
    case "tuple":
      return tupleOf(def);
    case "object":
      return objectAccepter(schema);
    case "union": {
      // Only of scalars: of two object shapes zod takes the first that fits, and this could take the other.
      const options = def.options!.map((option) => (/^(string|number|boolean|null)$/.test(defOf(option).type) ? accepter(option) : never));
      return plain(def, (value) => options.some((option) => option(value)));
    }
    default:
      return never;
  }
}

const defOf = (schema: z.ZodType): Def => schema._zod.def as unknown as Def;
const checksOf = (def: Def): CheckDef[] => (def.checks ?? []).map((check) => check._zod.def);
const plain = (def: Def, accept: Accept): Accept => (checksOf(def).length === 0 ? accept : never);

function textOf(def: Def): Accept {
  let most = Number.POSITIVE_INFINITY;
  let least = 0;
  let shape: RegExp | undefined;
  for (const { check, maximum, length, format, pattern } of checksOf(def)) {
    if (check === "max_length") most = Math.min(most, maximum!);
    else if (check === "length_equals") [least, most] = [length!, length!];
    // One with flags may remember where it stopped.
    else if (check === "string_format" && format === "regex" && pattern?.flags === "" && !shape) shape = pattern;
    else return never;
  }
  if (def.format === "uuid" && def.pattern?.flags === "" && !shape) shape = def.pattern;
  else if (def.format !== undefined) return never;
  if (shape) return (value) => typeof value === "string" && value.length <= most && value.length >= least && shape.test(value);
  return (value) => typeof value === "string" && value.length <= most && value.length >= least;
}

function numberOf(def: Def): Accept {
  const tests: Accept[] = [];
  for (const { check, value: bound, inclusive } of checksOf(def)) {
    if (check === "greater_than") tests.push((value) => (value as number) > bound! || (inclusive! && value === bound));
    else if (check === "less_than") tests.push((value) => (value as number) < bound! || (inclusive! && value === bound));
    else return never;
  }
  if (def.format !== undefined && def.format !== "safeint") return never;
  const whole = def.format === "safeint";
  const [only, ...more] = tests;
  if (only && more.length === 0) return (value) => (whole ? Number.isSafeInteger(value) : Number.isFinite(value)) && only(value);
  const within = all(tests);
  return (value) => (whole ? Number.isSafeInteger(value) : Number.isFinite(value)) && within(value);
}

function arrayOf(def: Def): Accept {
  let most = Number.POSITIVE_INFINITY;
  let least = 0;
  for (const { check, maximum, minimum } of checksOf(def)) {
    if (check === "max_length") most = Math.min(most, maximum!);
    else if (check === "min_length") least = Math.max(least, minimum!);
    else return never;
  }
  const element = accepter(def.element!);
  return (value) => {
    if (!Array.isArray(value) || value.length > most || value.length < least) return false;
    for (const one of value) if (!element(one)) return false;
    return true;
  };
}

function tupleOf(def: Def): Accept {
  if (def.rest || def.items!.some((item) => defOf(item).type === "optional")) return never;
  const items = def.items!.map(accepter);
  return plain(def, (value) => Array.isArray(value) && value.length === items.length && items.every((accept, at) => accept(value[at])));
}

/** As `accepter`, for an object whose key `except` the caller judges. */
export function objectAccepter(schema: z.ZodType, except?: string): Accept {
  const def = defOf(schema);
  if (def.type !== "object" || def.catchall) return never;
  const fields = Object.entries(def.shape!).map(([key, field]) => {
    const inner = defOf(field);
    const optional = key === except || inner.type === "optional";
    return { key, optional, accept: key === except ? always : accepter(inner.type === "optional" ? inner.innerType! : field) };
  });
  return plain(def, (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
    const record = value as Record<string, unknown>;
    let unknown = 0;
    for (let at = 0; at < fields.length; at++) {
      const { key, optional, accept } = fields[at]!;
      const field = record[key];
      if (field !== undefined) {
        if (!accept(field)) return false;
        unknown--;
      } else if (!optional) return false;
    }
    // A key that is not in the schema is dropped by zod, and must not get past it here.
    for (const _ in record) unknown++;
    return unknown === 0;
  });
}
