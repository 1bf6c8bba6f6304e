// Files that are being written: events come when a file is opened, so it is looked at again until it rests.
import { closeSync } from "node:fs";
import type { Process } from "@picket/protocol/event";
import { contentOf, identityOf, lstatOf, type Opened, openFile, statOfFd } from "./file.ts";

/** Files looked at, at a time; more are let go and counted. */
const MAX_PENDING = 2048;
/** Open files among them: what deletes itself at once is still there. */
const MAX_OPEN = 32;
const TICK_MS = 100;
/** A file rests when it was not written for this long. */
const REST_MS = 300;
const FIRST_MS = 500;
/** A file that rests may be written again by who has it open: no event tells. Milliseconds after the look before. */
const LOOKS_MS = [5_000, 55_000];
/** Whoever writes for longer is hashed as far as it is. */
const PATIENCE_MS = 15 * 60_000;

type Pending = {
  path: string;
  readonly process: Process;
  opened: Opened | undefined;
  readonly sinceMs: number;
  dueMs: number;
  waitMs: number;
  /** At the last look; undefined when what lay here then was another file. */
  content: string | undefined;
  identity: string | undefined;
  looks: number;
};

export type WrittenFile = {
  readonly opened: Opened;
  readonly path: string;
  readonly inContainer: boolean;
  readonly process: Process;
  readonly kind: "written";
  readonly changed: () => void;
};

export class Written implements Disposable {
  readonly #ports: { ready(file: WrittenFile): void; dropped(): void };
  readonly #pending = new Map<string, Pending>();
  #open = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** `ready` is given files that rest, each to close. */
  constructor(ports: { ready(file: WrittenFile): void; dropped(): void }) {
    this.#ports = ports;
  }

  /** Somebody has opened a file to write it. */
  changed(path: string, process: Process): void {
    const known = this.#pending.get(path);
    if (known) {
      known.dueMs = Math.max(known.dueMs, Date.now() + FIRST_MS);
      known.looks = 0;
      return;
    }
    this.#add(path, process);
  }

  /** What lay at `from` lies at `to` now. */
  renamed(from: string, to: string, process: Process): void {
    const known = this.#pending.get(from);
    const replaced = this.#pending.get(to);
    if (replaced) this.#forget(replaced);
    if (!known) {
      this.#add(to, process);
      return;
    }
    this.#pending.delete(from);
    known.path = to;
    known.looks = 0;
    known.content = undefined;
    known.identity = undefined;
    known.dueMs = Date.now() + FIRST_MS;
    this.#pending.set(to, known);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    for (const pending of [...this.#pending.values()]) this.#forget(pending);
  }

  #add(path: string, process: Process): void {
    if (this.#pending.size >= MAX_PENDING) {
      this.#ports.dropped();
      return;
    }
    const now = Date.now();
    const pending: Pending = {
      ...{
        path,
        process,
        opened: undefined,
        sinceMs: now,
        dueMs: now + FIRST_MS,
        waitMs: FIRST_MS,
        content: undefined,
        identity: undefined,
        looks: 0,
      },
    };
    if (this.#open < MAX_OPEN) {
      pending.opened = openFile(visible(path, process));
      if (pending.opened) this.#open++;
    }
    this.#pending.set(path, pending);
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
  }

  #forget(pending: Pending): void {
    if (this.#pending.get(pending.path) === pending) this.#pending.delete(pending.path);
    const opened = this.#release(pending);
    if (opened) closeSync(opened.fd);
  }

  #release(pending: Pending): Opened | undefined {
    const { opened } = pending;
    if (opened) this.#open--;
    pending.opened = undefined;
    return opened;
  }

  #tick(): void {
    const now = Date.now();
    for (const pending of [...this.#pending.values()]) {
      // The wall clock may have been set back.
      if (pending.dueMs > now && pending.dueMs < now + PATIENCE_MS) continue;
      try {
        this.#look(pending, now);
      } catch {
        this.#forget(pending);
      }
    }
    if (this.#pending.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(pending: Pending, now: number): void {
    const at = visible(pending.path, pending.process);
    const stat = pending.opened ? statOfFd(pending.opened.fd) : lstatOf(at);
    if (!stat?.isFile()) {
      this.#forget(pending);
      return;
    }
    // A time in the future is somebody's choice, and no reason to wait.
    const writing = Math.abs(now - Number(stat.mtimeMs)) < REST_MS;
    if (writing && now - pending.sinceMs < PATIENCE_MS) {
      pending.waitMs = Math.min(pending.waitMs * 2, 30_000);
      pending.dueMs = now + pending.waitMs;
      return;
    }
    pending.waitMs = FIRST_MS;
    // Who writes can set a file's time back, but not that of its change. Deleting is a change too, and leaves the content.
    const identity = stat.nlink === 0n && contentOf(stat) === pending.content ? pending.identity : identityOf(stat);
    if (identity !== pending.identity && stat.size > 0n) this.#hand(pending, at);
    pending.content = contentOf(stat);
    pending.identity = identity;
    const next = LOOKS_MS[pending.looks++];
    if (next === undefined || (stat.nlink === 0n && stat.size > 0n)) this.#forget(pending);
    else pending.dueMs = now + next;
  }

  #hand(pending: Pending, at: string): void {
    const opened = this.#release(pending) ?? openFile(at);
    if (!opened) return;
    const { path, process } = pending;
    this.#ports.ready({
      opened,
      path,
      inContainer: process.container !== undefined,
      process,
      kind: "written",
      changed: () => this.changed(path, process),
    });
  }
}

/** The path under which a file in a container can be looked at from here, for as long as its process lives. */
const visible = (path: string, process: Process) => (process.container ? `/proc/${process.pid}/root${path}` : path);
