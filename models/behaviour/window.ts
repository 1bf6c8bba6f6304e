// One device's minute as it comes in, and what is kept of it. Bounded, whatever a device sends.
import type { EventType, SensorEvent } from "@picket/protocol/event";
import { type Kind, keysOf, kinds } from "./keys.ts";

export const MINUTE_MS = 60_000;
/** Different keys of a kind kept in a minute; what comes after them is only in the counts. */
export const MAX_KEYS = 256;

/** What is counted, in the order of `Minute.counts`, and how an operator would say it. */
export const counted = {
  "process.exec": "programs started",
  "process.exit": "programs that failed",
  "process.ptrace": "processes traced",
  "process.memfd": "files in memory",
  "process.setuid": "changes of user",
  "file.open": "watched files read",
  "file.create": "files created",
  "file.modify": "files changed",
  "file.rename": "files renamed",
  "file.delete": "files deleted",
  "file.chmod": "changes of file rights",
  "net.connect": "connections",
  "net.listen": "ports opened",
  "net.accept": "connections accepted",
  "net.dns": "names looked up",
  "kernel.module": "kernel modules loaded",
  "kernel.bpf": "BPF calls",
  "kernel.mount": "mounts",
  "device.usb": "USB devices",
  "auth.login": "logins",
  "auth.failed": "failed logins",
  "auth.sudo": "sudo commands",
  "exec.anyone": "programs started from where anyone can write",
} as const;
type Counted = keyof typeof counted;
const countedNames = Object.keys(counted) as Counted[];
const indexOf = new Map<string, number>(countedNames.map((name, at) => [name, at]));

/** What training keeps of a minute: no names. */
export type Minute = {
  readonly device: string;
  /** Minutes since 1970 by the broker's clock. */
  readonly minute: number;
  readonly counts: Uint32Array;
  /** How many of the device's own minutes came in this one: more than 2 after an outage, when a buffer is sent. */
  readonly span: number;
  readonly keys: Readonly<Record<Kind, { readonly hashes: Uint32Array; readonly counts: Uint32Array }>>;
};

export type Named = { readonly name: string; readonly eventId: string; count: number };

const MAX_SPAN = 1440;
/** Folders that anyone can write to, files without a name, and files that are gone. */
const FROM_ANYONE = /^\/(?:tmp|var\/tmp|dev\/shm|run\/shm|run\/user|memfd:)|\(deleted\)$/;
const EXEC_ANYONE = indexOf.get("exec.anyone")!;

/** The minute in which an event was received. */
export const minuteOf = (receivedMs: number): number => Math.floor(receivedMs / MINUTE_MS);

export class MinuteWindow {
  readonly device: string;
  readonly minute: number;
  /** By hash. */
  readonly keys: Readonly<Record<Kind, Map<number, Named>>>;
  readonly counts = new Uint32Array(countedNames.length);
  readonly #deviceMinutes = new Set<number>();
  #firstMs = Number.POSITIVE_INFINITY;
  #lastMs = 0;

  constructor(device: string, minute: number) {
    this.device = device;
    this.minute = minute;
    this.keys = { program: new Map(), pair: new Map(), destination: new Map(), port: new Map(), place: new Map() };
  }

  /** Times of the first and last event by the device's clock. Milliseconds. */
  get times(): { firstMs: number; lastMs: number } {
    return { firstMs: this.#firstMs, lastMs: this.#lastMs };
  }

  add(event: SensorEvent, eventId: string): void {
    this.#firstMs = Math.min(this.#firstMs, event.timeMs);
    this.#lastMs = Math.max(this.#lastMs, event.timeMs);
    if (this.#deviceMinutes.size < MAX_SPAN) this.#deviceMinutes.add(minuteOf(event.timeMs));
    const at = countedAs(event);
    if (at === undefined) return;
    this.counts[at]!++;
    if (event.type === "process.exec" && FROM_ANYONE.test(event.body.process.exe)) this.counts[EXEC_ANYONE]!++;
    for (const { kind, name, hash } of keysOf(event)) {
      const of = this.keys[kind];
      const there = of.get(hash);
      if (there) there.count++;
      else if (of.size < MAX_KEYS) of.set(hash, { name, eventId, count: 1 });
    }
  }

  /** Without names. */
  summary(): Minute {
    const keys = Object.fromEntries(
      kinds.map((kind) => {
        const of = this.keys[kind];
        return [kind, { hashes: Uint32Array.from(of.keys()), counts: Uint32Array.from(of.values(), ({ count }) => count) }];
      }),
    ) as Record<Kind, { hashes: Uint32Array; counts: Uint32Array }>;
    return { device: this.device, minute: this.minute, counts: this.counts.slice(), span: Math.max(1, this.#deviceMinutes.size - 1), keys };
  }
}

/** Undefined for what says nothing about the device's doing, such as its own metrics. */
function countedAs(event: SensorEvent): number | undefined {
  if (event.type === "process.exit") return event.body.exitCode !== 0 ? indexOf.get(event.type) : undefined;
  if (event.type === "auth.login" && !event.body.ok) return indexOf.get("auth.failed");
  return indexOf.get(event.type satisfies EventType);
}
