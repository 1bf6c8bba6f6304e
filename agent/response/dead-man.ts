/** Time left of the dead-man timer, fit for the disk. */
export type Countdown = {
  readonly totalMs: number;
  readonly leftMs: number;
  /** Set while the broker is unreachable: until when, in boot time, `leftMs` has been counted. */
  readonly counted?: { readonly boot: string; readonly uptimeMs: number } | undefined;
};

export type BootClock = { readonly boot: string; readonly uptimeMs: () => number };

/**
 * A start of the agent may not cost more than this of what is left: a device that slept, or an agent that was down, gets the chance to reach its
 * broker first.
 */
const GRACE_MS = 60_000;

/** Counts the time that has passed with the broker unreachable. After a reboot the boot-time clock begins anew, so only the time on disk counts. */
export function count(countdown: Countdown, clock: BootClock): Countdown {
  const { counted } = countdown;
  if (!counted) return countdown;
  const uptimeMs = clock.uptimeMs();
  const passedMs = counted.boot === clock.boot ? Math.max(0, uptimeMs - counted.uptimeMs) : 0;
  return { ...countdown, leftMs: Math.max(0, countdown.leftMs - passedMs), counted: { boot: clock.boot, uptimeMs } };
}

/** A full timer, standing still. */
export const whole = (totalMs: number): Countdown => ({ totalMs, leftMs: totalMs });

/** Unreachable: it runs. Reachable: it stands, full again. */
export function reached(countdown: Countdown, reachable: boolean, clock: BootClock): Countdown {
  if (reachable) return whole(countdown.totalMs);
  return countdown.counted ? count(countdown, clock) : { ...countdown, counted: { boot: clock.boot, uptimeMs: clock.uptimeMs() } };
}

/** At the start of the agent: the broker counts as unreachable until it is reached. */
export function resumed(countdown: Countdown, clock: BootClock): Countdown {
  const now = reached(countdown, false, clock);
  return { ...now, leftMs: Math.max(now.leftMs, Math.min(countdown.leftMs, GRACE_MS)) };
}
