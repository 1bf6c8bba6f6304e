// The ONNX runtime: its native part is loaded from disk, because it can lie neither inside an executable nor be linked to it.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { isMainThread } from "node:worker_threads";
import { Tensor } from "onnxruntime-common";

export { Tensor };

/** Values of one input or output: row after row. */
export type Tensors = Readonly<Record<string, Tensor>>;

/** A loaded model. One thread computes it, so that the same input gives the same output whatever else the machine does. */
export type Session = Disposable & {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Blocks until done. Throws when a name, a type or a shape is not what the model was made for. */
  run(inputs: Tensors): Tensors;
};

/** Makes sessions from the bytes of ONNX files. Throws when they are no model that this runtime can compute. */
export type Runtime = { readonly open: (model: Uint8Array) => Session };

/** The native part of the runtime is absent or does not fit this machine: everything else works without it. */
export class RuntimeMissing extends Error {
  override readonly name = "RuntimeMissing";
}

type NativeSession = {
  loadModel(bytes: ArrayBufferLike, offset: number, length: number, options: Record<string, unknown>): void;
  readonly inputMetadata: readonly { readonly name: string }[];
  readonly outputMetadata: readonly { readonly name: string }[];
  run(inputs: Tensors, outputs: Readonly<Record<string, null>>, options: Record<string, unknown>): Tensors;
  dispose(): void;
};
type Native = {
  readonly InferenceSession: new () => NativeSession;
  initOrtOnce(logLevel: number, tensor: typeof Tensor, mainThread: boolean): void;
};

// What fails is thrown; the runtime need not print it too.
const LOG_FATAL = 4;
const BINDING = "onnxruntime_binding.node";
const options = {
  executionProviders: ["cpu"],
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: "sequential",
  logSeverityLevel: LOG_FATAL,
};

let loaded: Native | undefined;

/** The runtime of this machine; `path` is the file of its native part. Throws `RuntimeMissing`, which says what to do. */
export function loadRuntime(path: string = nativePath()): Runtime {
  loaded ??= load(path);
  const native = loaded;
  return { open: (model) => open(native, model) };
}

/** Where the native part lies: beside an executable in `onnxruntime/`, in a checkout in the installed package. */
export function nativePath(): string {
  if (import.meta.url.includes("/$bunfs/")) return join(dirname(process.execPath), "onnxruntime", BINDING);
  try {
    const installed = createRequire(import.meta.url).resolve("onnxruntime-node/package.json");
    return join(dirname(installed), "bin", "napi-v6", process.platform, process.arch, BINDING);
  } catch (error) {
    throw new RuntimeMissing("the package onnxruntime-node is not installed: run `bun install`", { cause: error });
  }
}

function load(path: string): Native {
  if (!existsSync(path))
    throw new RuntimeMissing(
      `${path} is missing: put the folder onnxruntime of the release beside the executable (in a checkout: bun install)`,
    );
  try {
    // The loader finds libonnxruntime.so.1 in the same folder by the binding's RUNPATH ($ORIGIN).
    const native = createRequire(path)(path) as Native;
    native.initOrtOnce(LOG_FATAL, Tensor, isMainThread);
    return native;
  } catch (error) {
    throw new RuntimeMissing(
      `${path} cannot be loaded (${error instanceof Error ? error.message : error}): install the release for this machine`,
      {
        cause: error,
      },
    );
  }
}

function open(native: Native, model: Uint8Array): Session {
  const session = new native.InferenceSession();
  session.loadModel(model.buffer, model.byteOffset, model.byteLength, options);
  const outputs = session.outputMetadata.map(({ name }) => name);
  const fetches = Object.fromEntries(outputs.map((name) => [name, null]));
  return {
    inputs: session.inputMetadata.map(({ name }) => name),
    outputs,
    run: (inputs) => session.run(inputs, fetches, {}),
    [Symbol.dispose]: () => session.dispose(),
  };
}
