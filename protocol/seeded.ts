/** mulberry32 (gist.github.com/tommyettinger/46a874533244883189143505d203312c): numbers in [0, 1) that only look random, the same ones for the same seed. Never for secrets. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
