// Lines in a file that never grows beyond a size: FILE is the newest, FILE.1 the one before.
import { closeSync, constants, fstatSync, openSync, readSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import type { Output } from "./output.ts";

/** Lines wait this long for each other: a flash card wears with every write. Milliseconds. */
const FLUSH_MS = 250;
const FLUSH_BYTES = 64 << 10;
const NEWLINE = 0x0a;

export type RotatingFile = Output & {
  /** Writes what waits and closes the file. Returns the bytes that could not be written. */
  end(): number;
};

export type RotatingOptions = {
  readonly path: string;
  /** A line never lies in two files, so a file may only be larger when one line alone is. Bytes. */
  readonly maxBytes: number;
  /** Older files kept beside it. */
  readonly keep: number;
  /** Told once when writing begins to fail, and with undefined when it works again. What could not be written waits. */
  readonly onProblem: (error: Error | undefined) => void;
};

/**
 * Opens or makes the file, 0600, and appends. A file that somebody else renamed, removed or truncated (logrotate) is opened anew within 250 ms.
 * Throws when it cannot be opened or is no regular file.
 */
export function openRotatingFile(options: RotatingOptions): RotatingFile {
  const { path, maxBytes, keep, onProblem } = options;
  let fd = openForAppending(path);
  const waiting: Buffer[] = [];
  let waitingBytes = 0;
  let failing = false;
  /** The file ends in the middle of a line, whose rest waits first. */
  let torn = false;

  const flush = () => {
    try {
      if (isElsewhere(path, fd)) reopen();
      while (waiting.length > 0) writeSome();
      if (failing) onProblem(undefined);
      failing = false;
    } catch (error) {
      if (!failing) onProblem(error as Error);
      failing = true;
    }
  };
  /** As many lines as fit; one that is too large for any file has one of its own. */
  const writeSome = () => {
    const { size } = fstatSync(fd);
    let count = 0;
    let bytes = 0;
    while (count < waiting.length && size + bytes + waiting[count]!.length <= maxBytes) bytes += waiting[count++]!.length;
    if (count === 0 && size > 0 && !torn) return rotate();
    const chunk = Buffer.concat(waiting.splice(0, Math.max(1, count)));
    let written = 0;
    try {
      written = writeSync(fd, chunk);
    } finally {
      putBack(chunk, written);
    }
  };
  /** What a full disk did not take: the rest of a begun line belongs into the same file. */
  const putBack = (chunk: Buffer, written: number) => {
    waitingBytes -= written;
    torn = written > 0 ? chunk[written - 1] !== NEWLINE : torn;
    const rest = chunk.subarray(written);
    const begun = torn ? rest.indexOf(NEWLINE) + 1 : 0;
    waiting.unshift(...[rest.subarray(0, begun), rest.subarray(begun)].filter((part) => part.length > 0));
  };
  const rotate = () => {
    rmSync(`${path}.${keep}`, { force: true });
    for (let at = keep - 1; at >= 1; at--) renameIfThere(`${path}.${at}`, `${path}.${at + 1}`);
    if (keep > 0) renameSync(path, `${path}.1`);
    else rmSync(path, { force: true });
    reopen();
  };
  const reopen = () => {
    const next = openForAppending(path);
    closeSync(fd);
    fd = next;
    torn = false;
  };
  const timer = setInterval(() => waiting.length > 0 && flush(), FLUSH_MS);
  return {
    write: (text) => {
      const line = Buffer.from(text);
      waiting.push(line);
      waitingBytes += line.length;
      if (waitingBytes >= FLUSH_BYTES && !failing) flush();
    },
    unreadBytes: () => waitingBytes,
    end: () => {
      clearInterval(timer);
      flush();
      closeSync(fd);
      return waitingBytes;
    },
  };
}

function openForAppending(path: string): number {
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o600);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new Error(`${path} is not a regular file: name another`);
    endLine(fd, stat.size);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** A power cut can leave half a line: the next one must not become part of it. */
function endLine(fd: number, size: number): void {
  const last = Buffer.alloc(1);
  if (size > 0 && readSync(fd, last, 0, 1, size - 1) === 1 && last[0] !== NEWLINE) writeSync(fd, "\n");
}

function isElsewhere(path: string, fd: number): boolean {
  const now = statSync(path, { throwIfNoEntry: false });
  const ours = fstatSync(fd);
  return now?.ino !== ours.ino || now.dev !== ours.dev;
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
