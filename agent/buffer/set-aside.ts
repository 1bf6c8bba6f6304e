import { lstatSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/**
 * Moves a damaged database, or whatever else lies in its place, out of the way and returns its new name. Only the newest is kept: a failing disk must
 * not fill up with copies. Throws what the folder refuses.
 */
export function setAside(path: string, nowMs: number): string {
  const aside = `${basename(path)}.damaged-`;
  for (const name of readdirSync(dirname(path)))
    if (name.startsWith(aside)) rmSync(join(dirname(path), name), { recursive: true, force: true });
  const target = join(dirname(path), aside + nowMs);
  if (lstatSync(path, { throwIfNoEntry: false })) renameSync(path, target);
  // A write-ahead log without its database would be replayed into the new one.
  for (const suffix of ["-wal", "-shm", "-journal"]) rmSync(path + suffix, { recursive: true, force: true });
  return target;
}
