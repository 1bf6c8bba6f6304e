// The buffer's file and what is known of it: which events it holds, which of them are given out or acknowledged, and what was lost of each run.
import type { SensorEvent } from "@picket/protocol/event";
import { bootId, deviceId, epochId } from "@picket/protocol/names";
import { bytesOf, countLost, countOff, evict, total } from "./evict.ts";
import { shedIn, shedLoss } from "./loss.ts";
import type { Lost, Recovered } from "./mirror.ts";
import { setAside } from "./set-aside.ts";
import { classes, type EpochRow, type EventRow, NotABuffer, openStore, runsOf, type Store } from "./store.ts";
import type { Pending } from "./tail.ts";

export type Item = { readonly seq: number; readonly class: number; readonly bytes: number };
/** Events given out together: of one epoch. `gone` were in a file that was set aside meanwhile. */
export type Held = { readonly epoch: string; items: Item[]; gone: Item[] };
/** Events lost of a run; or, with `atMost`, how many may be. */
export type Loss = { readonly epoch: string; readonly count: number; readonly by?: Lost; readonly atMost?: true };
/** How far this run has got, as it is to be found by the next one. */
export type Mark = {
  readonly next: number;
  readonly low: number;
  readonly reserved: number;
  readonly closed: 0 | 1;
  readonly seen: number;
  readonly wear: string;
};
/** The run before this one. `seenMs`: when its sensor last had nothing more to read, milliseconds since that boot; 0 when nobody said. */
export type Before = { readonly boot: string; readonly ended: "stopped" | "cut off"; readonly seenMs: number };
/** How the run before this one ended, when it did not end in order. */
export type Unclean = { readonly epoch: string; readonly recovered: number | undefined; readonly atMost: number };

type Limits = { readonly path: string; readonly fsync: boolean; readonly maxEvents: number; readonly maxBytes: number };
const nothing: Lost = { plain: 0, hit: 0, result: 0 };

export class Disk {
  readonly #of: Limits;
  #store: Store | undefined;
  /** By base, rising; the last one is this run's, whether or not there is a file. */
  rows: EpochRow[];
  /** Ids given out and still in the file, acknowledged or not. */
  readonly #taken = new Set<number>();
  /** Urgent ones that were given out and came back: the site may have them. */
  readonly #sent = new Set<number>();
  #acked: { readonly epoch: string; readonly items: readonly Item[] }[] = [];
  // No free event of the class has a lower id.
  #plainFrom = 0;
  #urgentFrom = 0;
  /** Plain events from this id on are live, and no free one of them has an id below the other. */
  #liveSince = Number.POSITIVE_INFINITY;
  #liveFrom = Number.POSITIVE_INFINITY;
  freeUrgent = 0;
  /** There was a file, and nothing in it: a new one is like that only for a moment. */
  wasEmpty = false;
  /** Of what was found when the file was first opened. */
  before: Before | undefined;
  /** Not yet told, by epoch. */
  readonly #lost = new Map<string, Lost>();

  constructor(of: Limits, epoch: { readonly epoch: string; readonly boot: string; readonly device: string }) {
    this.#of = of;
    this.rows = [rowOf(epoch)];
  }

  get current(): EpochRow {
    return this.rows.at(-1)!;
  }

  get isOpen(): boolean {
    return this.#store !== undefined;
  }

  /** Events that nobody was given and nobody acknowledged. */
  get free(): number {
    return total(this.rows).events - this.#taken.size;
  }

  get acked(): number {
    return this.#acked.reduce((sum, { items }) => sum + items.length, 0);
  }

