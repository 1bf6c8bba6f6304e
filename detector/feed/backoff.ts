const FIRST_MS = 50;
const DOUBLINGS = 8;

/**
 * How long to wait before the attempt after `failures` failures in a row: 50 ms x 2^n up to 12.8 s, of which a random half to all.
 * `random` is in [0, 1).
 */
export const backoffMs = (failures: number, random: () => number): number =>
  Math.round(FIRST_MS * 2 ** Math.min(Math.max(failures - 1, 0), DOUBLINGS) * (0.5 + random() / 2));
