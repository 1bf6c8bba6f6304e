// What kill -9 and power loss leave behind, without ending the process that tests it: the files, as they are at that moment, in another folder.
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";

export type Place = { readonly path: string; readonly mirror: string };

/** The folder is made. */
export function placeIn(dir: string): Place {
  mkdirSync(dir, { recursive: true });
  return { path: join(dir, "buffer.db"), mirror: join(dir, "mirror.tail") };
}

/** `isPowerLoss`: the machine's memory is gone, and the mirror with it. */
export function leftBy(from: Place, to: Place, isPowerLoss: boolean): void {
  for (const suffix of ["", "-wal"]) if (existsSync(from.path + suffix)) copyFileSync(from.path + suffix, to.path + suffix);
  if (!isPowerLoss && existsSync(from.mirror)) copyFileSync(from.mirror, to.mirror);
}
