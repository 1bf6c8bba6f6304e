// The correlations Picket ships, with the rules that are only there for them: for the site, not for devices.
import type { Rule } from "../rule.ts";
import { correlationRows, partRows } from "./builtin.gen.ts";
import type { Correlation } from "./correlation.ts";
import type { Known } from "./link.ts";

let read: Known | undefined;

/** In the order of their files. They were parsed and checked by rules/gen.ts. */
export function builtinCorrelations(): Known {
  read ??= {
    rules: partRows.map((row) => JSON.parse(row) as Rule),
    correlations: correlationRows.map((row) => JSON.parse(row) as Correlation),
  };
  return read;
}
