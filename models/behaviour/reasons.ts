// Why a minute is unusual, in plain words: what was there for the first time or hardly ever, and what there was much more of than usual.
import { type Past, surprise } from "./features.ts";
import { type Kind, kinds } from "./keys.ts";
import type { Scale } from "./scale.ts";
import { counted, type MinuteWindow, type Named } from "./window.ts";

/** Bits of surprise from which a key is worth a word: seen in fewer than one of 500 minutes. */
const RARE_BITS = 9;
/** Squared decades from which a count is worth a word. */
const MUCH = 4;
const MAX_REASONS = 5;
const MAX_EVENTS = 12;
const PER_KIND = 2;

export type Explained = {
  /** Most telling first. */
  readonly reasons: readonly string[];
  /** Events that the reasons rest on. */
  readonly eventIds: readonly string[];
};

type Rare = { readonly kind: Kind; readonly key: Named; readonly bits: number; readonly never: boolean };

/** `parts`: what each feature added to the energy. */
export function explain(window: MinuteWindow, past: Past, scale: Scale, parts: Float32Array): Explained {
  const own = past.own ?? past.site;
  const rare: Rare[] = [];
  for (const kind of kinds) {
    for (const [hash, key] of window.keys[kind]) {
      const count = own.count(kind, hash);
      const bits = surprise(count, own.minutes);
      const atSite = past.own ? Math.min(bits, surprise(past.site.count(kind, hash), past.site.minutes)) : 0;
      if (count === 0 || bits >= RARE_BITS) rare.push({ kind, key, bits: bits + atSite / 2 + Math.log10(key.count), never: count === 0 });
    }
  }
  rare.sort((a, b) => b.bits - a.bits || (a.key.name < b.key.name ? -1 : 1));
  const shown = oncePerProgram(rare);
  const who = past.own ? "this device" : "any device of this site that was learnt";
  const words = [...kinds.flatMap((kind) => wordsOf(kind, shown, who)), ...much(window, scale, parts)];
  words.sort((a, b) => b.weight - a.weight);
  const chosen = words.slice(0, MAX_REASONS);
  const eventIds = [...new Set(chosen.flatMap(({ eventIds }) => eventIds))].slice(0, MAX_EVENTS);
  return { reasons: chosen.map(({ text }) => text), eventIds };
}

type Reason = { readonly text: string; readonly weight: number; readonly eventIds: readonly string[] };

/** A program's first start is told once, with who started it. */
function oncePerProgram(rare: readonly Rare[]): Rare[] {
  const paired = new Set(rare.flatMap(({ kind, key }) => (kind === "pair" ? [key.name.split(" > ")[1]] : [])));
  return rare.filter(({ kind, key }) => kind !== "program" || !paired.has(key.name));
}

function wordsOf(kind: Kind, rare: readonly Rare[], who: string): Reason[] {
  const of = rare.filter((one) => one.kind === kind);
  if (of.length <= PER_KIND) return of.map((one) => ({ text: sentence(one, who), weight: one.bits, eventIds: [one.key.eventId] }));
  const seen = of.every(({ never }) => never) ? "never seen before" : "hardly ever seen before";
  const text = `${of.length} ${plurals[kind]} ${seen}, such as ${of[0]!.key.name}`;
  return [{ text, weight: of[0]!.bits + Math.log2(of.length), eventIds: of.slice(0, MAX_EVENTS).map(({ key }) => key.eventId) }];
}

const plurals: Record<Kind, string> = {
  program: "programs",
  pair: "pairs of program and parent",
  destination: "networks",
  port: "ports",
  place: "places written to",
};

function sentence({ kind, key, never }: Rare, who: string): string {
  const before = never ? "never before" : "hardly ever before";
  const first = never ? "first time" : "hardly ever before:";
  const { name, count } = key;
  switch (kind) {
    case "program":
      return `${first} ${who} ran ${name}`;
    case "pair": {
      const [parent, program] = name.split(" > ");
      return `${first} ${who} ran ${program} started by ${parent}`;
    }
    case "destination":
      return name.startsWith("from ") ? `login ${name} (${before})` : `${times(count, "connection")} to ${name} (${before})`;
    case "port":
      return name.startsWith("listen ")
        ? `listening on ${name.slice(7)} (${before})`
        : `${times(count, "connection")} to port ${name} (${before})`;
    case "place":
      return `${times(count, "write")} to ${name} (${before})`;
  }
}

const times = (count: number, word: string) => `${count} ${word}${count === 1 ? "" : "s"}`;

/** Counts far above what is usual. */
function much(window: MinuteWindow, scale: Scale, parts: Float32Array): Reason[] {
  return Object.values(counted).flatMap((words, at): Reason[] => {
    const count = window.counts[at]!;
    const usual = Math.max(0, Math.expm1(scale.mean[at]!));
    if (parts[at]! < MUCH || count <= usual * 2) return [];
    const often = usual < 0.05 ? "usually none" : `usually about ${usual < 10 ? usual.toFixed(1) : Math.round(usual)}`;
    return [{ text: `${count} ${words} in one minute (${often})`, weight: parts[at]! / 10, eventIds: [] }];
  });
}
