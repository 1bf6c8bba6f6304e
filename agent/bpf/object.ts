import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

// In an executable made by `bun build --compile` the object is an embedded asset, found through the import;
// a test runner that cannot import it falls back to the file beside this one.
async function locate(asset: Promise<unknown>, name: string): Promise<string> {
  try {
    return ((await asset) as { default: string }).default;
  } catch {
    return fileURLToPath(new URL(name, import.meta.url));
  }
}

const paths = {
  // @ts-expect-error A file asset has no types; and where there is no such file, there is nothing to ignore.
  ring: await locate(import("./sensor.bpf.o", { with: { type: "file" } }), "./sensor.bpf.o"),
  // @ts-expect-error The same.
  perf: await locate(import("./sensor-perf.bpf.o", { with: { type: "file" } }), "./sensor-perf.bpf.o"),
};

/** By which way records come: the kernel's ring buffer (Linux 5.8), or a perf buffer of each CPU. */
export type Way = keyof typeof paths;
export const ways = ["ring", "perf"] as const satisfies readonly Way[];

/** The compiled kernel side. */
export const objectBytes = (way: Way): Uint8Array => readFileSync(paths[way]);
