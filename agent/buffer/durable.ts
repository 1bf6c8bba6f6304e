// How far this run's numbers and events are surely on the disk: numbers are reserved there before they are used, and commits are synced within a second.
import type { Disk } from "./disk.ts";

/** Numbers a run may use before it notes on disk that it goes further: so many, or those of so many seconds. */
const RESERVE = 256;
const RESERVE_S = 4;
const MAX_RESERVE = 1 << 16;
const SYNC_WITHIN_MS = 1000;

type Syncs = Pick<Disk, "isOpen" | "sync" | "syncNow">;

export class Durable implements Disposable {
  readonly #disk: Syncs;
  readonly #monotonicMs: () => number;
  readonly #onSynced: (error: unknown) => void;
  #end = 0;
  #synced = 0;
  /** How many the last reservation was ahead. */
  #ahead = RESERVE;
  #last = { next: 0, atMs: 0 };
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isSyncing = false;
  #isWanted = false;
  #isOver = false;

  /** `onSynced` is called with what the disk said against it, or undefined. */
  constructor(disk: Syncs, of: { readonly monotonicMs: () => number; readonly onSynced: (error: unknown) => void }) {
    this.#disk = disk;
    this.#monotonicMs = of.monotonicMs;
    this.#onSynced = of.onSynced;
  }

  /** Whether more numbers are to be reserved soon: while half of them are left, which is as long as the disk may take for it before anybody has to wait. */
  isShort(next: number): boolean {
    return this.#end - next < this.#ahead / 2;
  }

  /** Whether all numbers below it were reserved on the disk. */
  covers(next: number): boolean {
    return next <= this.#synced;
  }

  /** What to note as reserved with the next commit. A run whose numbers are used only once they are on disk needs none (`isExact`). */
  endFor(next: number, isExact: boolean): number {
    if (isExact) return next;
    if (!this.isShort(next)) return this.#end;
    const now = this.#monotonicMs();
    const perS = ((next - this.#last.next) / Math.max(1, now - this.#last.atMs)) * 1000;
    this.#last = { next, atMs: now };
    this.#ahead = Math.min(MAX_RESERVE, Math.max(RESERVE, Math.ceil(perS * RESERVE_S)));
    return next + this.#ahead;
  }

  /** It stands in the file, though it may not be on the disk. Returns whether more numbers are reserved by it. */
  committed(end: number): boolean {
    const isMore = end > this.#end;
    this.#end = end;
    return isMore;
  }

  /** Throws what the disk says. */
  syncNow(): void {
    this.#disk.syncNow();
    this.#synced = this.#end;
  }

  syncSoon(): void {
    this.#timer ??= setTimeout(() => this.sync(), SYNC_WITHIN_MS);
  }

  /** While the event loop goes on. */
  sync(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isWanted = true;
    if (this.#isSyncing || this.#isOver || !this.#disk.isOpen) return;
    this.#isWanted = false;
    this.#isSyncing = true;
    const end = this.#end;
    const done = (error?: unknown) => {
      this.#isSyncing = false;
      if (!error) this.#synced = Math.max(this.#synced, end);
      if (this.#isOver) return;
      this.#onSynced(error);
      if (this.#isWanted && !error) this.sync();
    };
    this.#disk.sync().then(() => done(), done);
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }
}
