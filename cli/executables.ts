// How to start ourselves and our agent: as executables side by side, or from a checkout with Bun.
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

const compiled = import.meta.url.includes("/$bunfs/");

/** The command line that runs `picket` with the same build as this process. */
export const picketCommand = (): string[] =>
  compiled ? [process.execPath] : [process.execPath, new URL("main.ts", import.meta.url).pathname];

/** The command line that runs the agent of the same build. Throws when the executable is not beside ours. */
export function agentCommand(): string[] {
  if (!compiled) return [process.execPath, new URL("../agent/main.ts", import.meta.url).pathname];
  const path = join(dirname(process.execPath), "picket-agent");
  if (!existsSync(path)) throw new Error(`${path} is missing: picket-agent must lie beside picket`);
  return [path];
}
