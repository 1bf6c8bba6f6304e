/** One measured figure. `ratio` is ours divided by the peer's, both of the same run. */
export type Result = {
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
  readonly peer?: string;
  readonly ratio?: number;
};
export type Bench = () => AsyncIterable<Result>;

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
