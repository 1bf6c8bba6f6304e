// How well scores tell attacks from ordinary work, at rates of false alarms that somebody can live with.

/** The lowest threshold at which at most `rate` of the benign scores lie at or above it. */
export function thresholdAt(benign: readonly number[], rate: number): number {
  const sorted = benign.toSorted((a, b) => b - a);
  const allowed = Math.floor(rate * sorted.length);
  const first = sorted[allowed];
  return first === undefined ? Number.NEGATIVE_INFINITY : next(first);
}

/** The smallest number above `value` that thresholds need to tell apart. */
const next = (value: number) => value + Math.max(Math.abs(value) * 1e-12, 1e-15);

/** Share of scores at or above a threshold; 0 for none. */
export const shareAbove = (scores: readonly number[], threshold: number): number =>
  scores.length === 0 ? 0 : scores.filter((score) => score >= threshold).length / scores.length;

/** Area under the ROC curve: how often an attack scores above ordinary work; ties count half. */
export function auc(attacks: readonly number[], benign: readonly number[]): number {
  const all = [...attacks.map((score) => ({ score, attack: true })), ...benign.map((score) => ({ score, attack: false }))];
  all.sort((a, b) => a.score - b.score);
  let ranks = 0;
  for (let from = 0; from < all.length; ) {
    let to = from;
    while (to < all.length && all[to]!.score === all[from]!.score) to++;
    const rank = (from + 1 + to) / 2;
    for (let at = from; at < to; at++) if (all[at]!.attack) ranks += rank;
    from = to;
  }
  return (ranks - (attacks.length * (attacks.length + 1)) / 2) / (attacks.length * benign.length);
}
