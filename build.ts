// `bun run build [--arch x64|arm64] [--out DIR]`: dist/linux-<arch>/ for both architectures or for one, with sizes and how long `--version` takes.
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { executables } from "./compile.ts";
import { type Architecture, architectures, makeDistribution } from "./distribution.ts";

const { values } = parseArgs({ options: { arch: { type: "string" }, out: { type: "string", default: "dist" } } });
const chosen = values.arch === undefined ? architectures : architectures.filter((arch) => arch === values.arch);
if (chosen.length === 0) {
  console.error(`build: ${values.arch} is not supported: use --arch ${architectures.join(" or --arch ")}, or neither for both`);
  process.exit(2);
}
for (const arch of chosen) {
  try {
    build(arch, join(values.out, `linux-${arch}`));
  } catch (error) {
    console.error(`build: linux-${arch}: ${error instanceof Error ? error.message : error}`);
    process.exit(1);
  }
}

function build(arch: Architecture, out: string): void {
  for (const { path, sizeBytes } of makeDistribution(arch, resolve(out))) {
    const start = path in executables && arch === process.arch ? `, --version in ${startMs(join(out, path))} ms` : "";
    console.log(`${join(out, path)}: ${(sizeBytes / 1e6).toFixed(1)} MB${start}`);
  }
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
