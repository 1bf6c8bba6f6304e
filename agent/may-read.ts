// What a local user names for the agent, which reads as root, must be what he may read himself.
import { statSync } from "node:fs";
import { dirname } from "node:path";

const OTHERS_READ = 0o4;
const OTHERS_ENTER = 0o1;

/** Whether a user may read a file, as its owner or as anybody. `real` is where it lies, without links: he must get through every folder above it. Groups are left out. */
export function mayRead(uid: number, real: string, stat: { readonly uid: bigint | number; readonly mode: bigint | number }): boolean {
  if (uid === 0 || Number(stat.uid) === uid) return true;
  if ((Number(stat.mode) & OTHERS_READ) === 0) return false;
  for (let folder = dirname(real); folder !== "/"; folder = dirname(folder)) {
    const above = statSync(folder, { throwIfNoEntry: false });
    if (!above || (above.uid !== uid && (above.mode & OTHERS_ENTER) === 0)) return false;
  }
  return true;
}
