// The network: how far out in the tail of each feature, and of some sums of features, a minute is (decades of probability), squared and added up.
// As ONNX it is two layers, the first of ReLUs.
import { type Constant, type Graph, writeOnnx } from "../onnx.ts";
import { FEATURES, featureNames, isVolume, RARITIES, rarityFeatures } from "./features.ts";

/** Corners of each feature's piecewise linear tail, at most. */
const CORNERS = 8;
/** Shares of benign minutes beyond the corners; the first is where anything begins to count. */
const SHARES = [0.1, 0.03, 0.01, 0.003, 0.001, 0.0003] as const;
/** Decades one feature can add, so that none decides alone; sums may add more, so that much more is always worse. */
const MAX_DECADES = 10;
const MAX_DECADES_OF_SUM = 1000;
/** Decades per unit beyond the largest value seen, at most. */
const MAX_SLOPE = 2;

/** Besides each feature alone: sums of features, for when many small things are odd at once. The first is of all rarities. */
const sums: readonly (readonly number[])[] = [
  rarityFeatures,
  ...Array.from({ length: RARITIES }, (_, which) => rarityFeatures.filter((_, at) => at % RARITIES === which)),
  Array.from({ length: FEATURES }, (_, at) => at).filter(isVolume),
];
/** What tails are taken of. */
const SIGNALS = FEATURES + sums.length;

/** How much the sum of all rarities weighs; chosen, as the others, on synthetic sites that the card does not use. */
export type Weights = { readonly own: number; readonly stranger: number };
const WEIGHT_OF_SUM = 3;
/** Good programs hardly ever lie where anyone can write. */
const ANYONE = featureNames.indexOf("count exec.anyone");
const WEIGHT_OF_ANYONE = 30;
const weightOf = (signal: number, all: number): number =>
  signal === ANYONE ? WEIGHT_OF_ANYONE : signal < FEATURES ? 1 : signal === FEATURES ? all : WEIGHT_OF_SUM;
const mostOf = (signal: number): number => (signal < FEATURES ? MAX_DECADES : MAX_DECADES_OF_SUM);

/** Corners of one feature: value and decades there, rising. Flat before the first; `slope` after the last. */
export type Tail = { readonly at: readonly number[]; readonly decades: readonly number[]; readonly slope: number };
export type Network = { readonly tails: readonly Tail[]; readonly weights: Weights };

/** Learns from scaled benign minutes: row after row of `FEATURES` numbers. */
export function fitNetwork(rows: Float32Array, weights: Weights): Network {
  const count = rows.length / FEATURES;
  const tails = Array.from({ length: SIGNALS }, (_, signal) => {
    const values = new Float32Array(count);
    for (let row = 0; row < count; row++) values[row] = signalOf(rows.subarray(row * FEATURES, (row + 1) * FEATURES), signal);
    return fitTail(values.sort());
  });
  return { tails, weights };
}

function signalOf(row: Float32Array, signal: number): number {
  if (signal < FEATURES) return row[signal]!;
  let sum = 0;
  for (const feature of sums[signal - FEATURES]!) sum += row[feature]!;
  return sum;
}

function fitTail(sorted: Float32Array): Tail {
  const count = sorted.length;
  const candidates = [...SHARES.map((share) => sorted[Math.floor((1 - share) * (count - 1))]!), sorted[count - 1]!];
  const at: number[] = [];
  const decades: number[] = [];
  for (const value of candidates) {
    if (at.length > 0 && value - at.at(-1)! < 1e-3) continue;
    // Where most minutes have this very value it says nothing.
    const share = (count - firstAtLeast(sorted, value) + 1) / (count + 1);
    const here = at.length === 0 ? 0 : Math.max(decades.at(-1)!, -Math.log10(share) - 1);
    at.push(value);
    decades.push(here);
  }
  // What never happened in training counts fully at half a unit above it.
  const never = Math.max(1, Math.log10(count + 1) - 1);
  at.push(at.at(-1)! + 0.5);
  decades.push(Math.max(never, decades.at(-1)!));
  return { at, decades, slope: Math.min(MAX_SLOPE, never / 2) };
}

