// The command-line model Picket ships.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import calibration from "./calibration.json" with { type: "json" };
import { Calibration } from "./calibration.ts";

// In an executable the model is an embedded asset, found through the import; a test runner that cannot import it falls back to the file beside this one.
async function locate(): Promise<string> {
  try {
    // @ts-expect-error A file asset has no types; and before the first training there is no file.
    return ((await import("./model.onnx", { with: { type: "file" } })) as { default: string }).default;
  } catch {
    return fileURLToPath(new URL("./model.onnx", import.meta.url));
  }
}

/** The bytes of the ONNX file and what its thresholds are made from. */
export const cmdlineModel = async (): Promise<{ readonly onnx: Uint8Array; readonly calibration: Calibration }> => ({
  onnx: readFileSync(await locate()),
  calibration: Calibration.parse(calibration),
});
