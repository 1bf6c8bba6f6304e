// STIX 2.1 bundles: indicators whose pattern says what one thing is.
import { NoList, type Read, rowOf } from "./row.ts";
import { indicatorsOf } from "./stix-pattern.ts";

type Json = Readonly<Record<string, unknown>>;
const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);
const texts = (value: unknown): string[] => (Array.isArray(value) ? value.flatMap((one) => text(one) ?? []) : []);

/** Indicators of a bundle, or of a list of objects. Throws `NoList` when there is no such thing. */
export function* readStix(json: unknown): Generator<Read> {
  const objects = Array.isArray(json) ? json : (json as Json | null)?.objects;
  if (!Array.isArray(objects)) throw new NoList("it is no STIX bundle: it has no objects");
  const indicators = objects.filter((one): one is Json => typeof one === "object" && one !== null && one.type === "indicator");
  if (indicators.length === 0)
    throw new NoList("it is a STIX bundle without indicators (only objects of the type indicator say what to look for)");
  for (const [place, of] of indicators.entries()) {
    const at = text(of.id)?.slice(0, 80) ?? `indicator ${place + 1}`;
    const pattern = text(of.pattern);
    if (of.revoked === true) yield { at, why: "its author has revoked it" };
    else if (pattern === undefined) yield { at, why: "it has no pattern" };
    else if (of.pattern_type !== undefined && of.pattern_type !== "stix")
      yield {
        at,
        why: `its pattern is written in ${JSON.stringify(of.pattern_type).slice(0, 40)}, not in STIX: Sigma and YARA rules are added with detector.rules`,
      };
    else yield* rows(at, pattern, of);
  }
}

function* rows(at: string, pattern: string, of: Json): Generator<Read> {
  const untilMs = typeof of.valid_until === "string" ? Date.parse(of.valid_until) : Number.NaN;
  const said = {
    label: text(of.name) ?? text(of.description),
    tags: [...texts(of.indicator_types), ...texts(of.labels)],
    confidence: typeof of.confidence === "number" ? of.confidence : undefined,
    expiresMs: Number.isNaN(untilMs) ? undefined : untilMs,
  };
  const found = indicatorsOf(pattern);
  if ("why" in found) yield { at, why: `${found.why} (${pattern.slice(0, 160)})` };
  else for (const one of found.all) yield { at, ...rowOf(one, said) };
}
