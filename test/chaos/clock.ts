// Clocks that jump while a program runs: libfaketime reads the offset from a file. Timers and the monotonic clock stay as they are.
import { globSync, renameSync, writeFileSync } from "node:fs";

export type Clock = {
  /** The command that runs `argv` by this clock. */
  on(argv: readonly string[]): string[];
  jump(seconds: number): void;
  /** How often it jumped. */
  jumps(): number;
};

/** Certificates begin years back, but alerts and retention think in hours and days: clocks stay within some hours of the truth. */
const MAX_OFFSET_S = 6 * 3600;

const settings = ["FAKETIME_CACHE_DURATION=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1"];
/** The library (Debian: libfaketime), or undefined where it is not installed. */
export const fakeTime = (): string | undefined => globSync("/usr/lib/*/faketime/libfaketimeMT.so.1")[0];

/** A clock whose offset is kept in the file at `path`. */
export function createClock(path: string, library: string): Clock {
  let offset = 0;
  let jumps = 0;
  const write = () => {
    // Whole or not at all: the program may look at any moment.
    writeFileSync(`${path}.new`, `${offset < 0 ? "" : "+"}${offset}\n`);
    renameSync(`${path}.new`, path);
  };
  write();
  return {
    on: (argv) => ["env", `LD_PRELOAD=${library}`, `FAKETIME_TIMESTAMP_FILE=${path}`, ...settings, ...argv],
    jump: (seconds) => {
      jumps++;
      offset = Math.abs(offset + seconds) > MAX_OFFSET_S ? offset - seconds : offset + seconds;
      write();
    },
    jumps: () => jumps,
  };
}
