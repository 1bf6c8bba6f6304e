// A minute as numbers: how much of everything, and how rare what was there is in the device's and the site's past.
import { type Kind, kinds } from "./keys.ts";
import type { Known } from "./past.ts";
import { counted, type Minute } from "./window.ts";

const countedNames = Object.keys(counted) as (keyof typeof counted)[];
const rarities = ["new", "newCount", "surprise", "newAtSite", "surpriseAtSite"] as const;

/** Features in order: counts of events, numbers of different keys, then five on rarity for each kind of key. */
export const featureNames: readonly string[] = [
  ...countedNames.map((name) => `count ${name}`),
  ...kinds.map((kind) => `different ${kind}`),
  ...kinds.flatMap((kind) => rarities.map((rarity) => `${rarity} ${kind}`)),
];
export const FEATURES = featureNames.length;
/** Rarity features of each kind. */
export const RARITIES = rarities.length;
const DIFFERENT_AT = countedNames.length;
const RARITY_AT = DIFFERENT_AT + kinds.length;

/** Those a plain baseline adds up. */
export const rarityFeatures: readonly number[] = Array.from({ length: FEATURES - RARITY_AT }, (_, at) => RARITY_AT + at);

/** Where the count of an event type, or the number of different keys of a kind, stands. */
export const isVolume = (feature: number): boolean => feature < RARITY_AT;

/** What a minute is compared with. Without `own` past the site's stands in for it. */
export type Past = { readonly own: Known | undefined; readonly site: Known };

/** Bits of surprise at a key that was in `count` of `minutes` minutes. */
export const surprise = (count: number, minutes: number): number => -Math.log2((count + 0.5) / (minutes + 1));

/**
 * The features of a minute, not yet scaled. Counts are logarithms of one and the count; minutes that came in together, after an outage, share it.
 */
export function featuresOf(minute: Minute, past: Past, into: Float32Array = new Float32Array(FEATURES)): Float32Array {
  for (let at = 0; at < DIFFERENT_AT; at++) into[at] = Math.log1p(minute.counts[at]! / minute.span);
  for (const [index, kind] of kinds.entries()) {
    into[DIFFERENT_AT + index] = Math.log1p(minute.keys[kind].hashes.length / minute.span);
    rarityOf(minute, kind, past, into, RARITY_AT + index * rarities.length);
  }
  return into;
}

function rarityOf(minute: Minute, kind: Kind, past: Past, into: Float32Array, at: number): void {
  const { hashes, counts } = minute.keys[kind];
  const { site } = past;
  const own = past.own ?? site;
  let fresh = 0;
  let freshCount = 0;
  let freshAtSite = 0;
  let most = 0;
  let mostAtSite = 0;
  for (let index = 0; index < hashes.length; index++) {
    const hash = hashes[index]!;
    const here = own.count(kind, hash);
    const there = past.own ? site.count(kind, hash) : here;
    if (here === 0) {
      fresh++;
      freshCount += counts[index]!;
    }
    if (there === 0) freshAtSite++;
    most = Math.max(most, surprise(here, own.minutes));
    mostAtSite = Math.max(mostAtSite, surprise(there, site.minutes));
  }
  into[at] = Math.log1p(fresh);
  into[at + 1] = Math.log1p(freshCount / minute.span);
  into[at + 2] = most;
  into[at + 3] = Math.log1p(freshAtSite);
  into[at + 4] = mostAtSite;
}
