import { join } from "node:path";
import { compile, executables } from "../compile.ts";

/** Compiles the agent as build.ts does, into `dir`: what devices run has another memory footprint than a checkout. Returns its path. */
export function compileAgent(dir: string): string {
  const path = join(dir, "picket-agent");
  compile({ ...executables["picket-agent"], out: path });
  return path;
}
