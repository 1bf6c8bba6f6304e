// What the agent writes to flash, measured by the kernel, over its last 24 hours of running. The wall clock plays no part: it may jump, and a board
// without a battery has none. Hours in which the device was off do not pass, so that neither a restart nor a crash loop makes room.
import { readFileSync } from "node:fs";

const HOUR_MS = 3_600_000;
const HOURS = 24;

export type Flash = { readonly wroteBytes: number; readonly budgetBytes: number };

/** Bytes this process has caused to be written to storage (proc_pid_io(5)); undefined on kernels that do not count them. */
export function writtenBytes(): number | undefined {
  try {
    const found = /^write_bytes: (\d+)$/m.exec(readFileSync("/proc/self/io", "latin1"));
    return found ? Number(found[1]) : undefined;
  } catch {
    return undefined;
  }
}

type WearOptions = {
  readonly budgetBytes: number;
  readonly writtenBytes: () => number | undefined;
  readonly monotonicMs: () => number;
};

export class Wear {
  /** Bytes by hour, the current one last. */
  #hours = new Array<number>(HOURS).fill(0);
  /** Of the current hour. */
  #elapsedMs = 0;
  #atMs: number;
  #counter: number | undefined;

  readonly #of: WearOptions;

  /** Counts from now on. */
  constructor(of: WearOptions) {
    this.#of = of;
    this.#atMs = of.monotonicMs();
    this.#counter = of.writtenBytes();
  }

  /** Adds what `save` returned in an earlier run. Anything else counts as nothing written. */
  restore(saved: string): void {
    const earlier = parse(saved);
    if (!earlier) return;
    this.#hours = this.#hours.map((bytes, at) => bytes + earlier.hours[at]!);
    this.#elapsedMs += earlier.elapsedMs;
  }

  /** Measured now; undefined where the kernel does not count. */
  flash(): Flash | undefined {
    this.#measure();
    if (this.#counter === undefined) return undefined;
    return { wroteBytes: this.#hours.reduce((sum, bytes) => sum + bytes, 0), budgetBytes: this.#of.budgetBytes };
  }

  isOver(): boolean {
    const flash = this.flash();
    return flash !== undefined && flash.wroteBytes >= flash.budgetBytes;
  }

  save(): string {
    this.#measure();
    return JSON.stringify([Math.round(this.#elapsedMs), ...this.#hours]);
  }

  #measure(): void {
    const now = this.#of.monotonicMs();
    const counter = this.#of.writtenBytes();
    this.#elapsedMs += Math.max(0, now - this.#atMs);
    this.#atMs = now;
    const passed = Math.min(HOURS, Math.floor(this.#elapsedMs / HOUR_MS));
    this.#elapsedMs %= HOUR_MS;
    if (counter !== undefined && this.#counter !== undefined) this.#hours[HOURS - 1]! += Math.max(0, counter - this.#counter);
    this.#counter = counter;
    for (let hour = 0; hour < passed; hour++) {
      this.#hours.shift();
      this.#hours.push(0);
    }
  }
}

function parse(saved: string): { hours: number[]; elapsedMs: number } | undefined {
  let list: unknown;
  try {
    list = JSON.parse(saved);
  } catch {
    return undefined;
  }
  if (!Array.isArray(list) || list.length !== HOURS + 1 || !list.every((one) => Number.isSafeInteger(one) && one >= 0)) return undefined;
  const [elapsedMs, ...hours] = list as number[];
  return { hours, elapsedMs: Math.min(elapsedMs!, HOUR_MS) };
}
