/** One measured figure. `ratio` is ours divided by the peer's, both of the same run. */
export type Result = {
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
  readonly peer?: string;
  readonly ratio?: number;
};
export type BenchOptions = {
  /** Rule folders to add to the shipped rules. */
  readonly rules?: string | undefined;
  /** The one part of a bench to run, where it has parts; undefined for all. */
  readonly scene?: string | undefined;
  /** How long what is watched over time is watched; undefined for the default of each. */
  readonly minutes?: number | undefined;
};
export type Bench = (options: BenchOptions) => AsyncIterable<Result>;

/** Something a reader of the figures must know, such as a peer that is not installed. On standard error: standard output holds figures only. */
export const note = (text: string): void => console.error(text);

/** Our figure with its ratio to the peer's, then the peer's own; ours alone where there is no peer. */
export function* beside(of: { metric: string; unit: string; value: number }, peer: string, theirs: number | undefined): Iterable<Result> {
  if (theirs === undefined) yield of;
  else {
    yield { ...of, peer, ratio: Number((of.value / theirs).toFixed(3)) };
    yield { metric: `${peer}_${of.metric}`, value: theirs, unit: of.unit };
  }
}

/** The middle value; of an even count the lower one. Throws on none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted[(sorted.length - 1) >> 1];
  if (middle === undefined) throw new Error("no values");
  return middle;
}

/** The value below which `share` of all lie. Throws on none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
  if (at === undefined) throw new Error("no values");
  return at;
}
