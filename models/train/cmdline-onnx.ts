// The network of the command-line model as an ONNX file.
import { ROWS } from "../cmdline/features.ts";
import { writeOnnx } from "../onnx.ts";
import { HIDDEN, type Network, WIDTH } from "./cmdline-network.ts";

const INNER = WIDTH - 1;
const STEPS = 127;
const scaleOf = ({ table }: Network, column: number): number => {
  let most = 0;
  for (let row = 0; row < ROWS; row++) most = Math.max(most, Math.abs(table[row * WIDTH + column]!));
  return Math.fround(most === 0 ? 1 : most / STEPS);
};

/** The network with the numbers its file will hold: those for the inner network have 255 steps, which is an eighth of the size. Row 0 is nothing. */
export function quantised(network: Network): Network {
  const table = network.table.slice();
  table.fill(0, 0, WIDTH);
  for (let column = 1; column < WIDTH; column++) {
    const scale = scaleOf({ ...network, table }, column);
    for (let row = 0; row < ROWS; row++) table[row * WIDTH + column] = Math.round(table[row * WIDTH + column]! / scale) * scale;
  }
  return { ...network, table };
}

/** Inputs: `rows` [n, m] of the table and their `weights` [n, m]; output: `logit` [n]. The same network gives the same bytes. */
export function networkToOnnx(network: Network, metadata: Readonly<Record<string, string>>): Uint8Array {
  const scales = Float32Array.from({ length: INNER }, (_, column) => scaleOf(network, column + 1));
  const linear = Float32Array.from({ length: ROWS }, (_, row) => network.table[row * WIDTH]!);
  const steps = Int8Array.from({ length: ROWS * INNER }, (_, at) => {
    const column = at % INNER;
    return Math.round(network.table[Math.floor(at / INNER) * WIDTH + column + 1]! / scales[column]!);
  });
  const inner = Float32Array.from({ length: INNER * HIDDEN }, (_, at) => network.inner[at + HIDDEN]! * scales[Math.floor(at / HIDDEN)]!);
  return writeOnnx({
    name: "cmdline",
    inputs: [
      { name: "rows", type: "int32", dims: ["views", "features"] },
      { name: "weights", type: "float", dims: ["views", "features"] },
    ],
    outputs: [{ name: "logit", type: "float", dims: ["views"] }],
    constants: [
      { name: "linear", dims: [ROWS], float: linear },
      { name: "steps", dims: [ROWS, INNER], int8: steps },
      { name: "inner", dims: [INNER, HIDDEN], float: inner },
      { name: "inner_bias", dims: [HIDDEN], float: network.innerBias },
      { name: "outer", dims: [HIDDEN, 1], float: network.outer },
      { name: "bias", dims: [1], float: network.bias },
      { name: "one", dims: [1], int64: BigInt64Array.of(1n) },
    ],
    nodes: [
      { op: "Gather", inputs: ["linear", "rows"], outputs: ["each"] },
      { op: "Mul", inputs: ["each", "weights"], outputs: ["weighed"] },
      { op: "ReduceSum", inputs: ["weighed", "one"], outputs: ["direct"], attributes: { keepdims: 0 } },
      { op: "Gather", inputs: ["steps", "rows"], outputs: ["found"] },
      { op: "Cast", inputs: ["found"], outputs: ["numbers"], attributes: { to: 1 } },
      { op: "Unsqueeze", inputs: ["weights", "one"], outputs: ["across"] },
      { op: "MatMul", inputs: ["across", "numbers"], outputs: ["sums"] },
      { op: "Squeeze", inputs: ["sums", "one"], outputs: ["sum"] },
      { op: "Gemm", inputs: ["sum", "inner", "inner_bias"], outputs: ["before"] },
      { op: "Relu", inputs: ["before"], outputs: ["hidden"] },
      { op: "Gemm", inputs: ["hidden", "outer", "bias"], outputs: ["tall"] },
      { op: "Squeeze", inputs: ["tall", "one"], outputs: ["indirect"] },
      { op: "Add", inputs: ["direct", "indirect"], outputs: ["logit"] },
    ],
    metadata,
  });
}
