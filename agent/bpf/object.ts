import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

// In an executable made by `bun build --compile` the object is an embedded asset, found through the import;
// a test runner that cannot import it falls back to the file beside this one.
async function locate(): Promise<string> {
  try {
    // @ts-expect-error A file asset has no types; and where there is no such file, there is nothing to ignore.
    return ((await import("./sensor.bpf.o", { with: { type: "file" } })) as { default: string }).default;
  } catch {
    return fileURLToPath(new URL("./sensor.bpf.o", import.meta.url));
  }
}

const path = await locate();

/** The compiled kernel side. */
export const objectBytes = (): Uint8Array => readFileSync(path);
