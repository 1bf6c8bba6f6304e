// Writes ONNX files (onnx.proto3 of ONNX 1.14: IR version 9, operator set 17) without a library: same input, same bytes.

/** A constant of the graph. `float` is float32; `int8` keeps large tables small. */
export type Constant =
  | { readonly name: string; readonly dims: readonly number[]; readonly float: Float32Array }
  | { readonly name: string; readonly dims: readonly number[]; readonly int8: Int8Array }
  | { readonly name: string; readonly dims: readonly number[]; readonly int64: BigInt64Array };

/** An integer, a list of integers, or (`float`) a number. */
export type Attribute = number | readonly number[] | { readonly float: number };

export type OnnxNode = {
  /** Operator, such as "Gemm" (github.com/onnx/onnx/blob/main/docs/Operators.md). */
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
};

/** An input or output; a dimension that is only known at run time is a name. */
export type Port = { readonly name: string; readonly type: "float" | "int64" | "int32"; readonly dims: readonly (number | string)[] };

export type Graph = {
  readonly name: string;
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly constants: readonly Constant[];
  readonly nodes: readonly OnnxNode[];
  /** Free text that travels with the model. */
  readonly metadata?: Readonly<Record<string, string>>;
};

const IR_VERSION = 9;
const OPERATOR_SET = 17;
// TensorProto.DataType
const dataType = { float: 1, int8: 3, int32: 6, int64: 7 } as const;
// AttributeProto.AttributeType
const attributeType = { float: 1, int: 2, ints: 7 } as const;

/** The bytes of an ONNX file. Numbers are stored little-endian (TensorProto.raw_data). */
export function writeOnnx(graph: Graph): Uint8Array {
  const model = [
    int(1, IR_VERSION),
    text(2, "picket"),
    bytes(7, graphProto(graph)),
    bytes(8, join([text(1, ""), int(2, OPERATOR_SET)])),
    ...Object.entries(graph.metadata ?? {}).map(([key, value]) => bytes(14, join([text(1, key), text(2, value)]))),
  ];
  return join(model);
}

const graphProto = (graph: Graph) =>
  join([
    ...graph.nodes.map((node) => bytes(1, nodeProto(node))),
    text(2, graph.name),
    ...graph.constants.map((constant) => bytes(5, tensorProto(constant))),
    ...graph.inputs.map((port) => bytes(11, valueInfoProto(port))),
    ...graph.outputs.map((port) => bytes(12, valueInfoProto(port))),
  ]);

const nodeProto = ({ op, inputs, outputs, attributes }: OnnxNode) =>
  join([
    ...inputs.map((name) => text(1, name)),
    ...outputs.map((name) => text(2, name)),
    text(4, op),
    ...Object.entries(attributes ?? {}).map(([name, value]) => bytes(5, attributeProto(name, value))),
  ]);

function attributeProto(name: string, value: Attribute): Uint8Array {
  if (typeof value === "number") return join([text(1, name), int(3, value), int(20, attributeType.int)]);
  if ("float" in value) return join([text(1, name), fixed32(2, value.float), int(20, attributeType.float)]);
  return join([text(1, name), ...value.map((one) => int(8, one)), int(20, attributeType.ints)]);
}

function tensorProto(constant: Constant): Uint8Array {
  const [type, data] =
    "float" in constant
      ? [dataType.float, constant.float]
      : "int8" in constant
        ? [dataType.int8, constant.int8]
        : [dataType.int64, constant.int64];
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const count = constant.dims.reduce((all, dim) => all * dim, 1);
  if (count !== data.length) throw new Error(`${constant.name}: ${data.length} values for dimensions ${constant.dims.join(" x ")}`);
  return join([...constant.dims.map((dim) => int(1, dim)), int(2, type), text(8, constant.name), bytes(9, raw)]);
}

function valueInfoProto({ name, type, dims }: Port): Uint8Array {
  const shape = join(dims.map((dim) => bytes(1, typeof dim === "number" ? int(1, dim) : text(2, dim))));
  const tensor = join([int(1, dataType[type]), bytes(2, shape)]);
  return join([text(1, name), bytes(2, bytes(1, tensor))]);
}

// Protocol Buffers wire format: protobuf.dev/programming-guides/encoding
const VARINT = 0;
const LENGTH = 2;
const FIXED32 = 5;

function varint(value: number | bigint): number[] {
  let rest = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  while (rest > 127n) {
    out.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return out;
}

const tag = (field: number, wire: number) => varint((field << 3) | wire);
const int = (field: number, value: number) => Uint8Array.from([...tag(field, VARINT), ...varint(value)]);
const text = (field: number, value: string) => bytes(field, new TextEncoder().encode(value));
const bytes = (field: number, value: Uint8Array) => join([Uint8Array.from([...tag(field, LENGTH), ...varint(value.length)]), value]);

function fixed32(field: number, value: number): Uint8Array {
  const four = new DataView(new ArrayBuffer(4));
  four.setFloat32(0, value, true);
  return join([Uint8Array.from(tag(field, FIXED32)), new Uint8Array(four.buffer)]);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
