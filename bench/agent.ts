import { readFileSync } from "node:fs";
import { join } from "node:path";
import { compile, executables } from "../compile.ts";

/** Compiles the agent as build.ts does, into `dir`: what devices run has another memory footprint than a checkout. Returns its path. */
export function compileAgent(dir: string): string {
  const path = join(dir, "picket-agent");
  compile({ ...executables["picket-agent"], out: path });
  return path;
}

/** What devices run it with: the environment of its systemd unit. */
export function agentEnvironment(): Record<string, string> {
  const unit = readFileSync(new URL("../install/picket-agent.service", import.meta.url), "utf8");
  const pairs = [...unit.matchAll(/^Environment=(.*)$/gm)].flatMap(([, line = ""]) => line.split(" "));
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]));
}
