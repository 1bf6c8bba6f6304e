// What is at a path now: owner, mode, size and hash, never following a link and never waiting for a device or a FIFO.
import { type BigIntStats, closeSync, constants, fstatSync, lstatSync, opendirSync, openSync, read, readlinkSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { promisify } from "node:util";
import type { EventOf } from "@picket/protocol/event";

export type FileState = NonNullable<EventOf<"file.integrity">["body"]["after"]>;
/** `identity`: while it is the same, so is everything else. */
export type Seen = { readonly state: FileState; readonly identity: string };

const readAsync = promisify(read);
/** Larger files are known by size, owner and mode alone. */
export const MAX_HASH_BYTES = 32 << 20;
const PIECE_BYTES = 64 << 10;
/** A file that is being written is read again this often; then the next look takes it. */
const TRIES = 3;
const MAX_DEPTH = 8;
/** Entries looked at before anything else in the process gets a turn. */
const TURN_ENTRIES = 100;

const identityOf = ({ dev, ino, mtimeNs, ctimeNs, size }: BigIntStats) => `${dev}:${ino}:${mtimeNs}:${ctimeNs}:${size}`;

/** Undefined when nothing is there. Throws when it cannot be told. With the identity of `before` nothing is read. */
export async function look(path: string, before: Seen | undefined): Promise<Seen | undefined> {
  for (let left = TRIES; ; left--) {
    const stat = statOf(path);
    if (!stat) return undefined;
    const identity = identityOf(stat);
    if (before?.identity === identity) return before;
    const state = {
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      mode: Number(stat.mode),
      size: stat.isDirectory() ? 0 : Number(stat.size),
    };
    const sha256 = await hashOf(path, stat);
    if (sha256 !== CHANGING) return { state: sha256 === undefined ? state : { sha256, ...state }, identity };
    // Owner, mode and size are true at least; the identity is not, so that it is looked at again.
    if (left === 1) return { state, identity: "" };
  }
}

export const sameState = (a: FileState, b: FileState): boolean =>
  a.sha256 === b.sha256 && a.uid === b.uid && a.gid === b.gid && a.mode === b.mode && a.size === b.size;

function statOf(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOTDIR") return undefined;
    throw error;
  }
}

const CHANGING = Symbol();

/** Undefined where there is nothing to hash: a folder, a device, a large file. */
async function hashOf(path: string, stat: BigIntStats): Promise<string | undefined | typeof CHANGING> {
  if (stat.isSymbolicLink()) return hashOfLink(path);
  if (!stat.isFile() || stat.size > MAX_HASH_BYTES) return undefined;
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    if (/^(ENOENT|ELOOP|ENOTDIR)$/.test((error as NodeJS.ErrnoException).code ?? "")) return CHANGING;
    throw error;
  }
  try {
    // Not the file that was there a moment ago, or not the same content any more.
    const same = () => identityOf(fstatSync(fd, { bigint: true })) === identityOf(stat);
    if (!same()) return CHANGING;
    const hasher = new Bun.CryptoHasher("sha256");
    const buffer = Buffer.alloc(Math.min(PIECE_BYTES, Number(stat.size) + 1));
    for (let at = 0; ; ) {
      const { bytesRead } = await readAsync(fd, buffer, 0, buffer.length, at);
      if (bytesRead === 0) break;
      hasher.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
      if (at > MAX_HASH_BYTES) return CHANGING;
    }
    return same() ? hasher.digest("hex") : CHANGING;
  } finally {
    closeSync(fd);
  }
}

function hashOfLink(path: string): string | typeof CHANGING {
  try {
    return new Bun.CryptoHasher("sha256").update(readlinkSync(path)).digest("hex");
  } catch {
    return CHANGING;
  }
}

/**
 * `root` and everything below it on the same file system, at most `max` paths. Links are listed and not followed. What vanishes
 * meanwhile is left out; `onTrouble` is told of folders that cannot be read, and when there is more than `max`.
 */
export async function listBelow(root: string, max: number, onTrouble: (why: string) => void): Promise<string[]> {
  const found: string[] = [];
  const top = statOf(root);
  const visit = async (path: string, depth: number): Promise<void> => {
    const stat = statOf(path);
    if (!stat) return;
    if (found.length >= max) throw new Full();
    found.push(path);
    if (found.length % TURN_ENTRIES === 0) await turn();
    if (!stat.isDirectory() || stat.dev !== top?.dev) return;
    if (depth === MAX_DEPTH) return onTrouble(`${path}: deeper than ${MAX_DEPTH} folders`);
    for (const name of namesIn(path, max - found.length, onTrouble)) await visit(`${path}/${name}`, depth + 1);
  };
  try {
    await visit(root, 0);
  } catch (error) {
    if (!(error instanceof Full)) throw error;
    onTrouble(`${root}: more than ${max} files`);
  }
  return found;
}

class Full extends Error {}

function namesIn(path: string, max: number, onTrouble: (why: string) => void): string[] {
  const names: string[] = [];
  try {
    using folder = opendirSync(path);
    for (let entry = folder.readSync(); entry && names.length <= max; entry = folder.readSync()) names.push(entry.name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") onTrouble(`${path}: ${error instanceof Error ? error.message : error}`);
  }
  return names.sort();
}