function firstAtLeast(sorted: Float32Array, value: number): number {
  let from = 0;
  let to = sorted.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (sorted[middle]! < value) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** What the network says of one scaled minute, as the ONNX runtime computes it but for rounding. */
export function energyOf({ tails, weights }: Network, regime: keyof Weights, row: Float32Array): number {
  let sum = 0;
  for (let signal = 0; signal < SIGNALS; signal++) {
    const decades = decadesOf(tails[signal]!, signalOf(row, signal), mostOf(signal));
    sum += weightOf(signal, weights[regime]) * decades * decades;
  }
  return sum;
}

function decadesOf({ at, decades, slope }: Tail, value: number, most: number): number {
  if (value <= at[0]!) return 0;
  const last = at.length - 1;
  for (let index = 1; index <= last; index++) {
    if (value >= at[index]!) continue;
    const share = (value - at[index - 1]!) / (at[index]! - at[index - 1]!);
    return Math.min(most, decades[index - 1]! + share * (decades[index]! - decades[index - 1]!));
  }
  return Math.min(most, decades[last]! + slope * (value - at[last]!));
}

/** Columns of the output `energy`. */
export const energyColumns: readonly (keyof Weights)[] = ["own", "stranger"];

/**
 * The network as an ONNX file. Input `features` [minutes, FEATURES], scaled; outputs `energy` [minutes, energyColumns] and `parts` [minutes, FEATURES], what
 * each feature added by itself.
 */
export function networkToOnnx(network: Network, metadata: Readonly<Record<string, string>>): Uint8Array {
  const signals = Array.from({ length: SIGNALS }, (_, signal) => signal);
  const weights = signals.flatMap((signal) => energyColumns.map((regime) => weightOf(signal, network.weights[regime])));
  const graph: Graph = {
    name: "behaviour",
    inputs: [{ name: "features", type: "float", dims: ["minutes", FEATURES] }],
    outputs: [
      { name: "energy", type: "float", dims: ["minutes", energyColumns.length] },
      { name: "parts", type: "float", dims: ["minutes", FEATURES] },
    ],
    constants: [
      ...layers(network),
      { name: "most", dims: [SIGNALS], float: Float32Array.from(signals, mostOf) },
      { name: "weights", dims: [SIGNALS, energyColumns.length], float: Float32Array.from(weights) },
      { name: "across", dims: [1], int64: BigInt64Array.of(1n) },
      { name: "first", dims: [1], int64: BigInt64Array.of(0n) },
      { name: "end", dims: [1], int64: BigInt64Array.of(BigInt(FEATURES)) },
    ],
    nodes: [
      { op: "Gemm", inputs: ["features", "spread", "corners"], outputs: ["beyond"] },
      { op: "Relu", inputs: ["beyond"], outputs: ["hidden"] },
      { op: "MatMul", inputs: ["hidden", "turn"], outputs: ["unbounded"] },
      { op: "Min", inputs: ["unbounded", "most"], outputs: ["decades"] },
      { op: "Mul", inputs: ["decades", "decades"], outputs: ["squared"] },
      { op: "MatMul", inputs: ["squared", "weights"], outputs: ["energy"] },
      { op: "Slice", inputs: ["squared", "first", "end", "across"], outputs: ["parts"] },
    ],
    metadata,
  };
  return writeOnnx(graph);
}

/** First layer: each signal less each of its corners. Second: the turns at the corners add up to the tail. */
function layers({ tails }: Network): Constant[] {
  const hidden = SIGNALS * CORNERS;
  const spread = new Float32Array(FEATURES * hidden);
  const corners = new Float32Array(hidden);
  const turn = new Float32Array(hidden * SIGNALS);
  for (const [signal, { at, decades, slope }] of tails.entries()) {
    const features = signal < FEATURES ? [signal] : sums[signal - FEATURES]!;
    let before = 0;
    for (let index = 0; index < at.length; index++) {
      const unit = signal * CORNERS + index;
      const next = index + 1 < at.length ? (decades[index + 1]! - decades[index]!) / (at[index + 1]! - at[index]!) : slope;
      for (const feature of features) spread[feature * hidden + unit] = 1;
      corners[unit] = -at[index]!;
      turn[unit * SIGNALS + signal] = next - before;
      before = next;
    }
  }
  return [
    { name: "spread", dims: [FEATURES, hidden], float: spread },
    { name: "corners", dims: [hidden], float: corners },
    { name: "turn", dims: [hidden, SIGNALS], float: turn },
  ];
}
