import { classes, type EpochRow, runsOf, type Store } from "./store.ts";

export const total = (epochs: readonly EpochRow[]) =>
  epochs.reduce((sum, row) => ({ events: sum.events + row.count, bytes: sum.bytes + row.bytes }), { events: 0, bytes: 0 });

type Room = {
  /** Changed in place to what is left. */
  readonly epochs: readonly EpochRow[];
  readonly taken: ReadonlySet<number>;
  readonly plainFrom: number;
  readonly urgentFrom: number;
  readonly maxEvents: number;
  readonly maxBytes: number;
};

/**
 * Deletes the least valuable events until the rest fits: plain ones first, results last, each oldest first.
 * What is being sent stays, since it may be at the site already. Call inside a transaction.
 */
export function evict(store: Store, room: Room): { events: number; urgent: number } {
  const { maxEvents, maxBytes } = room;
  const held = total(room.epochs);
  if (held.events <= maxEvents && held.bytes <= maxBytes) return { events: 0, urgent: 0 };
  // A little more than needed, so that a full buffer does not evict at every commit.
  const fits = () => held.events <= maxEvents - Math.floor(maxEvents / 1000) && held.bytes <= maxBytes - Math.floor(maxBytes / 1000);
  const ids: number[] = [];
  let urgent = 0;
  for (const kind of Object.values(classes)) {
    if (fits()) break;
    for (const row of kind === classes.plain ? store.plainFrom(room.plainFrom) : store.urgentFrom(room.urgentFrom)) {
      if (fits()) break;
      if (row.class !== kind || room.taken.has(row.id)) continue;
      const epoch = room.epochs.findLast(({ base }) => base <= row.id)!;
      const bytes = Buffer.byteLength(row.event);
      epoch.count--;
      epoch.bytes -= bytes;
      held.events--;
      held.bytes -= bytes;
      ids.push(row.id);
      if (kind > classes.plain) urgent++;
    }
  }
  store.remove(runsOf(ids.toSorted((a, b) => a - b)));
  return { events: ids.length, urgent };
}
