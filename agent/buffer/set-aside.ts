import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/**
 * Moves a damaged database out of the way and returns its new name. Only the newest damaged file is kept:
 * a failing disk must not fill up with copies.
 */
export function setAside(path: string, nowMs: number): string {
  const aside = `${basename(path)}.damaged-`;
  for (const name of readdirSync(dirname(path))) if (name.startsWith(aside)) rmSync(join(dirname(path), name), { force: true });
  const target = join(dirname(path), aside + nowMs);
  if (existsSync(path)) renameSync(path, target);
  // A write-ahead log without its database would be replayed into the new one.
  for (const suffix of ["-wal", "-shm", "-journal"]) rmSync(path + suffix, { force: true });
  return target;
}
