// Where the command line finds its settings: flags, the environment, the operator's home and the site's file.
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** The environment, read here and nowhere else in the commands. */
export const environment = (): Readonly<Record<string, string | undefined>> => process.env;

/** Default place of the site's configuration. */
export const SITE_CONFIG = "/etc/picket/site.toml";

/**
 * The operator's home: --home, PICKET_HOME, ./.picket/operator where it exists (a demo or development site), ~/.config/picket.
 */
export function resolveHome(flag: string | undefined, env = environment(), cwd = process.cwd()): string {
  if (flag) return resolve(cwd, flag);
  if (env.PICKET_HOME) return resolve(cwd, env.PICKET_HOME);
  const here = join(cwd, ".picket", "operator");
  return existsSync(here) ? here : join(env.XDG_CONFIG_HOME || join(env.HOME || homedir(), ".config"), "picket");
}

/** The name to file notes under when the keys do not say one. */
export const userName = (env = environment()) => env.USER || env.LOGNAME || "operator";
