// The sensor as the rest of the agent sees it: kernel records in, complete event drafts out.
import type { EventDraft } from "@picket/protocol/event";
import type { Capability } from "@picket/protocol/status";
import { Unsupported } from "./unsupported.ts";

export type SensorOptions = {
  /** Process the kernel side ignores: the agent itself. */
  readonly ignorePid: number;
  /** Path prefixes whose reading is reported. "~/" means every home directory of /etc/passwd. */
  readonly watchRead: readonly string[];
  /** Path prefixes in which creating, modifying, renaming and deleting is reported. */
  readonly watchWrite: readonly string[];
  /** Size of the kernel's ring buffer, bytes; rounded up to a power of two of at least a page. */
  readonly ringBytes?: number;
};

export type Sensor = Disposable & {
  /** What works on this kernel, now. */
  capabilities(): Capability[];
  /** Events the kernel could not hand over since the start. */
  lost(): { kernel: number };
  /** Takes what the kernel has ready at once, instead of at the next turn of the timer. */
  poll(): void;
};

/** Starts every collector this kernel supports. Never throws: what cannot run is reported as a capability and a `sensor.state` draft. */
export function startSensor(_options: SensorOptions, _emit: (draft: EventDraft) => void): Sensor {
  throw new Unsupported("the kernel side is not built yet");
}

/** Probes this host, for `picket-agent check`. Changes nothing. */
export function checkHost(): Capability[] {
  return [];
}
