// SHA-256 of files that run and of files that are written in watched places, off the path of events.
import { type BigIntStats, closeSync, readdirSync } from "node:fs";
import type { EventDraft, Process } from "@picket/protocol/event";
import { MAX_SAMPLE_BYTES } from "@picket/protocol/samples";
import type { Pace } from "../pace.ts";
import { contentOf, identityOf, linkOf, type Opened, openFile, readAt, realPathOf, sha256Of, statOf, statOfFd } from "./file.ts";
import type { Found } from "./found.ts";
import { isWatched, mayHashRun, mayHashWritten, type Places, scriptOf } from "./places.ts";
import { Written } from "./written.ts";

/** Files that wait. What is more is let go and counted. */
const MAX_QUEUE = 256;
const READ_BYTES = 128 << 10;
/** A program that was gone when we looked is hashed by its path only when nothing about that file changed since shortly before it ran. */
const UNCHANGED_MS = 50;
const DROPPED_LATELY_MS = 10 * 60_000;

export type HashOptions = {
  readonly places: Places;
  readonly found: Found;
  readonly emit: (draft: EventDraft) => void;
  /** Bytes that are read to be hashed. */
  readonly pace: Pace;
  /** A clock that never jumps. */
  readonly monotonicMs: () => number;
};

/** What waits to be hashed; it owns `opened`. */
type Job = {
  readonly opened: Opened;
  readonly path: string;
  readonly inContainer: boolean;
  readonly process: Process;
  /** How it came up: as what `process` is, as what it interprets, or as what it wrote. */
  readonly kind: "program" | "script" | "written";
  /** The content changed while it was read. */
  readonly changed: () => void;
};

/** A file that may be sent: reported, and proved to have the hash just now. */
export type OpenSample = Disposable & {
  readonly size: number;
  /** Undefined when the file has been changed since. The bytes are only valid until the next call. */
  read(offset: number, max: number): Promise<Buffer | undefined>;
};

export class Hashes implements Disposable {
  readonly #options: HashOptions;
  readonly #queue: Job[] = [];
  readonly #written: Written;
  readonly #buffer = Buffer.alloc(READ_BYTES);
  #running = false;
  #stopped = false;
  #hashed = 0;
  #tooLarge = 0;
  #dropped = 0;
  #droppedMs = Number.NEGATIVE_INFINITY;

  constructor(options: HashOptions) {
    this.#options = options;
    this.#written = new Written({ ready: (file) => this.#push(file), dropped: () => this.#drop() });
  }

  /** Looks at an event on its way out. A hash that is known is put on it; what is not is hashed later. Never throws. */
  see(draft: EventDraft): EventDraft {
    if (this.#stopped) return draft;
    try {
      this.#look(draft);
    } catch {
      // A file that vanished between two looks.
    }
    return draft;
  }

  state(): { hashed: number; tooLarge: number; dropped: number; droppedLately: boolean } {
    const lately = this.#options.monotonicMs() - this.#droppedMs < DROPPED_LATELY_MS;
    return { hashed: this.#hashed, tooLarge: this.#tooLarge, dropped: this.#dropped, droppedLately: lately };
  }

  /** Opens a file that was reported with this hash and still has it. Undefined: not reported, or gone or changed since. */
  async open(sha256: string): Promise<OpenSample | undefined> {
    const { found, pace, places } = this.#options;
    const file = found.get(sha256);
    if (!file || this.#stopped) return undefined;
    const held = found.heldFd(sha256);
    const opened = held === undefined ? reopen(file.path, places) : openFile(`/proc/self/fd/${held}`, true);
    if (!opened) return undefined;
    const { fd, stat } = opened;
    const buffer = Buffer.alloc(READ_BYTES);
    const size = Number(stat.size);
    const same = () => contentOf(statOfFd(fd)) === contentOf(stat);
    const right = size === file.size && (await sha256Of({ fd, size, buffer, pace }).catch(() => undefined)) === sha256;
    if (!right || !same()) {
      closeSync(fd);
      return undefined;
    }
    return {
      size,
      read: async (offset, max) => {
        const bytes = await readAt(fd, buffer, offset, max);
        return bytes.length > 0 && same() ? bytes : undefined;
      },
      [Symbol.dispose]: () => closeSync(fd),
    };
  }

  [Symbol.dispose](): void {
    this.#stopped = true;
    this.#written[Symbol.dispose]();
    for (const { opened } of this.#queue.splice(0)) closeSync(opened.fd);
    this.#options.found[Symbol.dispose]();
  }

  #look(draft: EventDraft): void {
    const { places } = this.#options;
    switch (draft.type) {
      case "process.exec":
        this.#program(draft.body.process, draft.timeMs);
        this.#script(draft.body.process);
        return;
      case "file.create":
      case "file.modify":
        if (isWatched(draft.body.file.path, places)) this.#written.changed(draft.body.file.path, draft.body.process);
        return;
      case "file.rename":
        if (isWatched(draft.body.file.to, places)) this.#written.renamed(draft.body.file.path, draft.body.file.to, draft.body.process);
        return;
      default:
        return;
    }
  }

  #program(process: Process, timeMs: number): void {
    const link = `/proc/${process.pid}/exe`;
    const byPath = process.container ? undefined : statOf(process.exe);
    const byProc = statOf(link);
    // By now the process may have become another program.
    const itself = byProc && ((byPath && same(byPath, byProc)) || linkOf(link)?.replace(/ \(deleted\)$/, "") === process.exe);
    const unchanged = byPath?.isFile() && Number(byPath.ctimeMs) < timeMs - UNCHANGED_MS;
    const stat = itself ? byProc : unchanged ? byPath : undefined;
    if (!stat) return;
    const known = this.#options.found.hashOf(identityOf(stat));
    if (known !== undefined) {
      process.sha256 = known;
      return;
    }
    const opened = openFile(itself ? link : process.exe, true);
    // Deleting it changes its ctime, but what the process runs stays what it is.
    if (!opened || (itself ? !same(opened.stat, stat) : identityOf(opened.stat) !== identityOf(stat))) {
      close(opened);
      return;
    }
    this.#push({
      opened,
      path: process.exe,
      inContainer: process.container !== undefined,
      process,
      kind: "program",
      changed: () => {},
    });
  }

