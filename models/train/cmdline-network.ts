// The network of the command-line model and how it learns: a linear model over sparse features with a small network beside it.
import { type Features, ROWS } from "../cmdline/features.ts";
import { type Random, randomOf, shuffled } from "./random.ts";

/** Numbers a feature has: one that counts by itself, the rest for the network. */
export const WIDTH = 9;
export const HIDDEN = 16;

export type Network = {
  /** ROWS x WIDTH. */
  readonly table: Float32Array;
  /** WIDTH x HIDDEN; the first row is unused. */
  readonly inner: Float32Array;
  readonly innerBias: Float32Array;
  readonly outer: Float32Array;
  readonly bias: Float32Array;
};

export type Example = { readonly features: Features; readonly label: 0 | 1; readonly weight: number };

export type Learning = {
  readonly seed: number;
  readonly epochs: number;
  /** What is kept is the mean of the network after each of so many last epochs: it hangs less on the order of the examples. */
  readonly averaged: number;
  readonly rate: number;
  /** Pull towards zero. */
  readonly decay: number;
  readonly dropout: number;
};

const normal = (random: Random) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

function newNetwork(random: Random): Network {
  const table = new Float32Array(ROWS * WIDTH);
  for (let at = 0; at < table.length; at++) if (at % WIDTH !== 0) table[at] = normal(random) * 0.3;
  const inner = Float32Array.from({ length: WIDTH * HIDDEN }, () => normal(random) / Math.sqrt(WIDTH));
  const outer = Float32Array.from({ length: HIDDEN }, () => normal(random) / Math.sqrt(HIDDEN));
  return { table, inner, innerBias: new Float32Array(HIDDEN), outer, bias: new Float32Array(1) };
}

type Scratch = { readonly sum: Float64Array; readonly hidden: Float64Array; readonly back: Float64Array };
const scratch: Scratch = { sum: new Float64Array(WIDTH), hidden: new Float64Array(HIDDEN), back: new Float64Array(WIDTH) };

/** The logit of one view. */
export function logit(network: Network, { rows, weights }: Features, { sum, hidden }: Scratch = scratch): number {
  const { table, inner, innerBias, outer, bias } = network;
  sum.fill(0);
  for (let at = 0; at < rows.length; at++) {
    const from = rows[at]! * WIDTH;
    const weight = weights[at]!;
    for (let column = 0; column < WIDTH; column++) sum[column]! += table[from + column]! * weight;
  }
  let out = sum[0]! + bias[0]!;
  for (let unit = 0; unit < HIDDEN; unit++) {
    let value = innerBias[unit]!;
    for (let column = 1; column < WIDTH; column++) value += sum[column]! * inner[column * HIDDEN + unit]!;
    hidden[unit] = Math.max(0, value);
    out += hidden[unit]! * outer[unit]!;
  }
  return out;
}

/** Trains by AdaGrad (Duchi et al., 2011), one example at a time. The same examples and seed give the same network. */
export function train(examples: readonly Example[], { seed, epochs, averaged, rate, decay, dropout }: Learning): Network {
  const random = randomOf(seed);
  const network = newNetwork(random);
  const sums = { table: new Float32Array(ROWS * WIDTH).fill(1e-3), small: smallSums() };
  const mean = zeroes();
  const kept = Math.min(averaged, epochs);
  for (let epoch = 0; epoch < epochs; epoch++) {
    const pace = rate * (1 - (0.8 * epoch) / epochs);
    for (const example of shuffled(examples, random)) {
      const features = dropout > 0 ? dropped(example.features, dropout, random) : example.features;
      const error = (1 / (1 + Math.exp(-logit(network, features))) - example.label) * example.weight;
      if (Math.abs(error) > 1e-4) step(network, sums, features, error, pace, decay);
    }
    if (epoch >= epochs - kept) addTo(mean, network, 1 / kept);
  }
  return mean;
}

const zeroes = (): Network => ({
  table: new Float32Array(ROWS * WIDTH),
  inner: new Float32Array(WIDTH * HIDDEN),
  innerBias: new Float32Array(HIDDEN),
  outer: new Float32Array(HIDDEN),
  bias: new Float32Array(1),
});

function addTo(sum: Network, network: Network, share: number): void {
  for (const key of ["table", "inner", "innerBias", "outer", "bias"] as const)
    for (let at = 0; at < sum[key].length; at++) sum[key][at]! += network[key][at]! * share;
}

function dropped({ rows, weights }: Features, share: number, random: Random): Features {
  const kept = weights.slice();
  for (let at = 0; at < kept.length; at++) if (random() < share) kept[at] = 0;
  return { rows, weights: kept };
}

const smallSums = () => ({
  inner: new Float64Array(WIDTH * HIDDEN).fill(1e-2),
  innerBias: new Float64Array(HIDDEN).fill(1e-2),
  outer: new Float64Array(HIDDEN).fill(1e-2),
  bias: new Float64Array(1).fill(1e-2),
});
type Sums = { readonly table: Float32Array; readonly small: ReturnType<typeof smallSums> };

function step(network: Network, sums: Sums, { rows, weights }: Features, error: number, rate: number, decay: number): void {
  const { sum, hidden, back } = scratch;
  const { table, inner, innerBias, outer, bias } = network;
  const { small } = sums;
  const slow = rate * 0.3;
  back.fill(0);
  back[0] = error;
  move(bias, 0, error, small.bias, slow);
  for (let unit = 0; unit < HIDDEN; unit++) {
    if (hidden[unit]! <= 0) continue;
    const blame = error * outer[unit]!;
    move(outer, unit, error * hidden[unit]!, small.outer, slow);
    move(innerBias, unit, blame, small.innerBias, slow);
    for (let column = 1; column < WIDTH; column++) {
      const at = column * HIDDEN + unit;
      back[column]! += blame * inner[at]!;
      move(inner, at, blame * sum[column]!, small.inner, slow);
    }
  }
  for (let at = 0; at < rows.length; at++) {
    const weight = weights[at]!;
    if (weight === 0) continue;
    const from = rows[at]! * WIDTH;
    for (let column = 0; column < WIDTH; column++) {
      const slope = back[column]! * weight + decay * table[from + column]!;
      sums.table[from + column]! += slope * slope;
      table[from + column]! -= (rate * slope) / Math.sqrt(sums.table[from + column]!);
    }
  }
}

function move(values: Float32Array, at: number, slope: number, sums: Float64Array, rate: number): void {
  sums[at]! += slope * slope;
  values[at]! -= (rate * slope) / Math.sqrt(sums[at]!);
}
