// The two clocks of a device: the wall, which may start in 1970 and jump, and boot time, which only rises.
import { readFileSync } from "node:fs";

/**
 * Wall time in milliseconds for a kernel timestamp (nanoseconds of CLOCK_BOOTTIME). Asked for every event and never cached for long:
 * a device without a clock chip boots in 1970 and jumps when NTP answers.
 */
export type WallTime = (bootTimeNs: bigint) => number;

/** A conversion that is right for as long as the wall clock does not jump: make a new one for every handful of events. Both are "now". */
export function wallTimeAt(bootNowNs: bigint, wallNowMs: number): WallTime {
  return (bootTimeNs) => Math.max(0, Math.round(wallNowMs - Number(bootNowNs - bootTimeNs) / 1e6));
}

/** Milliseconds since boot, suspended time included (proc(5), uptime), in steps of 10 ms. For timers that a wall clock must not move. */
export function bootNowMs(): number {
  return Math.round(Number.parseFloat(readFileSync("/proc/uptime", "latin1")) * 1000);
}