  #script(process: Process): void {
    const path = scriptOf(process);
    if (path === undefined) return;
    const inContainer = process.container !== undefined;
    const opened = openFile(inContainer ? `/proc/${process.pid}/root${path}` : path, !inContainer) ?? openByFd(process.pid, path);
    if (!opened) return;
    const { path: real } = realPathOf(opened.fd);
    if (!mayHashRun(real, opened.stat, { uid: process.uid, inContainer }, this.#options.places) || (inContainer && real !== path)) {
      close(opened);
      return;
    }
    this.#push({ opened, path, inContainer, process, kind: "script", changed: () => {} });
  }

  #push(job: Omit<Job, "opened"> & { opened: Opened }): void {
    if (this.#stopped || this.#queue.length >= MAX_QUEUE) {
      closeSync(job.opened.fd);
      this.#drop();
      return;
    }
    this.#queue.push(job);
    if (!this.#running) void this.#run();
  }

  #drop(): void {
    this.#dropped++;
    this.#droppedMs = this.#options.monotonicMs();
  }

  async #run(): Promise<void> {
    this.#running = true;
    // Not in the turn that drains the kernel's ring.
    await Bun.sleep(0);
    for (let job = this.#queue.shift(); job; job = this.#queue.shift()) {
      try {
        await this.#hash(job);
      } catch {
        close(job.opened); // A disk that cannot be read.
      }
    }
    this.#running = false;
  }

  async #hash(job: Job): Promise<void> {
    const { opened, path, inContainer } = job;
    const { fd } = opened;
    const { pace, found } = this.#options;
    const before = statOfFd(fd);
    const real = realPathOf(fd);
    const allowed = this.#mayHash(job, real.path, before);
    const size = Number(before.size);
    if (allowed && size > MAX_SAMPLE_BYTES) this.#tooLarge++;
    if (!allowed || size === 0 || size > MAX_SAMPLE_BYTES) {
      close(opened);
      return;
    }
    const known = found.hashOf(identityOf(before));
    const sha256 = known ?? (await sha256Of({ fd, size, buffer: this.#buffer, pace }));
    const after = statOfFd(fd);
    if (sha256 === undefined || contentOf(after) !== contentOf(before)) {
      close(opened);
      job.changed();
      return;
    }
    if (this.#stopped) {
      close(opened);
      return;
    }
    if (known === undefined) this.#hashed++;
    const now = realPathOf(fd);
    const place = now.deleted || inContainer ? "" : now.path;
    const fresh = found.add({ sha256, path: place, identity: identityOf(after), content: contentOf(after), size }, fd);
    if (fresh) this.#report(job, path, sha256, size);
  }

  #mayHash({ kind, path, inContainer, process }: Job, real: string, stat: BigIntStats): boolean {
    const { places } = this.#options;
    if (kind === "written") return mayHashWritten(path, real, inContainer, places);
    return mayHashRun(real, stat, kind === "script" ? { uid: process.uid, inContainer } : undefined, places);
  }

  #report(job: Job, path: string, sha256: string, size: number): void {
    const { ancestors: _, ...own } = job.process;
    const process = job.kind === "program" ? { ...own, sha256 } : own;
    this.#options.emit({ type: "file.hash", timeMs: Date.now(), body: { process, file: { path, sha256, size } } });
  }
}

const same = (a: { dev: bigint; ino: bigint }, b: { dev: bigint; ino: bigint }) => a.dev === b.dev && a.ino === b.ino;

function close(opened: Opened | undefined): void {
  if (opened) closeSync(opened.fd);
}

/** A file found before, at its place. A link there now is not followed, and it must still lie where it seems to. */
function reopen(path: string, { secret }: Places): Opened | undefined {
  if (path === "") return undefined;
  const opened = openFile(path);
  if (!opened) return undefined;
  const real = realPathOf(opened.fd).path;
  if (real === path && !secret.some((prefix) => real.startsWith(prefix))) return opened;
  close(opened);
  return undefined;
}

/** A script that deleted itself, through the interpreter that still reads it. */
function openByFd(pid: number, path: string): Opened | undefined {
  let fds: string[];
  try {
    fds = readdirSync(`/proc/${pid}/fd`);
  } catch {
    return undefined;
  }
  for (const fd of fds.slice(0, 64)) {
    const at = `/proc/${pid}/fd/${fd}`;
    if (linkOf(at) === `${path} (deleted)`) return openFile(at, true);
  }
  return undefined;
}
