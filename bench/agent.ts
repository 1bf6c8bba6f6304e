import { join } from "node:path";

const root = new URL("..", import.meta.url).pathname;

/** Compiles the agent as build.ts does, into `dir`: what devices run has another memory footprint than a checkout. Returns its path. */
export function compileAgent(dir: string): string {
  const path = join(dir, "picket-agent");
  const flags = ["--compile", "--minify-syntax", "--minify-whitespace"];
  const built = Bun.spawnSync([process.execPath, "build", ...flags, `${root}agent/main.ts`, "--outfile", path], {
    stdout: "pipe",
    stderr: "pipe",
  });
  if (built.exitCode !== 0) throw new Error(`the agent cannot be compiled: ${built.stderr.toString().trim()}`);
  return path;
}
