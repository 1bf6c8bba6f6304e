// Which files may be hashed, and so be asked for by the site.

import type { BigIntStats } from "node:fs";
import { resolve } from "node:path";
import type { Process } from "@picket/protocol/event";
import { mayRead } from "../may-read.ts";

export type Places = {
  /** Prefixes in which files that are written are hashed. */
  readonly write: readonly string[];
  /** Prefixes of secrets: never hashed, however they come up. */
  readonly secret: readonly string[];
  /** Prefixes of what is written but not worth it, such as logs. */
  readonly skip: readonly string[];
};

const within = (path: string, prefixes: readonly string[]) => prefixes.some((prefix) => path.startsWith(prefix));

export const isWatched = (path: string, { write, skip, secret }: Places) =>
  within(path, write) && !within(path, skip) && !within(path, secret);

/**
 * Whether a file that was written at `path` may be hashed now that it was opened and really lies at `real`: a folder on the way may have been made a
 * link meanwhile, to lead us to another file. Inside a container a link would lead to the host's files.
 */
export const mayHashWritten = (path: string, real: string, inContainer: boolean, places: Places): boolean =>
  !within(real, places.secret) && (real === path || (!inContainer && isWatched(real, places)));

/**
 * Whether a file that was run may be hashed. A script only when the one who ran it, `by`, may read it: naming it is enough to "run" it. The folders
 * of a container cannot be looked at from here.
 */
export const mayHashRun = (
  real: string,
  stat: BigIntStats,
  by: { readonly uid: number; readonly inContainer: boolean } | undefined,
  places: Places,
): boolean => !within(real, places.secret) && (by === undefined || mayRead(by.uid, by.inContainer ? "/" : real, stat));

const interpreter =
  /^(?:(?:ba|da|z|k|a|c|tc|fi)?sh|busybox|python[\d.]*|perl[\d.]*|ruby[\d.]*|node|nodejs|php[\d.]*|lua[\d.]*|pwsh|tclsh)$/;

/** The script an interpreter was started with, absolute; undefined where there is none, or it came as text (-c, -e). */
export function scriptOf({ exe, argv, cwd }: Pick<Process, "exe" | "argv" | "cwd">): string | undefined {
  if (!interpreter.test(exe.slice(exe.lastIndexOf("/") + 1))) return undefined;
  for (const arg of argv.slice(1, 5)) {
    if (arg === "-c" || arg === "-e" || arg === "-m" || arg === "-r" || arg === "-") return undefined;
    if (arg.startsWith("-") || arg === "sh" || arg === "ash") continue;
    if (arg.startsWith("/")) return resolve(arg);
    return cwd === undefined ? undefined : resolve(cwd, arg);
  }
  return undefined;
}
