// Whether a device sees less than it did.
import type { Capability } from "@picket/protocol/status";

const rank: Record<Capability["level"], number> = { live: 2, degraded: 1, off: 0 };

/** What looks at the device. That a buffer is full or a queue of files too long is told elsewhere, and is no sign of a hand on the sensor. */
const looks = /^(?:sensor(?:\..+)?|canary)$/;

/**
 * Capabilities of the sensor that are worse than in the heartbeat before. What a device never had is no news, and what it says for the first time has nothing to be worse than:
 * `picket device` shows both.
 */
export function worse(before: readonly Capability[], now: readonly Capability[]): Capability[] {
  const levels = new Map(before.map(({ name, level }) => [name, rank[level]]));
  return now.filter(({ name, level }) => looks.test(name) && rank[level] < (levels.get(name) ?? 0));
}
