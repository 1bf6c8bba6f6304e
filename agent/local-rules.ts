// The rules this device matches itself: those it was shipped with, and what packs of its operators add, replace or switch off.
import type { Hit, SensorEvent } from "@picket/protocol/event";
import type { RulePack } from "@picket/protocol/rule-pack";
import type { Capability } from "@picket/protocol/status";
import { builtinRules } from "@picket/rules/builtin";
import { compileRules, type Matcher, type Rule } from "@picket/rules/matcher";
import type { z } from "zod";
import type { InForce, PackUse } from "./packs/packs.ts";
import type { Meter, Sample } from "./rules/trial.ts";

export type HitOf = z.infer<typeof Hit>;
/** Most hits one event carries (protocol/event.ts). */
const MAX_HITS = 64;

export type LocalRules = {
  /** They make no alerts here: a hit is a fact for the detector, which honours it even when its own rules differ. Never throws. */
  match(event: SensorEvent): HitOf[];
  readonly use: PackUse;
  /** Nothing while only the shipped rules run. */
  capability(): Capability[];
};

let reader: typeof import("./rules/reader.ts") | undefined;
const load = async (): Promise<void> => {
  reader ??= await import("./rules/reader.ts");
};
function loaded(): NonNullable<typeof reader> {
  if (!reader) throw new Error("what reads packs of rules is not loaded");
  return reader;
}

/** The shipped rules, until a pack says otherwise. Throws when a shipped rule is broken, which a test of the rules prevents. */
export function openLocalRules(on: boolean, meter?: Meter): LocalRules {
  let matcher: Matcher | undefined = on ? compileRules(builtinRules()) : undefined;
  let words: Words | undefined;
  let failure: string | undefined;
  const use = (packs: InForce): Words => {
    const next = join(packs);
    if (on) matcher = next.changed ? loaded().tryRules(next.rules, next.samples, meter) : compileRules(builtinRules());
    return on || !next.changed
      ? next.words
      : { ...next.words, text: `${next.words.text}; this device's own configuration keeps rules off` };
  };
  return {
    match: (event) => {
      if (!matcher) return [];
      try {
        return matcher
          .match(event)
          .slice(0, MAX_HITS)
          .map(({ id, version }) => ({ rule: id, version }));
      } catch (error) {
        // A pack that stood its trial and fails all the same: without this every event would be lost with it.
        failure = `a rule of a pack failed, only the shipped ones run: ${wordsOf(error)}`;
        matcher = compileRules(builtinRules());
        return [];
      }
    },
    use: {
      load,
      refuse: (payload) => {
        const read = readPack(payload);
        return typeof read === "string" ? read : undefined;
      },
      apply: (packs) => {
        try {
          words = use(packs);
        } catch (error) {
          // At a start: nothing of packs runs, though some should. Later, what ran goes on.
          if (!words) failure = `the rules of packs could not be put in force, only the shipped ones run: ${wordsOf(error)}`;
          throw error;
        }
        failure = undefined;
        return words.text;
      },
    },
    capability: () => (words?.versions || failure !== undefined ? [capabilityOf(words, failure)] : []),
  };
}

const wordsOf = (error: unknown) => (error instanceof Error ? error.message.slice(0, 200) : "unknown");

type Words = { readonly versions: string; readonly text: string; readonly changed: number };
type Read = { readonly rules: readonly Rule[]; readonly disable: readonly string[]; readonly samples: readonly Sample[] };

function readPack(payload: unknown): Read | string {
  const pack: RulePack | string = loaded().openRules(payload);
  if (typeof pack === "string") return pack;
  const rules: Rule[] = [];
  const room = loaded().packRoom();
  for (const packed of pack.rules) {
    const rule = loaded().unpack(packed, "pack", room);
    if (typeof rule === "string") return `rule ${rule}`;
    rules.push(rule);
  }
  return { rules, disable: pack.disable, samples: pack.samples };
}

/** A pack of this device goes before one of the site, and both before what was shipped. What is no longer understood (the agent is older now) is an error. */
function join({ site, device }: InForce) {
  const read = (pack: InForce["site"]): Read => {
    const found = pack ? readPack(pack.payload) : { rules: [], disable: [], samples: [] };
    if (typeof found === "string") throw new Error(found);
    return found;
  };
  const [ofSite, own] = [read(site), read(device)];
  const shipped = builtinRules();
  const disabled = new Set([...ofSite.disable, ...own.disable]);
  const ownIds = new Set(own.rules.map(({ id }) => id));
  const given = [...ofSite.rules.filter(({ id }) => !ownIds.has(id)), ...own.rules];
  if (given.length > 0 && given.length > loaded().MAX_PACK_RULES)
    throw new Error(`with the other pack of this device it brings ${given.length} rules; ${loaded().MAX_PACK_RULES} are allowed`);
  const givenIds = new Set(given.map(({ id }) => id));
  const off = shipped.filter(({ id }) => disabled.has(id) && !givenIds.has(id));
  // One that asks something else may ask for what never happens: as good as switched off.
  const asks = new Map(given.map(({ id, detection }) => [id, JSON.stringify(detection)]));
  const replaced = shipped.filter(({ id, detection }) => givenIds.has(id) && asks.get(id) !== JSON.stringify(detection));
  const rules = [...shipped.filter(({ id }) => !givenIds.has(id) && !disabled.has(id)), ...given];
  const versions = [site && `version ${site.version} of the site`, device && `version ${device.version} of this device`]
    .filter((text) => text !== undefined)
    .join(" and ");
  const text = [
    `${given.length} rules of packs beside ${rules.length - given.length} shipped ones`,
    ...(off.length > 0 ? [`${off.length} SWITCHED OFF here: ${titlesOf(off)}`] : []),
    ...(replaced.length > 0 ? [`${replaced.length} REPLACED here: ${titlesOf(replaced)}`] : []),
  ].join("; ");
  // A rule of the site that the device has another of: its samples say nothing of that one.
  const samples = [...ofSite.samples.filter(({ rule }) => !ownIds.has(rule)), ...own.samples].filter(({ rule }) => givenIds.has(rule));
  return { rules, samples, changed: versions !== "", words: { versions, text, changed: off.length + replaced.length } };
}

const titlesOf = (rules: readonly Rule[]): string =>
  rules
    .map(({ title }) => `"${title}"`)
    .join(", ")
    .slice(0, 180);

function capabilityOf(words: Words | undefined, failure: string | undefined): Capability {
  const why = `${words?.versions ?? ""}: ${words?.text ?? ""}`.slice(0, 512);
  if (failure !== undefined)
    return { name: "rules", level: "degraded", why: failure.slice(0, 512), todo: "sign a pack without the rule; see docs/rule-packs.md" };
  if (words && words.changed > 0)
    return {
      ...{ name: "rules", level: "degraded", why },
      todo: "If you did not mean to switch shipped rules off or replace them: sign a pack that does not, and look who signed this one with `picket rules status`",
    };
  return { name: "rules", level: "live", why };
}
