// `bun run build [--arch x64|arm64]`: the two executables in dist/linux-<arch>/, with their sizes and how long `--version` takes.
import { mkdirSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { compile, executables } from "./compile.ts";

const { values } = parseArgs({ options: { arch: { type: "string", default: process.arch } } });
const arch = values.arch;
if (arch !== "x64" && arch !== "arm64") {
  console.error(`build: ${arch} is not supported: use --arch x64 or --arch arm64`);
  process.exit(2);
}
const out = `dist/linux-${arch}`;
mkdirSync(out, { recursive: true });

for (const [name, { entry, flags }] of Object.entries(executables)) {
  const path = `${out}/${name}`;
  try {
    compile({ entry, flags, arch, out: resolve(path) });
  } catch (error) {
    console.error(`build: ${error instanceof Error ? error.message : error}`);
    process.exit(1);
  }
  const megabytes = (statSync(path).size / 1e6).toFixed(0);
  console.log(`${path}: ${megabytes} MB${arch === process.arch ? `, --version in ${startMs(path)} ms` : ""}`);
}

/** Median of five starts, milliseconds. */
function startMs(path: string): number {
  const times = Array.from({ length: 5 }, () => {
    const start = performance.now();
    const { exitCode, stderr } = Bun.spawnSync([path, "--version"]);
    if (exitCode !== 0) throw new Error(`${path} --version failed: ${stderr.toString()}`);
    return performance.now() - start;
  });
  return Math.round(times.toSorted((a, b) => a - b)[2]!);
}
