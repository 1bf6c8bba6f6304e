// Events that are in memory only, in the order they were made.
import { addLoss, kindOfLoss, tellsLoss } from "./loss.ts";
import { classes } from "./store.ts";

export type Pending = {
  readonly seq: number;
  readonly class: number;
  /** JSON text of it. */
  readonly event: string;
  readonly bytes: number;
  /** When it came, milliseconds of a clock that never jumps. */
  readonly atMs: number;
  /** Given out to be sent. */
  leased: boolean;
  /** Given out before: the site may have it. */
  sent?: boolean;
};

export class Tail {
  readonly #events = new Map<number, Pending>();
  /** Of JSON text. */
  bytes = 0;
  /** Neither given out nor plain. */
  freeUrgent = 0;
  #free = 0;

  get size(): number {
    return this.#events.size;
  }

  /** Not given out. */
  get free(): number {
    return this.#free;
  }

  /** The first of them. */
  get oldest(): Pending | undefined {
    return this.#events.values().next().value;
  }

  values(): Iterable<Pending> {
    return this.#events.values();
  }

  has(seq: number): boolean {
    return this.#events.has(seq);
  }

  add(pending: Pending): void {
    this.#events.set(pending.seq, pending);
    this.bytes += pending.bytes;
    if (!pending.leased) this.#count(pending, 1);
  }

  remove(seq: number): void {
    const pending = this.#events.get(seq);
    if (!pending) return;
    this.#events.delete(seq);
    this.bytes -= pending.bytes;
    if (!pending.leased) this.#count(pending, -1);
  }

  /** Gives out free events of the kind, numbered below `end`, after `have` others that take `bytes` in the same batch. */
  take(kind: "urgent" | "plain", end: number, max: { events: number; bytes: number }, have = { events: 0, bytes: 0 }): Pending[] {
    const taken: Pending[] = [];
    let { bytes } = have;
    for (const pending of this.#events.values()) {
      if (pending.leased || pending.class > classes.plain !== (kind === "urgent")) continue;
      const count = have.events + taken.length;
      if (pending.seq >= end || count >= max.events || (count > 0 && bytes + pending.bytes > max.bytes)) break;
      taken.push(pending);
      bytes += pending.bytes;
    }
    for (const pending of taken) {
      pending.leased = true;
      this.#count(pending, -1);
    }
    return taken;
  }

  release(seq: number): void {
    const pending = this.#events.get(seq);
    if (!pending?.leased) return;
    pending.leased = false;
    pending.sent = true;
    this.#count(pending, 1);
  }

  /** The least valuable free event: plain before hits before results, each oldest first. None that tells of loss. */
  leastFree(): Pending | undefined {
    for (const kind of Object.values(classes))
      for (const pending of this.#events.values())
        if (!pending.leased && pending.class === kind && !tellsLoss(pending.event)) return pending;
    return undefined;
  }

  /** Lets one event tell what two did of the same kind of loss. Returns the one that changed and the one that is to go. */
  mergeLosses(): { changed: Pending; gone: Pending } | undefined {
    const losses = new Map<string, Pending>();
    for (const pending of this.#events.values()) {
      const kind = pending.leased || pending.sent ? undefined : kindOfLoss(pending.event);
      if (kind === undefined) continue;
      const gone = losses.get(kind);
      losses.set(kind, pending);
      if (!gone) continue;
      const event = addLoss(gone.event, pending.event);
      const changed = { ...pending, event, bytes: Buffer.byteLength(event) };
      this.#events.set(pending.seq, changed);
      this.bytes += changed.bytes - pending.bytes;
      return { changed, gone };
    }
    return undefined;
  }

  #count(pending: Pending, by: 1 | -1): void {
    this.#free += by;
    if (pending.class > classes.plain) this.freeUrgent += by;
  }
}
