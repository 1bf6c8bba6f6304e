// The behaviour model Picket ships: what a site begins with before it has learnt its own.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ModelFiles } from "./files.ts";

// In an executable the files are embedded assets, found through the imports; a test runner that cannot import them falls back to the files beside this one.
async function locate(): Promise<Record<keyof ModelFiles, string>> {
  try {
    return {
      // @ts-expect-error A file asset has no types.
      "model.onnx": (await import("./start/model.onnx", { with: { type: "file" } })).default as string,
      "tables.json": (await import("./start/tables.json", { with: { type: "file" } })).default as unknown as string,
      "manifest.json": (await import("./start/manifest.json", { with: { type: "file" } })).default as unknown as string,
    };
  } catch {
    const beside = (name: string) => fileURLToPath(new URL(`./start/${name}`, import.meta.url));
    return { "model.onnx": beside("model.onnx"), "tables.json": beside("tables.json"), "manifest.json": beside("manifest.json") };
  }
}

/** The files of the model Picket ships. */
export async function startFiles(): Promise<ModelFiles> {
  const paths = await locate();
  return {
    "model.onnx": readFileSync(paths["model.onnx"]),
    "tables.json": readFileSync(paths["tables.json"]),
    "manifest.json": readFileSync(paths["manifest.json"]),
  };
}
