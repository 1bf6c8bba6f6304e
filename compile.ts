// How the two executables are made: for build.ts, and for benches and tests that must run what devices run.

/** By name: where each begins, and how it is compiled apart from what is common. */
export const executables = {
  // Most of a start runs once and is not worth compiling; agent/memory.ts takes the policy back when it is over.
  "picket-agent": { entry: "agent/main.ts", flags: ["--compile-jit-policy=50"] },
  picket: { entry: "cli/main.ts", flags: [] },
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

/** Compiles `entry`, relative to this folder or absolute, into the file `out`. Throws with what the compiler says. */
export function compile(of: { entry: string; out: string; flags?: readonly string[]; arch?: "x64" | "arm64" }): void {
  const target = of.arch === undefined ? [] : [`--target=bun-linux-${of.arch}`];
  const built = Bun.spawnSync([process.execPath, "build", ...common, ...(of.flags ?? []), ...target, of.entry, "--outfile", of.out], {
    cwd: root,
    stdout: "pipe",
    stderr: "pipe",
  });
  if (built.exitCode !== 0) throw new Error(`${of.entry} cannot be compiled: ${built.stderr.toString().trim()}`);
}
