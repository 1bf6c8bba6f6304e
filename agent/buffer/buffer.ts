// The record of what the site has not stored yet. Nothing leaves it but by an acknowledgement or, counted, by eviction.
import type { SensorEvent } from "@picket/protocol/event";
import type { EventSource, Lease } from "../lease.ts";
import { evict, total } from "./evict.ts";
import { setAside } from "./set-aside.ts";
import { classes, type EpochRow, type EventRow, isDamage, openStore, runsOf, type Store } from "./store.ts";

/** An event whose JSON is larger could never be sent in one message. It keeps its number and counts as evicted. */
export const MAX_EVENT_BYTES = 512 << 10;
/** Longest time an event waits in memory for others to share its transaction. */
const COMMIT_WITHIN_MS = 20;
/** Longest time an acknowledged event stays on disk. Deletions ride on the next append, which halves what is written to flash. */
const DELETE_WITHIN_MS = 2000;
const DELETE_AT = 2000;
/** Events kept in memory while the disk takes none, and how often it is tried again. */
const MAX_PENDING = 20_000;
const RETRY_MS = 1000;

export type BufferOptions = {
  readonly path: string;
  readonly maxEvents: number;
  /** Of JSON text; the file is somewhat larger. */
  readonly maxBytes: number;
  readonly epoch: { readonly epoch: string; readonly boot: string; readonly device: string };
  /** Called when the disk stops taking events or the file was damaged, and with `undefined` when all is well again. */
  readonly onTrouble?: (why: string | undefined) => void;
  readonly nowMs?: () => number;
};

/** Events given out together: of one epoch and one class. */
type Held = { readonly base: number; readonly ids: readonly number[]; readonly bytes: number; readonly urgent: boolean };
type Pending = { readonly seq: number; readonly class: number; readonly event: string; readonly bytes: number };

export class EventBuffer implements EventSource, Disposable {
  /** Called when events became available: after a commit or a release. */
  onAvailable: () => void = () => {};

  readonly #options: BufferOptions;
  #store: Store | undefined;
  /** By base, rising; the last one is this run's. */
  #epochs: EpochRow[] = [];
  #pending: Pending[] = [];
  #next = 0;
  readonly #leases = new Map<number, Held>();
  /** Ids given out and still in the file, acknowledged or not. */
  readonly #taken = new Set<number>();
  #acked: Held[] = [];
  #leaseId = 0;
  // No free event of the class has a lower id.
  #plainFrom = 0;
  #urgentFrom = 0;
  #urgentWaiting = 0;
  #evicted = 0;
  #commitTimer: ReturnType<typeof setTimeout> | undefined;
  #deleteTimer: ReturnType<typeof setTimeout> | undefined;
  #commitQueued = false;
  #trouble: string | undefined;

  /** Throws `BufferBusy`, or an error when the directory cannot be written. A damaged file is set aside and reported through `onTrouble`. */
  constructor(options: BufferOptions) {
    this.#options = options;
    try {
      this.#open();
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#startAnew(error);
      this.#open();
    }
  }