  size(): { events: number; bytes: number } {
    const size = total(this.rows);
    for (const { items } of this.#acked)
      for (const { bytes } of items) {
        size.events--;
        size.bytes -= bytes;
      }
    return size;
  }

  /** Opens or makes the file and takes up what the last run left there and in memory. Throws what SQLite says. */
  open(mark: (saved: string) => Mark, recovered: Recovered | undefined): Unclean | undefined {
    const store = openStore(this.#of.path, this.#of);
    try {
      const found = store.epochs();
      if (!found.every(isSane)) throw new NotABuffer("the list of runs says what cannot be");
      // Those this run knows of an earlier file, which is set aside: they are empty, but what they lost is still to be told.
      const rows = [...found, ...this.rows.slice(0, -1).map((row) => ({ ...row }))];
      let unclean: Unclean | undefined;
      let before: Before | undefined;
      store.transaction(() => {
        for (const row of rows.slice(found.length)) store.insertEpoch(Object.assign(row, { base: baseAfter(rows[rows.indexOf(row) - 1]) }));
        if (recovered && !rows.some(({ epoch }) => epoch === recovered.epoch)) {
          const row = { ...rowOf(recovered), base: baseAfter(rows.at(-1)) };
          store.insertEpoch(row);
          rows.push(row);
        }
        const last = rows.at(-1);
        before = last && beforeOf(last, recovered);
        if (last?.closed === 0) {
          unclean = settle(store, last, recovered?.epoch === last.epoch ? recovered : undefined);
          store.updateEpoch(last);
        }
        const current = { ...this.current, base: baseAfter(last), count: 0, bytes: 0, hits: 0, results: 0, ...mark(last?.wear ?? "") };
        store.insertEpoch(current);
        rows.push(current);
      });
      this.freeUrgent = store.countUrgent();
      this.#taken.clear();
      this.#sent.clear();
      this.#plainFrom = this.#urgentFrom = 0;
      this.#liveSince = this.#liveFrom = Number.POSITIVE_INFINITY;
      this.rows = rows;
      this.#store = store;
      this.before = before;
      this.wasEmpty = store.wasEmpty;
      return unclean;
    } catch (error) {
      store.close();
      throw error;
    }
  }

  close(): void {
    this.#store?.close();
    this.#store = undefined;
  }

  /** Resolves when all that was committed is on the disk. */
  async sync(): Promise<void> {
    await this.#store?.sync();
  }

  syncNow(): void {
    this.#store?.syncNow();
  }

  /**
   * Deletes what was acknowledged, inserts `events` (of this run; those given out stay so), makes room, and returns which events of `memory` are to go
   * for it. What is known here changes only when the transaction stands. Throws what SQLite says.
   */
  commit(events: readonly Pending[], memory: readonly Pending[], mark: Mark): readonly Pending[] {
    const store = this.#store!;
    const rows = this.rows.map((row) => ({ ...row }));
    const current = rows.at(-1)!;
    const inserted = events.filter((event) => !event.leased && event.class > classes.plain).length;
    const given = events.filter(({ leased }) => leased).map(({ seq }) => current.base + seq);
    let evicted: ReturnType<typeof evict> = { urgent: 0, dropped: [] };
    store.transaction(() => {
      for (const { epoch, items } of this.#acked) {
        const row = rows.find((one) => one.epoch === epoch)!;
        store.remove(runsOf(items.map(({ seq }) => row.base + seq)));
        for (const item of items) countOff(row, item);
      }
      for (const event of events) {
        store.insert({ id: current.base + event.seq, class: event.class, event: event.event });
        countOn(current, event);
      }
      const { maxEvents, maxBytes } = this.#of;
      const taken = given.length > 0 ? new Set([...this.#taken, ...given]) : this.#taken;
      const from = { plainFrom: this.#plainFrom, urgentFrom: this.#urgentFrom };
      evicted = evict(store, { epochs: rows, taken, sent: this.#sent, ...from, memory, maxEvents, maxBytes });
      Object.assign(current, mark);
      for (const [at, row] of rows.entries()) if (isChanged(row, this.rows[at]!)) store.updateEpoch(row);
    });
    for (const { epoch, items } of this.#acked) {
      const { base } = rows.find((one) => one.epoch === epoch)!;
      for (const { seq } of items) {
        this.#taken.delete(base + seq);
        this.#sent.delete(base + seq);
      }
    }
    for (const id of given) this.#taken.add(id);
    this.#acked = [];
    for (const [at, row] of rows.entries()) this.#note(row.epoch, lostOf(row), lostOf(this.rows[at]!));
    this.rows = rows;
    this.freeUrgent += inserted - evicted.urgent;
    return evicted.dropped;
  }

  /** Plain events of this run from number `seq` on are live. */
  live(seq: number): void {
    this.#liveSince = this.#liveFrom = this.current.base + seq;
  }

  /** Gives out free events of one epoch; `isAll`: no other of that kind follows them in the file. `live` ones are plain. Throws what SQLite says. */
  take(kind: "urgent" | "plain" | "live", max: { events: number; bytes: number }) {
    const urgent = kind === "urgent";
    const store = this.#store;
    if (!store || (urgent && this.freeUrgent === 0)) return undefined;
    const from = kind === "live" ? this.#liveFrom : this.#plainFrom;
    if (from === Number.POSITIVE_INFINITY) return undefined;
    const items: Item[] = [];
    const events: SensorEvent[] = [];
    const bad: EventRow[] = [];
    let lastId = -1;
    let row: EpochRow | undefined;
    let bytes = 0;
    let isAll = true;
    for (const one of urgent ? store.urgentFrom(this.#urgentFrom) : store.plainFrom(from)) {
      if (one.class > classes.plain !== urgent || one.id <= lastId) throw new NotABuffer("its index and its table disagree");
      lastId = one.id;
      if (this.#taken.has(one.id)) continue;
      const its = this.rows.findLast(({ base }) => base <= one.id);
      const event = its && revive(one.event, one.id - its.base, its);
      if (!event) {
        bad.push(one);
        continue;
      }
      row ??= its;
      const oneBytes = Buffer.byteLength(one.event);
      const full = items.length >= max.events || (items.length > 0 && bytes + oneBytes > max.bytes);
      if (full || row !== its) {
        isAll = false;
        break;
      }
      items.push({ seq: one.id - row.base, class: one.class, bytes: oneBytes });
      events.push(event);
      bytes += oneBytes;
    }
    if (bad.length > 0) this.#drop(store, bad);
    if (!row) return undefined;
    for (const { seq } of items) this.#taken.add(row.base + seq);
    const end = row.base + items.at(-1)!.seq + 1;
    if (urgent) {
      this.#urgentFrom = end;
      this.freeUrgent -= items.length;
    } else if (kind === "live") this.#liveFrom = end;
    else this.#plainFrom = end;
    return { row, items, events, bytes, isAll };
  }

  /** Events that cannot be read are lost, and do not keep others from being sent. */
  #drop(store: Store, bad: readonly EventRow[]): void {
    const rows = this.rows.map((row) => ({ ...row }));
    for (const one of bad) {
      const row = rows.findLast(({ base }) => base <= one.id) ?? rows[0]!;
      countOff(row, { class: one.class, bytes: bytesOf(one) });
      countLost(row, one.class);
      if (one.class > classes.plain) this.freeUrgent--;
    }
    store.transaction(() => {
      store.remove(bad.map(({ id }) => [id, id]));
      for (const row of rows) store.updateEpoch(row);
    });
    for (const [at, row] of rows.entries()) this.#note(row.epoch, lostOf(row), lostOf(this.rows[at]!));
    this.rows = rows;
  }

  ack(epoch: string, items: readonly Item[]): void {
    if (items.length > 0) this.#acked.push({ epoch, items });
  }

  release(epoch: string, items: readonly Item[]): void {
    const { base } = this.rows.find((row) => row.epoch === epoch)!;
    for (const { seq, class: kind } of items) {
      const id = base + seq;
      this.#taken.delete(id);
      if (kind === classes.plain) {
        this.#plainFrom = Math.min(this.#plainFrom, id);
        if (id >= this.#liveSince) this.#liveFrom = Math.min(this.#liveFrom, id);
      } else {
        this.#urgentFrom = Math.min(this.#urgentFrom, id);
        this.#sent.add(id);
        this.freeUrgent++;
      }
    }
  }

  /** Lowest number of the epoch in the file. Acknowledged events still in it keep this low: that only makes the site judge a hole later. */
  oldest(row: EpochRow): number | undefined {
    const id = row.count > 0 ? this.#store?.lowest(row.base, row.base + row.next) : undefined;
    return id === undefined ? undefined : id - row.base;
  }

  /** Forgets epochs of earlier runs; call for those that are empty and told. */
  forget(done: readonly EpochRow[]): void {
    const store = this.#store;
    if (!store) return;
    store.transaction(() => {
      for (const row of done) store.removeEpoch(row.base);
    });
    this.rows = this.rows.filter((row) => !done.includes(row));
  }

  /** Counts an event that is nowhere any more. The next commit writes it down. */
  lose(epoch: string, kind: number): void {
    const row = this.rows.find((one) => one.epoch === epoch);
    if (!row) return;
    const before = lostOf(row);
    countLost(row, kind);
    this.#note(epoch, lostOf(row), before);
  }

  /** What was lost since the last call. */
  takeLost(): Loss[] {
    const losses = [...this.#lost].map(([epoch, by]) => ({ epoch, count: by.plain + by.hit + by.result, by }));
    this.#lost.clear();
    return losses;
  }

  /**
   * The file is no good: it is set aside, and what it held is counted as lost, less what was acknowledged and what is on its way (`held`), which may
   * still be. Returns its new name. Throws what the folder refuses.
   */
  abandon(held: Iterable<Held>, isInMemory: (epoch: string, seq: number) => boolean, nowMs: number): string {
    this.close();
    const aside = setAside(this.#of.path, nowMs);
    const off = (epoch: string, items: readonly Item[]) => {
      const row = this.rows.find((one) => one.epoch === epoch);
      for (const item of row ? items : []) countOff(row!, item);
    };
    for (const { epoch, items } of this.#acked) off(epoch, items);
    for (const lease of held) {
      const gone = lease.items.filter(({ seq }) => !isInMemory(lease.epoch, seq));
      off(lease.epoch, gone);
      lease.gone.push(...gone);
      lease.items = lease.items.filter((item) => !gone.includes(item));
    }
    for (const row of this.rows) {
      const before = lostOf(row);
      countLost(row, classes.plain, Math.max(0, row.count - row.hits - row.results));
      countLost(row, classes.hit, Math.max(0, row.hits));
      countLost(row, classes.result, Math.max(0, row.results));
      Object.assign(row, { count: 0, bytes: 0, hits: 0, results: 0 });
      this.#note(row.epoch, lostOf(row), before);
    }
    this.#acked = [];
    this.#taken.clear();
    this.#plainFrom = this.#urgentFrom = this.freeUrgent = 0;
    return aside;
  }

  #note(epoch: string, now: Lost, before: Lost): void {
    const by = { plain: now.plain - before.plain, hit: now.hit - before.hit, result: now.result - before.result };
    if (by.plain + by.hit + by.result === 0) return;
    const earlier = this.#lost.get(epoch) ?? nothing;
    this.#lost.set(epoch, { plain: earlier.plain + by.plain, hit: earlier.hit + by.hit, result: earlier.result + by.result });
  }
}

export const lostOf = (row: EpochRow): Lost => ({ plain: row.lostPlain, hit: row.lostHit, result: row.lostResult });

/** Undefined for what is no event: bytes on a disk can change. */
export function revive(text: unknown, seq: number, { device, epoch }: EpochRow): SensorEvent | undefined {
  if (typeof text !== "string") return undefined;
  try {
    const event: SensorEvent = { v: 1, device, epoch, seq, ...JSON.parse(text) };
    return typeof event.type === "string" && Number.isSafeInteger(event.timeMs) && typeof event.body === "object" && event.body !== null
      ? event
      : undefined;
  } catch {
    return undefined;
  }
}

const LIMIT = 2 ** 48;
const isSane = (row: EpochRow) =>
  [row.base, row.next, row.count, row.bytes, row.reserved, row.low, row.lostPlain, row.lostHit, row.lostResult, row.atMost, row.seen].every(
    (value) => Number.isSafeInteger(value) && value >= 0 && value < LIMIT,
  ) &&
  row.count <= row.next &&
  row.hits >= 0 &&
  row.results >= 0 &&
  row.hits + row.results <= row.count &&
  epochId.safeParse(row.epoch).success &&
  bootId.safeParse(row.boot).success &&
  deviceId.safeParse(row.device).success;

/** One more than needed: an epoch without events must not share its base with the next. */
const baseAfter = (row: EpochRow | undefined) => (row ? row.base + row.next + 1 : 0);

const isChanged = (row: EpochRow, before: EpochRow) => (Object.keys(row) as (keyof EpochRow)[]).some((key) => row[key] !== before[key]);

function countOn(row: EpochRow, of: Pick<Pending, "class" | "bytes">): void {
  row.count++;
  row.bytes += of.bytes;
  if (of.class === classes.hit) row.hits++;
  if (of.class === classes.result) row.results++;
}

const rowOf = ({ epoch, boot, device }: { epoch: string; boot: string; device: string }): EpochRow => ({
  ...{ base: 0, epoch, boot, device, next: 0, count: 0, bytes: 0, hits: 0, results: 0, reserved: 0, low: 0 },
  ...{ lostPlain: 0, lostHit: 0, lostResult: 0, atMost: 0, closed: 0, seen: 0, wear: "" },
});

const beforeOf = (row: EpochRow, recovered: Recovered | undefined): Before => ({
  boot: row.boot,
  ended: row.closed === 1 ? "stopped" : "cut off",
  seenMs: Math.max(row.seen, recovered?.epoch === row.epoch ? recovered.seenMs : 0),
});

/**
 * Judges a run that did not end in order, in place. What its memory still holds is taken into the file, and all is known. Otherwise power was lost (or
 * the memory of the machine has no place for a mirror): of the numbers it may have used and that were not safe, those not in the file may be lost.
 */
function settle(store: Store, row: EpochRow, recovered: Recovered | undefined): Unclean {
  row.closed = 1;
  if (recovered) {
    row.next = Math.max(row.next, recovered.next);
    for (const event of recovered.events) {
      const id = row.base + event.seq;
      if (store.count(id, id + 1) > 0) continue;
      store.insert({ id, class: event.class, event: event.event });
      countOn(row, event);
    }
    tellShed(store, row, recovered.shed);
    row.lostPlain = Math.max(row.lostPlain, recovered.lost.plain);
    row.lostHit = Math.max(row.lostHit, recovered.lost.hit);
    row.lostResult = Math.max(row.lostResult, recovered.lost.result);
    Object.assign(row, { reserved: row.next, low: row.next });
    return { epoch: row.epoch, recovered: recovered.events.length, atMost: 0 };
  }
  const end = Math.max(row.next, row.reserved);
  row.atMost = Math.max(0, end - row.low - store.count(row.base + row.low, row.base + end));
  Object.assign(row, { next: end, reserved: end, low: end });
  return { epoch: row.epoch, recovered: undefined, atMost: row.atMost };
}

/** What the run had let go of and not told: its last event tells. A kill can come between an event that told and the note that it did: both are looked at. */
function tellShed(store: Store, row: EpochRow, shed: Recovered["shed"]): void {
  let { count } = shed;
  for (const one of store.urgentFrom(row.base + shed.since)) if (one.id < row.base + row.next) count -= shedIn(one.event);
  if (count <= 0) return;
  const event = shedLoss(count, shed.timeMs);
  store.insert({ id: row.base + row.next, class: classes.hit, event });
  countOn(row, { class: classes.hit, bytes: Buffer.byteLength(event) });
  row.next++;
}
