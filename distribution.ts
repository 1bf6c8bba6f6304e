// What is handed out for one architecture: the executables, the native parts that must lie beside them, and the checksums of both.
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { compile, executables } from "./compile.ts";

export const architectures = ["x64", "arm64"] as const;
export type Architecture = (typeof architectures)[number];

export type Part = { readonly path: string; readonly sizeBytes: number };

/** Folder beside the executables that detector/engines/onnx looks into. */
const ONNX = "onnxruntime";
const CHECKSUMS = "SHA256SUMS";

/**
 * Makes the folder `out`, an absolute path, for `arch`: nothing in it refers to this checkout. Cross-building takes Bun's runtime for the other architecture from the
 * npm registry, once. Returns its files but the checksums, executables first. Throws with what could not be made.
 */
export function makeDistribution(arch: Architecture, out: string): readonly Part[] {
  mkdirSync(out, { recursive: true });
  // Or a file that a later version no longer has would stay, without a checksum.
  for (const name of readdirSync(out)) if (!(name in executables)) rmSync(join(out, name), { recursive: true, force: true });
  for (const [name, how] of Object.entries(executables)) compile({ ...how, arch, out: join(out, name) });
  copyOnnxRuntime(arch, join(out, ONNX));
  const paths = [
    ...Object.keys(executables),
    ...readdirSync(join(out, ONNX))
      .toSorted()
      .map((name) => `${ONNX}/${name}`),
  ];
  writeFileSync(join(out, CHECKSUMS), paths.map((path) => `${sha256(join(out, path))}  ${path}\n`).join(""));
  return paths.map((path) => ({ path, sizeBytes: statSync(join(out, path)).size }));
}

function copyOnnxRuntime(arch: Architecture, out: string): void {
  // The detector's own version: the root of a workspace does not see it.
  const installed = createRequire(new URL("detector/engines/onnx/", import.meta.url)).resolve("onnxruntime-node/package.json");
  const native = join(dirname(installed), "bin", "napi-v6", "linux", arch);
  if (!existsSync(native)) throw new Error(`${relative(".", native)} is missing: run \`bun install\``);
  mkdirSync(out, { recursive: true });
  for (const name of readdirSync(native)) {
    copyFileSync(join(native, name), join(out, name));
    chmodSync(join(out, name), 0o644);
  }
}

const sha256 = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");
