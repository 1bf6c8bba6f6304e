// Numbers that only look random: the same seed trains the same model.

export type Random = {
  /** In [0, 1). */
  (): number;
  /** A whole number in [0, below). */
  below(limit: number): number;
  pick<T>(of: readonly T[]): T;
  chance(probability: number): boolean;
};

/** mulberry32 (gist.github.com/tommyettinger/46a874533244883189143505d203312c). */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return Object.assign(next, { below, pick: <T>(of: readonly T[]): T => of[below(of.length)]!, chance: (p: number) => next() < p });
}

/** The same items in another order. */
export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const out = [...items];
  for (let at = out.length - 1; at > 0; at--) {
    const other = random.below(at + 1);
    [out[at], out[other]] = [out[other]!, out[at]!];
  }
  return out;
}
