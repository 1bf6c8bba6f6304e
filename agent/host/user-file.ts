// Files that users write and the agent reads as root: they may be links, FIFOs or endless, and must not make it wait, or tell what the user may not read himself.
import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync, statSync } from "node:fs";
import { mayRead } from "../may-read.ts";

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
    if (!mayRead(uid, readlinkSync(`/proc/self/fd/${fd}`), stat)) return { why: "a file of somebody else" };
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
