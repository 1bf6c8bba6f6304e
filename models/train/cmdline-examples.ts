// The lines a shipped model may learn from, made by grammar: attack behaviour and honest work.
import { readFileSync } from "node:fs";
import { lineOf, type Sight } from "../cmdline/features.ts";
import { disguise } from "./evasions.ts";
import { fill } from "./grammar.ts";
import { type Random, randomOf } from "./random.ts";
import { slots } from "./slots.ts";
import { attackFamilies, type Family, workFamilies } from "./templates.ts";

/** A line of which the label is known. */
export type Line = {
  readonly text: string;
  readonly label: 0 | 1;
  readonly source: string;
  /** Near-duplicates share one: they are never on both sides of a split. */
  readonly group: string;
  readonly tier?: "overt" | "dual_use";
  readonly parent?: string;
};

const MAX_VARIANTS = 24;
const SERVERS = ["/usr/sbin/nginx", "/usr/sbin/apache2", "/usr/bin/node", "/usr/sbin/mosquitto", "/usr/bin/java", "/usr/sbin/php-fpm8.2"];

/** Different fillings of a template: the more alternatives it has, the more of them. */
function variants(template: string, least: number, random: Random): string[] {
  const count = Math.min(MAX_VARIANTS, Math.max(least, Math.ceil(template.split("|").length / 2)));
  return [...new Set(Array.from({ length: count }, () => fill(template, slots, random)))];
}

function linesOf(
  families: readonly Family[],
  label: 0 | 1,
  least: number,
  random: Random,
  parentOf: (family: Family) => string | undefined,
): Line[] {
  return families.flatMap((family) =>
    family.lines.flatMap((template, at) =>
      variants(template, least, random).map((text): Line => {
        const parent = parentOf(family);
        return {
          text,
          label,
          source: label === 1 ? "templates" : "work",
          group: `${family.name} ${at}`,
          ...(family.tier === undefined ? {} : { tier: family.tier }),
          ...(parent === undefined ? {} : { parent }),
        };
      }),
    ),
  );
}

/** Attack lines, at least `least` of each template; now and then a server started them. The same seed makes the same lines. */
export function attackLines(seed: number, least: number): Line[] {
  const random = randomOf(seed);
  return linesOf(attackFamilies(), 1, least, random, () => (random.chance(0.15) ? random.pick(SERVERS) : undefined));
}

/** Lines of honest work, with the programs that start them. */
export function workLines(seed: number, least: number): Line[] {
  const random = randomOf(seed);
  return linesOf(workFamilies(), 0, least, random, ({ parents }) =>
    parents.length > 0 && random.chance(0.7) ? random.pick(parents) : undefined,
  );
}

/** What a recorded piece of honest work started (trace.ts). */
export function traceLines(): Line[] {
  const text = readFileSync(new URL("./cmdline-trace.ndjson", import.meta.url), "utf8");
  return text.split("\n").flatMap((row, at) => {
    if (row === "") return [];
    const sight = JSON.parse(row) as Sight;
    const parent = sight.parent === undefined || at % 3 === 0 ? {} : { parent: sight.parent };
    return [{ text: lineOf(sight), label: 0 as const, source: "trace", group: `trace ${sight.argv[0]}`, ...parent }];
  });
}

/** A share of the lines, hidden the way attackers hide theirs; honest lines too, or hiding alone would be the sign. */
export function disguised(lines: readonly Line[], share: number, seed: number): Line[] {
  const random = randomOf(seed);
  return lines.flatMap((line) => (random.chance(share) ? [{ ...line, text: disguise(line.text, random) }] : []));
}
