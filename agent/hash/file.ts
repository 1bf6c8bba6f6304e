// Opening and reading what others wrote, as root: nothing here may block, follow a link it should not, or touch what is no plain file.
import { type BigIntStats, closeSync, constants, fstatSync, lstatSync, openSync, read, readlinkSync, statSync } from "node:fs";
import { promisify } from "node:util";

const readAsync = promisify(read);

/** Content and name unchanged: who changes anything of a file changes its ctime, which nobody can set. */
export const identityOf = ({ dev, ino, mtimeNs, ctimeNs, size }: BigIntStats): string => `${dev}:${ino}:${mtimeNs}:${ctimeNs}:${size}`;

/** The same without ctime, which deleting and renaming change too. */
export const contentOf = ({ dev, ino, mtimeNs, size }: BigIntStats): string => `${dev}:${ino}:${mtimeNs}:${size}`;

export type Opened = { readonly fd: number; readonly stat: BigIntStats };

/** Opens a plain file; undefined when it is none, or gone. The last part of the path may be a link only with `follow`. */
export function openFile(path: string, follow = false): Opened | undefined {
  // Opening a device can do something, a FIFO can wait. Who may swap a file for a device here is root.
  if (!(follow ? statOf(path) : lstatOf(path))?.isFile()) return undefined;
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | (follow ? 0 : constants.O_NOFOLLOW));
    const stat = fstatSync(fd, { bigint: true });
    if (stat.isFile()) return { fd, stat };
    closeSync(fd);
  } catch {}
  return undefined;
}

export const statOfFd = (fd: number): BigIntStats => fstatSync(fd, { bigint: true });

export function statOf(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

export function lstatOf(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

export function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

const DELETED = " (deleted)";

/** Where an open file really lies, as the kernel names it now (proc(5)). */
export function realPathOf(fd: number): { path: string; deleted: boolean } {
  const link = linkOf(`/proc/self/fd/${fd}`) ?? "";
  return link.endsWith(DELETED) ? { path: link.slice(0, -DELETED.length), deleted: true } : { path: link, deleted: false };
}

/** Reads at most `max` bytes at `offset`, in another thread: a slow disk does not hold up the agent. */
export async function readAt(fd: number, buffer: Buffer, offset: number, max = buffer.length): Promise<Buffer> {
  const { bytesRead } = await readAsync(fd, buffer, 0, Math.min(max, buffer.length), offset);
  return buffer.subarray(0, bytesRead);
}

/** SHA-256 of the first `size` bytes in hex; undefined when the file is shorter. `pace` is asked before each piece. */
export async function sha256Of(of: {
  readonly fd: number;
  readonly size: number;
  readonly buffer: Buffer;
  readonly pace: (bytes: number) => Promise<void>;
}): Promise<string | undefined> {
  const hasher = new Bun.CryptoHasher("sha256");
  for (let at = 0; at < of.size; ) {
    const want = Math.min(of.buffer.length, of.size - at);
    await of.pace(want);
    const bytes = await readAt(of.fd, of.buffer, at, want);
    if (bytes.length === 0) return undefined;
    hasher.update(bytes);
    at += bytes.length;
  }
  return hasher.digest("hex");
}
