import { expect, test } from "vitest";
import { writeOnnx } from "../../../models/onnx.ts";
import { loadRuntime, RuntimeMissing, Tensor } from "./runtime.ts";

/** y = x * [[1, 2], [3, 4]] + [10, 20], the matrix as an int8 table that is looked up row by row. */
const model = () =>
  writeOnnx({
    name: "tiny",
    inputs: [{ name: "x", type: "float", dims: ["rows", 2] }],
    outputs: [{ name: "y", type: "float", dims: ["rows", 2] }],
    constants: [
      { name: "table", dims: [3, 2], int8: Int8Array.of(1, 2, 3, 4, -5, -6) },
      { name: "rows", dims: [2], int64: BigInt64Array.of(0n, 1n) },
      { name: "bias", dims: [2], float: Float32Array.of(10, 20) },
    ],
    nodes: [
      { op: "Gather", inputs: ["table", "rows"], outputs: ["bytes"], attributes: { axis: 0 } },
      { op: "Cast", inputs: ["bytes"], outputs: ["weights"], attributes: { to: 1 } },
      { op: "Gemm", inputs: ["x", "weights", "bias"], outputs: ["y"], attributes: { alpha: { float: 1 } } },
    ],
    metadata: { seed: "1" },
  });

test("a model that our writer wrote is computed", () => {
  using session = loadRuntime().open(model());
  expect([session.inputs, session.outputs]).toEqual([["x"], ["y"]]);
  const { y } = session.run({ x: new Tensor("float32", Float32Array.of(1, 0, 1, 1), [2, 2]) });
  expect(y?.dims).toEqual([2, 2]);
  expect([...(y!.data as Float32Array)]).toEqual([11, 22, 14, 26]);
});

test("the same graph is written to the same bytes", () => {
  expect(Bun.hash(model())).toBe(Bun.hash(model()));
});

test("bytes that are no model, and inputs it was not made for, are errors", () => {
  expect(() => loadRuntime().open(new TextEncoder().encode("not a model"))).toThrow();
  using session = loadRuntime().open(model());
  expect(() => session.run({ z: new Tensor("float32", Float32Array.of(1, 0), [1, 2]) })).toThrow();
});

test("a constant whose values do not fill its dimensions is refused", () => {
  const constants = [{ name: "c", dims: [2, 2], float: Float32Array.of(1, 2, 3) }];
  expect(() => writeOnnx({ name: "n", inputs: [], outputs: [], constants, nodes: [] })).toThrow("c: 3 values for dimensions 2 x 2");
});

test("a runtime whose native part is missing says what to do", () => {
  const child = Bun.spawnSync(
    [
      process.execPath,
      "-e",
      `const r = await import(${JSON.stringify(new URL("./runtime.ts", import.meta.url).pathname)}); try { r.loadRuntime("/nowhere/onnxruntime_binding.node") } catch (error) { console.log(error instanceof r.RuntimeMissing, error.message) }`,
    ],
    { cwd: new URL(".", import.meta.url).pathname },
  );
  expect(child.stdout.toString()).toContain("true /nowhere/onnxruntime_binding.node is missing: put the folder onnxruntime");
  expect(RuntimeMissing.name).toBe("RuntimeMissing");
});