  /**
   * Takes one event. It is on disk at the end of this turn of the event loop when it carries a hit or a result, else within 20 ms,
   * together with all others of that time. Throws when its number does not follow the last: `stamp` makes them follow.
   */
  append(event: SensorEvent): void {
    if (event.seq !== this.#next) throw new Error(`event ${event.seq} appended where ${this.#next} is next`);
    const text = JSON.stringify({ type: event.type, timeMs: event.timeMs, body: event.body, hits: event.hits });
    const pending = { seq: event.seq, class: classes[classOf(event)], event: text, bytes: Buffer.byteLength(text) };
    this.#next++;
    this.#pending.push(pending);
    if (pending.class > classes.plain && this.#trouble === undefined) this.#commitThisTurn();
    else this.#commitTimer ??= setTimeout(() => this.flush(), this.#trouble === undefined ? COMMIT_WITHIN_MS : RETRY_MS);
  }

  /** Writes what waits, now. A disk that refuses keeps events in memory (at most 20,000) and is tried again each second. */
  flush(): void {
    clearTimeout(this.#commitTimer);
    clearTimeout(this.#deleteTimer);
    this.#commitTimer = this.#deleteTimer = undefined;
    if (this.#pending.length === 0 && this.#acked.length === 0) return;
    this.#guard(() => {
      if (!this.#store) this.#open();
      this.#commit(this.#store!);
      if (this.#trouble !== undefined) this.#report(undefined);
    });
    if (this.waiting().events > 0) this.onAvailable();
  }

  lease(max: { events: number; bytes: number }): Lease | undefined {
    return this.#guard(() => {
      const store = this.#store;
      return store && (this.#take(store, "urgent", max) ?? this.#take(store, "plain", max));
    });
  }

  ack(lease: Lease): void {
    const held = this.#leases.get(lease.id);
    if (!held) return;
    this.#leases.delete(lease.id);
    this.#acked.push(held);
    if (this.#acked.reduce((sum, { ids }) => sum + ids.length, 0) >= DELETE_AT) this.flush();
    else this.#deleteTimer ??= setTimeout(() => this.flush(), DELETE_WITHIN_MS);
  }

  release(lease: Lease): void {
    const held = this.#leases.get(lease.id);
    if (!held) return;
    this.#leases.delete(lease.id);
    for (const id of held.ids) this.#taken.delete(id);
    if (held.urgent) {
      this.#urgentFrom = Math.min(this.#urgentFrom, held.ids[0]!);
      this.#urgentWaiting += held.ids.length;
    } else this.#plainFrom = Math.min(this.#plainFrom, held.ids[0]!);
    this.onAvailable();
  }

  waiting(): { events: number; urgent: number } {
    return { events: total(this.#epochs).events - this.#taken.size, urgent: this.#urgentWaiting };
  }

  /** What the site is not known to have. Bytes are of JSON text. */
  size(): { events: number; bytes: number } {
    const disk = total(this.#epochs);
    const acked = this.#acked.reduce((sum, held) => ({ events: sum.events + held.ids.length, bytes: sum.bytes + held.bytes }), empty);
    const waits = this.#pending.reduce((sum, { bytes }) => sum + bytes, 0);
    return { events: disk.events - acked.events + this.#pending.length, bytes: disk.bytes - acked.bytes + waits };
  }

  /** For the heartbeat: [epoch, oldest seq held, next seq], oldest epochs first, this run's always last, at most 64. */
  epochs(): [epoch: string, oldest: number, next: number][] {
    this.flush();
    const rows = [...this.#epochs.slice(0, -1).slice(0, 63), ...this.#epochs.slice(-1)];
    return this.#guard(() => rows.map((row): [string, number, number] => [row.epoch, this.#oldest(row), row.next])) ?? [];
  }

  /** The site has taken this report: epochs of earlier runs that it showed as empty need not be told again. */
  reported(epochs: readonly (readonly [epoch: string, oldest: number, next: number])[]): void {
    const told = new Set(epochs.filter(([, oldest, next]) => oldest === next).map(([epoch]) => epoch));
    const done = this.#epochs.slice(0, -1).filter((row) => told.has(row.epoch) && row.count === 0);
    if (done.length === 0) return;
    this.#guard(() => {
      this.#store?.transaction(() => {
        for (const row of done) this.#store?.removeEpoch(row.base);
      });
      this.#epochs = this.#epochs.filter((row) => !done.includes(row));
    });
  }

  /** Events thrown away since the last call, for `sensor.lost`. */
  takeEvicted(): number {
    const count = this.#evicted;
    this.#evicted = 0;
    return count;
  }

  [Symbol.dispose](): void {
    this.flush();
    clearTimeout(this.#commitTimer);
    clearTimeout(this.#deleteTimer);
    this.#store?.close();
    this.#store = undefined;
  }

  #open(): void {
    const store = openStore(this.#options.path);
    try {
      const epochs = store.epochs();
      const last = epochs.at(-1);
      const first = this.#pending[0]?.seq ?? this.#next;
      // One more than needed: an epoch without events must not share its base with the next.
      const row: EpochRow = { base: last ? last.base + last.next + 1 : 0, ...this.#options.epoch, next: first, count: 0, bytes: 0 };
      store.transaction(() => store.insertEpoch(row));
      this.#urgentWaiting = store.countUrgent();
      this.#epochs = [...epochs, row];
      this.#store = store;
    } catch (error) {
      store.close();
      throw error;
    }
  }

  #commitThisTurn(): void {
    if (this.#commitQueued) return;
    this.#commitQueued = true;
    // A microtask: one drain of the kernel's ring is one turn, and so one transaction.
    queueMicrotask(() => {
      this.#commitQueued = false;
      this.flush();
    });
  }

  /** Deletes what was acknowledged, inserts what waits, makes room. In-memory figures change only when the transaction stands. */
  #commit(store: Store): void {
    const epochs = this.#epochs.map((row) => ({ ...row }));
    const current = epochs.at(-1)!;
    const isChanged = (row: EpochRow) => row === current || this.#epochs.find(({ base }) => base === row.base)?.count !== row.count;
    let urgent = 0;
    let tooLarge = 0;
    let evicted = { events: 0, urgent: 0 };
    store.transaction(() => {
      for (const held of this.#acked) {
        store.remove(runsOf(held.ids));
        const row = epochs.find(({ base }) => base === held.base)!;
        row.count -= held.ids.length;
        row.bytes -= held.bytes;
      }
      for (const pending of this.#pending) {
        current.next = pending.seq + 1;
        if (pending.bytes > MAX_EVENT_BYTES) {
          tooLarge++;
          continue;
        }
        store.insert({ id: current.base + pending.seq, class: pending.class, event: pending.event });
        current.count++;
        current.bytes += pending.bytes;
        if (pending.class > classes.plain) urgent++;
      }
      evicted = evict(store, { epochs, taken: this.#taken, plainFrom: this.#plainFrom, urgentFrom: this.#urgentFrom, ...this.#options });
      for (const row of epochs) if (isChanged(row)) store.updateEpoch(row);
    });
    for (const held of this.#acked) for (const id of held.ids) this.#taken.delete(id);
    this.#acked = [];
    this.#pending = [];
    this.#epochs = epochs;
    this.#urgentWaiting += urgent - evicted.urgent;
    this.#evicted += evicted.events + tooLarge;
  }

  #take(store: Store, kind: "urgent" | "plain", max: { events: number; bytes: number }): Lease | undefined {
    const urgent = kind === "urgent";
    if (urgent && this.#urgentWaiting === 0) return undefined;
    const rows: EventRow[] = [];
    let epoch: EpochRow | undefined;
    let bytes = 0;
    for (const row of urgent ? store.urgentFrom(this.#urgentFrom) : store.plainFrom(this.#plainFrom)) {
      if (this.#taken.has(row.id)) continue;
      epoch ??= this.#epochs.findLast(({ base }) => base <= row.id)!;
      const rowBytes = Buffer.byteLength(row.event);
      const full = rows.length >= max.events || (rows.length > 0 && bytes + rowBytes > max.bytes);
      if (full || row.id >= epoch.base + epoch.next) break;
      rows.push(row);
      bytes += rowBytes;
    }
    const last = rows.at(-1);
    if (!epoch || !last) return undefined;
    const held = { base: epoch.base, ids: rows.map(({ id }) => id), bytes, urgent };
    for (const id of held.ids) this.#taken.add(id);
    if (urgent) {
      this.#urgentFrom = last.id + 1;
      this.#urgentWaiting -= rows.length;
    } else this.#plainFrom = last.id + 1;
    const id = this.#leaseId++;
    this.#leases.set(id, held);
    return { id, epoch: epoch.epoch, boot: epoch.boot, oldest: this.#oldest(epoch), events: rows.map((row) => revive(row, epoch)) };
  }

  /** Acknowledged events still in the file keep this low: that only makes the site judge a hole later. */
  #oldest(row: EpochRow): number {
    const id = row.count > 0 ? this.#store?.lowest(row.base, row.base + row.next) : undefined;
    return id === undefined ? row.next : id - row.base;
  }

  #guard<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      if (this.#store && isDamage(error)) this.#startAnew(error);
      else this.#report(error instanceof Error ? error.message : String(error));
      while (this.#pending.length > MAX_PENDING) this.#forgetOne();
      if (this.#pending.length > 0 || this.#acked.length > 0) this.#commitTimer ??= setTimeout(() => this.flush(), RETRY_MS);
      return undefined;
    }
  }

  #forgetOne(): void {
    const plain = this.#pending.findIndex((pending) => pending.class === classes.plain);
    this.#pending.splice(Math.max(plain, 0), 1);
    this.#evicted++;
  }

  /** The file is no good: what it held and the site has not said to have is counted as lost, and a new one is begun at the next commit. */
  #startAnew(error: unknown): void {
    this.#evicted += Math.max(0, total(this.#epochs).events - this.#acked.reduce((sum, { ids }) => sum + ids.length, 0));
    this.#store?.close();
    this.#store = undefined;
    this.#epochs = [];
    this.#leases.clear();
    this.#taken.clear();
    this.#acked = [];
    this.#plainFrom = this.#urgentFrom = this.#urgentWaiting = 0;
    const aside = setAside(this.#options.path, (this.#options.nowMs ?? Date.now)());
    this.#report(
      `the buffer file was damaged (${error instanceof Error ? error.message : error}); it is kept as ${aside} and a new one is begun`,
    );
  }

  #report(why: string | undefined): void {
    if (why === this.#trouble) return;
    this.#trouble = why;
    this.#options.onTrouble?.(why);
  }
}

const empty = { events: 0, bytes: 0 };

const revive = (row: EventRow, epoch: EpochRow): SensorEvent => ({
  v: 1,
  device: epoch.device,
  epoch: epoch.epoch,
  seq: row.id - epoch.base,
  ...JSON.parse(row.event),
});

/** Results of commands and what explains loss are worth as much as hits: they must not make room for plain events. */
export function classOf(event: SensorEvent): keyof typeof classes {
  if (event.type === "response.result") return "result";
  return event.hits?.length || event.type === "sensor.lost" ? "hit" : "plain";
}
