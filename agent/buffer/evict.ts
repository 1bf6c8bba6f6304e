import { classes, type EpochRow, runsOf, type Store } from "./store.ts";
import type { Pending } from "./tail.ts";

export const total = (epochs: readonly EpochRow[]) =>
  epochs.reduce((sum, row) => ({ events: sum.events + row.count, bytes: sum.bytes + row.bytes }), { events: 0, bytes: 0 });

type Room = {
  /** Changed in place to what is left and lost. */
  readonly epochs: readonly EpochRow[];
  readonly taken: ReadonlySet<number>;
  readonly plainFrom: number;
  readonly urgentFrom: number;
  /** What stays in memory, of the last epoch: it takes room, too. */
  readonly memory: readonly Pending[];
  readonly maxEvents: number;
  readonly maxBytes: number;
};

type Candidate = { readonly class: number; readonly bytes: number; readonly id?: number; readonly pending?: Pending };

/**
 * Deletes the least valuable events until the rest fits: plain ones first, results last, each oldest first. What is being sent stays, since it may be
 * at the site already. Call inside a transaction. Returns how many of those deleted were urgent, and which events in memory are to go.
 */
export function evict(store: Store, room: Room): { urgent: number; dropped: Pending[] } {
  const { maxEvents, maxBytes, memory } = room;
  const held = total(room.epochs);
  held.events += memory.length;
  for (const { bytes } of memory) held.bytes += bytes;
  const dropped: Pending[] = [];
  if (held.events <= maxEvents && held.bytes <= maxBytes) return { urgent: 0, dropped };
  // A little more than needed, so that a full buffer does not evict at every commit.
  const fits = () => held.events <= maxEvents - Math.floor(maxEvents / 1000) && held.bytes <= maxBytes - Math.floor(maxBytes / 1000);
  const ids: number[] = [];
  let urgent = 0;
  for (const one of candidates(store, room)) {
    if (fits()) break;
    held.events--;
    held.bytes -= one.bytes;
    if (one.pending) {
      dropped.push(one.pending);
      countLost(room.epochs.at(-1)!, one.class);
      continue;
    }
    const epoch = room.epochs.findLast(({ base }) => base <= one.id!) ?? room.epochs[0]!;
    countOff(epoch, one);
    countLost(epoch, one.class);
    ids.push(one.id!);
    if (one.class > classes.plain) urgent++;
  }
  store.remove(runsOf(ids.toSorted((a, b) => a - b)));
  return { urgent, dropped };
}

/** What may go, least valuable first. Plain events in memory are younger than those in the file. */
function* candidates(store: Store, room: Room): Generator<Candidate> {
  for (const kind of Object.values(classes)) {
    for (const row of kind === classes.plain ? store.plainFrom(room.plainFrom) : store.urgentFrom(room.urgentFrom))
      if (row.class === kind && !room.taken.has(row.id)) yield { class: kind, bytes: bytesOf(row), id: row.id };
    for (const pending of room.memory) if (pending.class === kind && !pending.leased) yield { class: kind, bytes: pending.bytes, pending };
  }
}

/** What a damaged file gives out need not be text. */
export const bytesOf = (row: { readonly event: unknown }) => (typeof row.event === "string" ? Buffer.byteLength(row.event) : 0);

/** An event that leaves the file. */
export function countOff(row: EpochRow, of: { readonly class: number; readonly bytes: number }): void {
  row.count--;
  // A damaged file may have said otherwise before.
  row.bytes = row.count === 0 ? 0 : Math.max(0, row.bytes - of.bytes);
  if (of.class === classes.hit) row.hits--;
  if (of.class === classes.result) row.results--;
}

export function countLost(row: EpochRow, kind: number, count = 1): void {
  if (kind === classes.plain) row.lostPlain += count;
  else if (kind === classes.hit) row.lostHit += count;
  else row.lostResult += count;
}
