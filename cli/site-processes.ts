// A site as processes: the broker and the detector, each alone able to fail and come back.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { picketCommand } from "./executables.ts";
import { Failure } from "./failure.ts";
import { readSiteConfig } from "./site-config.ts";
import { type Supervised, supervise } from "./supervise.ts";

/** Starts broker and detector under supervision. `config` is passed on to both. */
export function startSite(config: string | undefined, onLine: (name: string, line: string) => void): Supervised[] {
  const rest = config === undefined ? [] : ["--config", config];
  return ["broker", "detector"].map((name) => supervise({ name, argv: [...picketCommand(), name, ...rest] }, onLine));
}

/** Runs a site in the foreground until SIGINT or SIGTERM, or until a process cannot run. Returns the exit code. */
export async function runSite(config: string | undefined): Promise<number> {
  const { dir } = readSiteConfig(config).broker;
  // Said once and at once: two programs that die of it five times each say it badly.
  if (!existsSync(join(dir, "site.json")))
    throw new Failure(
      `${dir} holds no site`,
      "Make one with `picket site init`, name its configuration with --config, or try one with sudo picket up --demo.",
    );
  const processes = startSite(config, (_, line) => console.error(line));
  const failed = Promise.race(processes.map((process) => process.failed));
  const reason = await Promise.race([interrupted(), failed]);
  await Promise.all(processes.map((process) => process.stop()));
  if (reason === undefined) return 0;
  console.error(`picket: the site cannot run: ${reason}`);
  return 1;
}

/** Resolves at the first SIGINT, SIGTERM or SIGHUP. More of them change nothing: whoever asked is stopping. */
export const interrupted = () =>
  new Promise<undefined>((resolve) => {
    // Not once: a listener gone by then makes the console's own one end the process before anything is stopped.
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => resolve(undefined));
  });
