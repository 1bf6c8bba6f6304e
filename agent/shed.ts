// The agent keeps its share of the machine: above a rate it lets go of the least valuable events, and says how many.
import type { EventType, SensorEvent } from "@picket/protocol/event";

/** 2: never shed. 1: shed when nothing is left of the allowance. 0: shed when half of it is gone. */
function worth(event: SensorEvent): 0 | 1 | 2 {
  if (event.hits?.length) return 2;
  return byType[event.type];
}

// Exhaustive: a new event type must say what it is worth.
const byType: Record<EventType, 0 | 1 | 2> = {
  "process.exec": 1,
  "process.exit": 0,
  "process.ptrace": 1,
  "process.memfd": 1,
  "process.setuid": 1,
  "file.open": 0,
  "file.create": 0,
  "file.modify": 0,
  "file.rename": 0,
  "file.delete": 0,
  "file.chmod": 0,
  // Comes once for each file, and the site may never learn of it again.
  "file.hash": 1,
  "net.connect": 1,
  "net.listen": 1,
  "net.accept": 0,
  "net.dns": 0,
  "kernel.module": 2,
  "kernel.bpf": 1,
  "kernel.mount": 1,
  "device.usb": 1,
  "auth.login": 1,
  "auth.sudo": 1,
  "log.line": 0,
  "host.metrics": 0,
  "host.inventory": 0,
  "agent.start": 2,
  "agent.stop": 2,
  "sensor.state": 2,
  "sensor.lost": 2,
  "response.result": 2,
};

/** Seconds of the allowed rate that may come at once. */
const BURST_S = 10;

/**
 * A token bucket (burst of ten seconds) that tells whether an event is kept. `nowMs` is a clock that never jumps.
 */
export function createShedder(eventsPerS: number, nowMs: () => number): (event: SensorEvent) => boolean {
  const full = eventsPerS * BURST_S;
  let left = full;
  let lastMs = nowMs();
  return (event) => {
    const now = nowMs();
    left = Math.min(full, left + ((now - lastMs) / 1000) * eventsPerS);
    lastMs = now;
    const value = worth(event);
    const keep = value === 2 || (value === 1 ? left >= 1 : left >= full / 2);
    if (keep) left = Math.max(0, left - 1);
    return keep;
  };
}
