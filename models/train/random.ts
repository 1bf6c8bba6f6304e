// Numbers that only look random: the same seed trains the same model.
import { seeded } from "@picket/protocol/seeded";

export type Random = {
  /** In [0, 1). */
  (): number;
  /** A whole number in [0, below). */
  below(limit: number): number;
  pick<T>(of: readonly T[]): T;
  chance(probability: number): boolean;
};

export function randomOf(seed: number): Random {
  const next = seeded(seed);
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
