// All that correlation remembers of one device.
import { isFresh } from "../freshness.ts";
import { Counts } from "./counted.ts";
import { Processes } from "./processes.ts";

/** Boots of one device whose processes are remembered: a buffer can hold events from before a reboot. */
const MAX_BOOTS = 2;

export class DeviceMemory {
  readonly counts = new Counts();
  readonly #boots = new Map<string, Processes>();
  /** When its last event was received, and when old things were last cleared away. */
  seenMs = 0;
  clearedMs = 0;

  processes(boot: string): Processes {
    const known = this.#boots.get(boot);
    if (known) return known;
    const made = new Processes(boot);
    this.#boots.set(boot, made);
    if (this.#boots.size > MAX_BOOTS) this.#boots.delete(this.#boots.keys().next().value!);
    return made;
  }
}

/** The memory of each device; a device that said nothing for the lookback is forgotten. */
export class DeviceMemories {
  readonly #devices = new Map<string, DeviceMemory>();

  of(device: string, nowMs: number): DeviceMemory {
    const known = this.#devices.get(device);
    if (known && isFresh(known.seenMs, nowMs)) {
      known.seenMs = nowMs;
      return known;
    }
    const made = new DeviceMemory();
    made.seenMs = nowMs;
    made.clearedMs = nowMs;
    this.#devices.set(device, made);
    return made;
  }

  forget(device: string): void {
    this.#devices.delete(device);
  }

  forgetQuiet(nowMs: number): void {
    for (const [device, memory] of this.#devices) if (!isFresh(memory.seenMs, nowMs)) this.#devices.delete(device);
  }
}
