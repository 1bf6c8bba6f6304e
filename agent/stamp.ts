import type { EventDraft, SensorEvent } from "@picket/protocol/event";

const LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789";

/** A name for this run that no other run has: 8 of a-z and 0-9 (41 bits), all equally likely. `random` fills the array it is given. */
export function newEpoch(random: (bytes: Uint8Array<ArrayBuffer>) => void = (bytes) => void crypto.getRandomValues(bytes)): string {
  // Bytes from the largest multiple of 36 on are thrown away, or the first letters would come more often.
  const fair = 256 - (256 % LETTERS.length);
  const bytes = new Uint8Array(64);
  let epoch = "";
  while (epoch.length < 8) {
    random(bytes);
    for (const byte of bytes) if (byte < fair && epoch.length < 8) epoch += LETTERS[byte % LETTERS.length];
  }
  return epoch;
}

export type Stamp = {
  /** The event this draft becomes if it is kept: it has the next number, which is only used up by `keep`. */
  event(draft: EventDraft): SensorEvent;
  keep(): void;
  /** Numbers used up, which is also the next one. */
  readonly next: number;
};

/** Numbers events from 0 without holes, also when some drafts are shed. */
export function createStamp(device: string, epoch: string): Stamp {
  let next = 0;
  return {
    event: (draft) => ({ v: 1, device, epoch, seq: next, ...draft }) as SensorEvent,
    keep: () => {
      next++;
    },
    get next() {
      return next;
    },
  };
}
