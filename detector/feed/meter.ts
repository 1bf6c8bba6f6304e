// What judging costs a device. On a busy machine a clock also counts what others did meanwhile, and compilers and collectors on other threads: only what this thread worked is the device's.

/** What an event may cost, milliseconds: a hundred times what it does. */
export const FAIR_MS = 0.2;

export type MeterClocks = {
  /** Never jumps. Milliseconds. */
  readonly nowMs: () => number;
  /** What this thread has worked, milliseconds. Asked only where something took longer than it may: it costs ten times as much. */
  readonly workedMs: () => number;
};

export const threadClocks: MeterClocks = {
  nowMs: () => performance.now(),
  workedMs: () => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  },
};

export class Meter {
  readonly #clocks: MeterClocks;
  #nowMs = 0;
  #workedMs = 0;

  constructor(clocks: MeterClocks) {
    this.#clocks = clocks;
  }

  /** From here on it counts. */
  start(): void {
    this.#nowMs = this.#clocks.nowMs();
    this.#workedMs = this.#clocks.workedMs();
  }

  /** When `start` or `lap` was called last. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** What was spent on so many events since `start` or the last `lap`, milliseconds. Work of laps before it is part of it where they were fair, never more than what the clock says. */
  lap(events: number): number {
    const nowMs = this.#clocks.nowMs();
    const ms = nowMs - this.#nowMs;
    this.#nowMs = nowMs;
    if (ms <= events * FAIR_MS) return ms;
    const workedMs = this.#clocks.workedMs();
    const worked = workedMs - this.#workedMs;
    this.#workedMs = workedMs;
    return Math.min(ms, worked);
  }
}
