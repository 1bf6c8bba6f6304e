// Paths as calls gave them, made absolute. Symbolic links are not followed: the link may have changed since.
import { posix } from "node:path";

/** Where a path begins that is not absolute, or leads through /proc/PID/root or cwd; undefined when that is not known any more. */
export type Bases = {
  /** Of a directory descriptor, or AT_FDCWD. */
  directory(dirFd: number): string | undefined;
  /** Working directory of another process. */
  cwd(pid: number): string | undefined;
};

const throughProc = /^\/proc\/(?:self|thread-self|(\d+))\/(root|cwd)(?=\/|$)/;

/** Longest path an event can hold. */
const MAX_PATH = 4096;
const AT_FDCWD = -100;

export function resolvePath(path: string, dirFd: number, bases: Bases): string | undefined {
  let absolute = path;
  if (!path.startsWith("/")) {
    const base = bases.directory(dirFd);
    if (base === undefined) return undefined;
    absolute = `${base}/${path}`;
  }
  let normal = trim(absolute);
  // More than one hop is somebody playing; a few are followed.
  for (let hop = 0; hop < 4; hop++) {
    const match = throughProc.exec(normal);
    if (!match) break;
    const [whole, pid, link] = match;
    const start = link === "root" ? "" : pid === undefined ? bases.directory(AT_FDCWD) : bases.cwd(Number(pid));
    if (start === undefined) break;
    normal = trim(`${start}/${normal.slice(whole.length)}`);
  }
  return normal.slice(0, MAX_PATH);
}

function trim(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith("/") ? normal.slice(0, -1) : normal;
}
