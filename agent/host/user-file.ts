// Files that users write and the agent reads as root: they may be links, FIFOs or endless, and must not make it wait, or tell what the user may not read himself.
import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync, type Stats, statSync } from "node:fs";
import { dirname } from "node:path";

/** Text of a file, cut at `max` bytes; or why there is none. Undefined where there is no such file. */
export type UserText = { readonly text: string; readonly cut: boolean } | { readonly why: string } | undefined;

/** Reads a plain file on behalf of the user `uid`. Links are followed, as sshd does. Never throws, never waits for another process. */
export function readUserFile(path: string, uid: number, max: number): UserText {
  let fd: number | undefined;
  try {
    // Opening a device can do something.
    if (!statSync(path).isFile()) return { why: "no plain file" };
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = fstatSync(fd);
    if (!stat.isFile()) return { why: "no plain file" };
    if (uid !== 0 && !mayRead(uid, readlinkSync(`/proc/self/fd/${fd}`), stat)) return { why: "a file of somebody else" };
    const buffer = Buffer.alloc(Math.min(max, stat.size));
    const count = readSync(fd, buffer, 0, buffer.length, 0);
    return { text: buffer.toString("utf8", 0, count), cut: stat.size > max };
  } catch (error) {
    const { code = "unknown" } = error as NodeJS.ErrnoException;
    return code === "ENOENT" || code === "ENOTDIR" ? undefined : { why: code };
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

const OTHERS_READ = 0o4;
const OTHERS_ENTER = 0o1;

/** Whether he may read it as its owner or as anybody: the file, and every folder above it. Groups are left out. */
function mayRead(uid: number, real: string, stat: Stats): boolean {
  if (stat.uid === uid) return true;
  if ((stat.mode & OTHERS_READ) === 0) return false;
  for (let folder = dirname(real); folder !== "/"; folder = dirname(folder)) {
    const { uid: owner, mode } = statSync(folder);
    if (owner !== uid && (mode & OTHERS_ENTER) === 0) return false;
  }
  return true;
}
