import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Way } from "../object.ts";

/** Directory of the C sources. */
export const sourceDir = new URL("..", import.meta.url).pathname;

/** sha256 over names and contents of all C sources: what the committed object was made from. */
export function sourceHash(): string {
  const hash = new Bun.CryptoHasher("sha256");
  for (const name of readdirSync(sourceDir).sort()) {
    if (/\.bpf\.[ch]$/.test(name))
      hash
        .update(`${name}\0`)
        .update(readFileSync(join(sourceDir, name)))
        .update("\0");
  }
  return hash.digest("hex");
}

/** First line of `clang --version`, without what differs between distributions' builds of one version; undefined without clang. */
export function clangVersion(): string | undefined {
  const clang = Bun.which("clang");
  if (!clang) return undefined;
  const { stdout } = Bun.spawnSync([clang, "--version"]);
  return /clang version (\d+\.\d+\.\d+)/.exec(stdout.toString())?.[1];
}

/** File of each object, beside the sources. */
export const objectFiles: Readonly<Record<Way, string>> = { ring: "sensor.bpf.o", perf: "sensor-perf.bpf.o" };

/**
 * Compiles sensor.bpf.c for one way out of the kernel and returns the object, debug sections dropped (BTF stays). Needs clang, llvm-strip and libbpf's headers
 * (Debian: clang llvm libbpf-dev). Throws with the compiler's words. No path of this machine gets into the object.
 */
export function compile(way: Way): Uint8Array {
  const dir = mkdtempSync(join(tmpdir(), "picket-gen-"));
  try {
    const out = join(dir, "sensor.bpf.o");
    const include = `/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
    const flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v2", "-Wall", "-Werror", "-I", include, "-fdebug-compilation-dir=."];
    run(["clang", ...flags, ...(way === "perf" ? ["-DPERF"] : []), "-c", "sensor.bpf.c", "-o", out]);
    run(["llvm-strip", "--strip-debug", out]);
    return new Uint8Array(readFileSync(out));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function run(command: string[]): void {
  const name = command[0]!;
  if (!Bun.which(name)) throw new Error(`${name} is not installed: apt-get install clang llvm libbpf-dev`);
  const { exitCode, stderr } = Bun.spawnSync(command, { cwd: sourceDir, stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr.toString()}`);
}
