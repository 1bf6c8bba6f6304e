// Which hash was found where. Only what stands here was reported, and only that is ever sent. It survives a restart.
import { appendFileSync, closeSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import * as z from "zod";
import { contentOf, lstatOf } from "./file.ts";

/** Files remembered, the newest. */
const MAX_FOUND = 4096;
/** Open files kept, so that one that deletes itself can still be sent; and for how long, and how much they may hold on disk. */
const MAX_HELD = 16;
const MAX_HELD_BYTES = 64 << 20;
const HOLD_MS = 60_000;
const SAVE_MS = 5000;

const Row = z.object({ sha256: z.string(), path: z.string(), identity: z.string(), content: z.string(), size: z.number() });
/** `path` is empty for a file that can only be reached while it is held open. */
export type FoundFile = z.infer<typeof Row>;
type Held = { readonly fd: number; readonly size: number; readonly sinceMs: number };

export class Found implements Disposable {
  readonly #file: string;
  readonly #nowMs: () => number;
  readonly #byHash = new Map<string, FoundFile>();
  readonly #byIdentity = new Map<string, string>();
  readonly #held = new Map<string, Held>();
  #unsaved: FoundFile[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #expiry: ReturnType<typeof setTimeout> | undefined;

  /** `file` is where it is kept; one that cannot be read counts as empty. `nowMs` is a clock that never jumps. */
  constructor(file: string, nowMs: () => number) {
    this.#file = file;
    this.#nowMs = nowMs;
    const lines = readLines(file);
    for (const line of lines) this.#remember(line);
    if (lines.length > MAX_FOUND * 2) this.#rewrite();
  }

  /** The hash of the file with this identity, if it was hashed before. */
  hashOf(identity: string): string | undefined {
    return this.#byIdentity.get(identity);
  }

  get(sha256: string): FoundFile | undefined {
    return this.#byHash.get(sha256);
  }

  /** Notes a file; true when this hash was not known at this place. Takes `fd` over: it is kept for a while, or closed. */
  add(found: FoundFile, fd: number): boolean {
    const before = this.#byHash.get(found.sha256);
    const again = before?.identity === found.identity && before.path === found.path;
    this.#remember(found);
    this.#hold(found, fd);
    if (again) return false;
    this.#unsaved.push(found);
    this.#timer ??= setTimeout(() => this.save(), SAVE_MS);
    return before?.path !== found.path;
  }

  /** The open file with this hash, if it is still held. */
  heldFd(sha256: string): number | undefined {
    return this.#held.get(sha256)?.fd;
  }

  /** Writes what is new. Loss of it only means that some files are hashed again. */
  save(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const rows = this.#unsaved.splice(0);
    if (rows.length === 0) return;
    try {
      appendFileSync(this.#file, rows.map((row) => `${JSON.stringify(row)}\n`).join(""), { mode: 0o600 });
    } catch {
      // A full disk: these files are hashed again after the next start.
    }
  }

  [Symbol.dispose](): void {
    this.save();
    clearTimeout(this.#expiry);
    for (const sha256 of [...this.#held.keys()]) this.#letGo(sha256);
  }

  #remember(found: FoundFile): void {
    const before = this.#byHash.get(found.sha256);
    if (before) this.#byHash.delete(found.sha256);
    this.#byHash.set(found.sha256, found);
    this.#byIdentity.delete(found.identity);
    this.#byIdentity.set(found.identity, found.sha256);
    for (const map of [this.#byHash, this.#byIdentity]) if (map.size > MAX_FOUND) map.delete(map.keys().next().value!);
  }

  #hold({ sha256, size }: FoundFile, fd: number): void {
    this.#letGo(sha256);
    this.#held.set(sha256, { fd, size, sinceMs: this.#nowMs() });
    this.#expiry ??= setTimeout(() => this.#expire(), HOLD_MS);
    let bytes = [...this.#held.values()].reduce((sum, held) => sum + held.size, 0);
    const isFull = () => this.#held.size > MAX_HELD || bytes > MAX_HELD_BYTES;
    // First those that are still where they were: they can be opened again.
    for (const mayGo of [(found: FoundFile | undefined) => found !== undefined && isThere(found), () => true])
      for (const [oldest, held] of this.#held) {
        if (!isFull()) return;
        if (!mayGo(this.#byHash.get(oldest))) continue;
        bytes -= held.size;
        this.#letGo(oldest);
      }
  }

  #expire(): void {
    for (const [sha256, { sinceMs }] of this.#held) if (this.#nowMs() - sinceMs >= HOLD_MS) this.#letGo(sha256);
    this.#expiry = this.#held.size > 0 ? setTimeout(() => this.#expire(), HOLD_MS / 4) : undefined;
  }

  #letGo(sha256: string): void {
    const held = this.#held.get(sha256);
    if (!held) return;
    this.#held.delete(sha256);
    closeSync(held.fd);
  }

  #rewrite(): void {
    try {
      writeFileSync(`${this.#file}.new`, [...this.#byHash.values()].map((row) => `${JSON.stringify(row)}\n`).join(""), { mode: 0o600 });
      renameSync(`${this.#file}.new`, this.#file);
    } catch {
      // It goes on growing until the disk takes it.
    }
  }
}

function isThere({ path, content }: FoundFile): boolean {
  const stat = path === "" ? undefined : lstatOf(path);
  return stat !== undefined && contentOf(stat) === content;
}

function readLines(file: string): FoundFile[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return [];
  }
  return text.split("\n").flatMap((line) => {
    try {
      return [Row.parse(JSON.parse(line))];
    } catch {
      return []; // The last line of an agent that was killed.
    }
  });
}
