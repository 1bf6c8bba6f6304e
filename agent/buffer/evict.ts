import { addLoss, kindOfLoss, tellsLoss } from "./loss.ts";
import { classes, type EpochRow, type EventRow, runsOf, type Store } from "./store.ts";
import type { Pending } from "./tail.ts";

export const total = (epochs: readonly EpochRow[]) =>
  epochs.reduce((sum, row) => ({ events: sum.events + row.count, bytes: sum.bytes + row.bytes }), { events: 0, bytes: 0 });

type Room = {
  /** Changed in place to what is left and lost. */
  readonly epochs: readonly EpochRow[];
  readonly taken: ReadonlySet<number>;
  /** Urgent ones that were given out before, and may be at the site: they say what they say. */
  readonly sent: ReadonlySet<number>;
  readonly plainFrom: number;
  readonly urgentFrom: number;
  /** What stays in memory, of the last epoch: it takes room, too. */
  readonly memory: readonly Pending[];
  readonly maxEvents: number;
  readonly maxBytes: number;
};

/** `into`: it need not be lost, for this other event then tells what both did. */
type Candidate = {
  readonly class: number;
  readonly bytes: number;
  readonly id?: number;
  readonly pending?: Pending;
  readonly into?: { readonly id: number; readonly event: string; readonly moreBytes: number };
};

/**
 * Deletes the least valuable events until the rest fits: plain ones first, results last, each oldest first. What is being sent stays, since it may be
 * at the site already. What tells of loss stays, too, but two that tell of the same kind in the same hour become one that tells of both. Call inside a transaction. Returns how many of those deleted were urgent, and which events in memory are to go.
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
  const changed = new Map<number, string>();
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
    // What it told is told by another: nothing but its number is gone.
    countLost(epoch, one.into ? classes.plain : one.class);
    if (one.into) {
      changed.set(one.into.id, one.into.event);
      epoch.bytes += one.into.moreBytes;
      held.bytes += one.into.moreBytes;
    }
    ids.push(one.id!);
    if (one.class > classes.plain) urgent++;
  }
  for (const [id, event] of changed) store.change(id, event);
  store.remove(runsOf(ids.toSorted((a, b) => a - b)));
  return { urgent, dropped };
}

/** What may go, least valuable first. Plain events in memory are younger than those in the file. */
function* candidates(store: Store, room: Room): Generator<Candidate> {
  for (const kind of Object.values(classes)) {
    const losses = new Map<string, EventRow>();
    for (const row of kind === classes.plain ? store.plainFrom(room.plainFrom) : store.urgentFrom(room.urgentFrom)) {
      if (row.class !== kind || room.taken.has(row.id)) continue;
      if (kind === classes.hit && tellsLoss(row.event)) yield* merged(row, room, losses);
      else yield { class: kind, bytes: bytesOf(row), id: row.id };
    }
    for (const pending of room.memory)
      if (pending.class === kind && !pending.leased && !tellsLoss(pending.event)) yield { class: kind, bytes: pending.bytes, pending };
  }
}

/** The one before it of the same kind, when this one can tell of both. Only within a run, whose losses the site adds up. */
function* merged(row: EventRow, room: Room, losses: Map<string, EventRow>): Generator<Candidate> {
  const kind = kindOfLoss(row.event);
  if (kind === undefined || room.sent.has(row.id)) return;
  const key = `${room.epochs.findLastIndex(({ base }) => base <= row.id)} ${kind}`;
  const earlier = losses.get(key);
  const event = earlier ? addLoss(earlier.event, row.event) : row.event;
  losses.set(key, { ...row, event });
  if (!earlier) return;
  const moreBytes = Buffer.byteLength(event) - bytesOf(row);
  yield { class: classes.hit, bytes: bytesOf(earlier), id: earlier.id, into: { id: row.id, event, moreBytes } };
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
