// What correlation remembers of a device for longer than it reads again: things that happened, by name and subject. The broker keeps them with the totals of rarity.
import type { Seen } from "@picket/protocol/feed";
import { clean, shortKey } from "../text.ts";

/** For how long a mark counts, by time of receipt. Seconds. */
const kept = {
  /** A file was brought from the network; by path. */
  fetched: 86_400,
  /** An address had many logins refused; by address. */
  guessed: 86_400,
  /** It then got in; one for the device. */
  entered: 60,
  /** Something that runs at boot, login or by the clock was written; one for the device. */
  persisted: 86_400,
  /** A web server wrote a script; one for the device. */
  script: 86_400,
  /** Sensitive folders were packed; by path of the archive. */
  staged: 86_400,
  /** A firewall, a log or an agent was stopped; one for the device. */
  impaired: 3600,
  /** A process that looks like a miner reached a pool; by pid and program. */
  mining: 86_400,
  /** A note that asks for ransom was written; by process. */
  note: 600,
  /** A program in a container reached for its host; one for the device. */
  escaping: 120,
} as const;
export type MarkName = keyof typeof kept;

/** Different subjects remembered for a device and name: what comes after them is not, until one of them is too old. Bounds what a device can make the broker keep. */
export const MAX_MARKS = 64;
const KIND = "mark";
const MAX_SUBJECT = 400;
const MAX_WHO = 120;
const MAX_KEY = 1024;

export type Mark = {
  readonly name: MarkName;
  /** When it was received: seconds, for that is what the broker keeps. */
  readonly atS: number;
  /** The event that made it, and what it was in words. */
  readonly eventId: string;
  readonly who: string;
};

export const secondsOf = (receivedMs: number): number => Math.floor(receivedMs / 1000);

export class Marks {
  readonly #devices = new Map<string, Map<MarkName, Map<string, Mark>>>();
  #made: Seen[] = [];

  /** Takes one of the broker's rows, before anything is judged. False when it is none of a mark. */
  seed({ device, kind, key, count }: Seen): boolean {
    if (kind !== KIND) return false;
    const parts = parsed(key);
    if (!parts) return true;
    const [name, subject, eventId, who] = parts;
    const of = this.#of(device, name);
    // Of the same subject the latest: one that was too old was made again.
    if ((of.get(subject)?.atS ?? 0) < count) of.set(subject, { name, atS: count, eventId, who });
    return true;
  }

  /** Remembers that something happened, unless it is remembered already. Not to be called for what is read again silently: the broker has told of it. */
  make(device: string, name: MarkName, subject: string, of: { receivedMs: number; eventId: string; who: string }): void {
    const marks = this.#of(device, name);
    const key = keyOf(subject);
    const atS = secondsOf(of.receivedMs);
    if (isAlive(marks.get(key), atS)) return;
    if (marks.size >= MAX_MARKS) for (const [old, mark] of marks) if (!isAlive(mark, atS)) marks.delete(old);
    if (marks.size >= MAX_MARKS) return;
    const who = clean(of.who, MAX_WHO);
    const row = JSON.stringify([name, key, of.eventId, who]);
    if (row.length > MAX_KEY) return;
    marks.set(key, { name, atS, eventId: of.eventId, who });
    this.#made.push({ device, kind: KIND, key: row, count: atS });
  }

  /** What is remembered, where it still counts. */
  find(device: string, name: MarkName, subject: string, nowMs: number): Mark | undefined {
    const marks = this.#devices.get(device)?.get(name);
    if (!marks || marks.size === 0) return undefined;
    const mark = marks.get(keyOf(subject));
    return isAlive(mark, secondsOf(nowMs)) ? mark : undefined;
  }

  forget(device: string): void {
    this.#devices.delete(device);
    this.#made = this.#made.filter((row) => row.device !== device);
  }

  get pending(): number {
    return this.#made.length;
  }

  /** Made since the last call. */
  take(): Seen[] {
    return this.#made.splice(0);
  }

  #of(device: string, name: MarkName): Map<string, Mark> {
    let names = this.#devices.get(device);
    if (!names) {
      names = new Map();
      this.#devices.set(device, names);
    }
    let marks = names.get(name);
    if (!marks) {
      marks = new Map();
      names.set(name, marks);
    }
    return marks;
  }
}

const isAlive = (mark: Mark | undefined, nowS: number): mark is Mark =>
  mark !== undefined && mark.atS <= nowS && nowS - mark.atS <= kept[mark.name];

/** By what it is kept: JSON may make six characters of one, and the row must fit into what the broker takes. */
function keyOf(subject: string): string {
  const whole = subject.toWellFormed();
  return JSON.stringify(whole).length <= MAX_SUBJECT ? whole : shortKey(whole, 0);
}

function parsed(key: string): [MarkName, string, string, string] | undefined {
  try {
    const parts: unknown = JSON.parse(key);
    if (!Array.isArray(parts) || parts.length !== 4 || parts.some((part) => typeof part !== "string") || !(parts[0] in kept))
      return undefined;
    return parts as [MarkName, string, string, string];
  } catch {
    return undefined;
  }
}
