// What correlation remembers of a device for longer than it reads again: things that happened, by name and subject. The broker keeps them with the totals of rarity.
import { MARK_KIND, MAX_KEPT_MARKS, type Seen } from "@picket/protocol/feed";
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

/** Different subjects remembered for a device and name, the latest ones: who fills them beforehand hides nothing that comes after. The broker keeps as many (protocol/feed.ts). */
export const MAX_MARKS = MAX_KEPT_MARKS;
const KIND = MARK_KIND;
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
  /** For the broker, by device, name and subject. */
  #made = new Map<string, Seen>();

  /** Takes one of the broker's rows, before anything is judged. False when it is none of a mark. */
  seed({ device, kind, key, count }: Seen): boolean {
    if (kind !== KIND) return false;
    const parts = parsed(key);
    if (!parts) return true;
    const [name, subject, eventId, who] = parts;
    const of = this.#of(device, name);
    // Of the same subject the latest: one that was too old was made again.
    if ((of.get(subject)?.atS ?? 0) < count) this.#put(device, of, subject, { name, atS: count, eventId, who });
    return true;
  }

  /** Remembers that something happened, unless it is remembered already. Not to be called for what is read again silently: the broker has told of it. */
  make(device: string, name: MarkName, subject: string, of: { receivedMs: number; eventId: string; who: string }): void {
    const marks = this.#of(device, name);
    const key = keyOf(subject);
    const atS = secondsOf(of.receivedMs);
    if (isAlive(marks.get(key), atS)) return;
    const mark: Mark = { name, atS, eventId: of.eventId, who: clean(of.who, MAX_WHO) };
    const row = rowOf(key, mark);
    if (row.length > MAX_KEY) return;
    this.#made.set(madeKey(device, name, key), { device, kind: KIND, key: row, count: atS });
    this.#put(device, marks, key, mark);
  }

  /** Of too many the oldest goes; of the same second that whose row is the first in the broker's order. */
  #put(device: string, marks: Map<string, Mark>, subject: string, mark: Mark): void {
    marks.set(subject, mark);
    if (marks.size <= MAX_MARKS) return;
    let last: [string, Mark] | undefined;
    for (const one of marks) if (!last || isBefore(one, last)) last = one;
    marks.delete(last![0]);
    this.#made.delete(madeKey(device, mark.name, last![0]));
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
    for (const [key, row] of this.#made) if (row.device === device) this.#made.delete(key);
  }

  get pending(): number {
    return this.#made.size;
  }

  /** Made since the last call. */
  take(): Seen[] {
    const made = [...this.#made.values()];
    this.#made.clear();
    return made;
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

const madeKey = (device: string, name: MarkName, subject: string): string => `${device}\n${name}\n${subject}`;
const rowOf = (subject: string, { name, eventId, who }: Mark): string => JSON.stringify([name, subject, eventId, who]);

function isBefore([subject, mark]: [string, Mark], [other, than]: [string, Mark]): boolean {
  if (mark.atS !== than.atS) return mark.atS < than.atS;
  return Buffer.compare(Buffer.from(rowOf(subject, mark)), Buffer.from(rowOf(other, than))) < 0;
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
