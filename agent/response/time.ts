import { readFileSync } from "node:fs";

/** Milliseconds since boot, sleep included (CLOCK_BOOTTIME, as proc_uptime(5) shows it), in steps of 10. */
export const bootTimeMs = () => Math.round(Number(readFileSync("/proc/uptime", "latin1").split(" ", 1)[0]) * 1000);

export const bootIdOfKernel = () => readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();

export type SavedTime = { readonly ownMs: number; readonly toldMs: number };

/**
 * What time a device may believe when it judges whether a command has expired: the latest it knows of, carried on by the boot-time clock. It
 * keeps apart what the device knows itself (its wall clock, times that operators signed) and what the broker says: neither ever goes back, and a
 * broker that sent the device into the far future, where every command has expired, is not believed for ever.
 */
export type TrustedTime = {
  /** Milliseconds. */
  now(): number;
  /** The broker's clock. An earlier time changes nothing. */
  tell(toMs: number): void;
  /** A time signed by an operator. An earlier one changes nothing. */
  signed(toMs: number): void;
  /** Forgets what the broker has said, which only the operators' root can order (by a new key list). */
  distrustBroker(): void;
  /** For the disk. */
  saved(): SavedTime;
};

export function trustedTime(of: { saved: SavedTime; now: () => number; uptimeMs: () => number }): TrustedTime {
  const own = carried(of.saved.ownMs, of.uptimeMs);
  const told = carried(of.saved.toldMs, of.uptimeMs);
  const now = () => {
    own.advance(of.now());
    return Math.max(own.now(), told.now());
  };
  return {
    now,
    tell: (toMs) => told.advance(toMs),
    signed: (toMs) => own.advance(toMs),
    distrustBroker: () => told.set(0),
    saved: () => {
      now();
      return { ownMs: Math.floor(own.now()), toldMs: Math.floor(told.now()) };
    },
  };
}

function carried(startMs: number, uptimeMs: () => number) {
  let base = { timeMs: startMs, uptimeMs: uptimeMs() };
  const now = () => base.timeMs + Math.max(0, uptimeMs() - base.uptimeMs);
  const set = (timeMs: number) => {
    base = { timeMs, uptimeMs: uptimeMs() };
  };
  return { now, set, advance: (toMs: number) => void (toMs > now() && set(toMs)) };
}
