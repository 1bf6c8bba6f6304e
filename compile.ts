// How the two executables are made: for build.ts, and for benches and tests that must run what devices run.

/** By name: where each begins, and how it is compiled apart from what is common. */
export const executables = {
  // Most of a start runs once and is not worth compiling; agent/memory.ts takes the policy back when it is over.
  "picket-agent": { entry: "agent/main.ts", flags: ["--compile-jit-policy=50"] },
  picket: { entry: "cli/main.ts", flags: [], workers: ["detector/engines/yara/worker.ts"] },
} as const;

const common = [
  "--compile",
  "--minify-syntax",
  "--minify-whitespace",
  // Or a file of either name in the current directory, anybody's /tmp say, would run its code as whoever starts us: usually root.
  "--no-compile-autoload-bunfig",
  "--no-compile-autoload-dotenv",
];
const root = new URL(".", import.meta.url).pathname;

export type Program = {
  /** Relative to this folder or absolute. */
  readonly entry: string;
  readonly flags?: readonly string[];
  /** What it starts as Workers, relative to this folder: the executable holds them at these paths, as far as `entry` lies in this folder too. */
  readonly workers?: readonly string[];
};

/** Compiles a program into the file `out`. Throws with what the compiler says. */
export function compile(of: Program & { out: string; arch?: "x64" | "arm64" }): void {
  const target = of.arch === undefined ? [] : [`--target=bun-linux-${of.arch}`];
  const entries = [of.entry, ...(of.workers ?? [])];
  const built = Bun.spawnSync([process.execPath, "build", ...common, ...(of.flags ?? []), ...target, ...entries, "--outfile", of.out], {
    cwd: root,
    stdout: "pipe",
    stderr: "pipe",
  });
  if (built.exitCode !== 0) throw new Error(`${of.entry} cannot be compiled: ${built.stderr.toString().trim()}`);
}
