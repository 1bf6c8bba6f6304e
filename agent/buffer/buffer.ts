// The record of what the site has not stored yet. Nothing leaves it but by an acknowledgement or, counted, by eviction.
import type { SensorEvent } from "@picket/protocol/event";
import type { EventSource, Lease } from "../lease.ts";
import { type Before, Disk, type Held, type Loss, lostOf, type Mark, revive, type Unclean } from "./disk.ts";
import { Durable } from "./durable.ts";
import { Mirror, noneShed, type Recovered, recover } from "./mirror.ts";
import { BufferBusy, classes, type EpochRow, isDamage, isRefusal, NotABuffer } from "./store.ts";
import { type Pending, Tail } from "./tail.ts";
import { type Flash, Wear, writtenBytes } from "./wear.ts";

/** An event whose JSON is larger could never be sent in one message. It keeps its number and counts as evicted. */
export const MAX_EVENT_BYTES = 512 << 10;
/** Longest time an event waits for others to share its transaction (strict) or its batch. */
const GATHER_MS = 20;
/** Balanced: a plain event not acknowledged within this goes to disk, and what is there is synced as often. */
const SPILL_AFTER_MS = 1000;
/** While the site answers, events younger than this stay in memory when older ones go to disk: they are about to be acknowledged. */
const STAYS_MS = 500;
const ANSWERED_WITHIN_MS = 5000;
/** While a backlog is sent, how often a batch of what is made now goes before it. */
const LIVE_EVERY_MS = 250;
/** Longest time an acknowledged event stays on disk. Deletions ride on the next write, which halves what is written to flash. */
const DELETE_WITHIN_MS = 2000;
const DELETE_AT = 2000;
/** What may be in memory only: while all is well, and while the disk takes none. How often it is tried again then. */
const IN_MEMORY = { events: 4096, bytes: 2 << 20 };
const REFUSED = { events: 20_000, bytes: 8 << 20 };
const RETRY_MS = 1000;
/** How often it is noted that the sensor looks. */
const SEEN_EVERY_MS = 250;

export type BufferOptions = {
  readonly path: string;
  readonly maxEvents: number;
  /** Of JSON text; the file is somewhat larger. */
  readonly maxBytes: number;
  readonly epoch: { readonly epoch: string; readonly boot: string; readonly device: string };
  /** `strict`: all is on the disk before it is given out. `balanced` (default): plain events that are acknowledged within a second are never written. */
  readonly durability?: "balanced" | "strict";
  /** A file in the machine's memory for what this process has in its own, so that kill -9 costs nothing; see `mirrorPath`. */
  readonly mirror?: string | undefined;
  /** Bytes that may be written to flash in 24 hours of running. Balanced only: above it plain events stay in memory, and the oldest go. */
  readonly flashBytesPerDay?: number;
  /** Called when the disk stops taking events or the file was damaged, and with `undefined` when all is well again. */
  readonly onTrouble?: (why: string | undefined) => void;
  /** Called while opening, when the run before this one did not end in order. */
  readonly onUnclean?: (last: Unclean) => void;
  readonly nowMs?: () => number;
  readonly monotonicMs?: () => number;
  readonly writtenBytes?: () => number | undefined;
};

export class EventBuffer implements EventSource, Disposable {
  /** Called when events became available: after a commit or a release, or a moment after they came. */
  onAvailable: () => void = () => {};

  readonly #options: BufferOptions;
  readonly #isStrict: boolean;
  readonly #monotonicMs: () => number;
  readonly #disk: Disk;
  readonly #tail = new Tail();
  readonly #wear: Wear;
  #mirror: Mirror | undefined;
  #recovered: Recovered | undefined;
  #next = 0;
  /** Numbers below it were noted in the mirror: only these may be given out. */
  #visible = 0;
  #came: Pending[] = [];
  #gone: number[] = [];
  readonly #leases = new Map<number, Held>();
  #leaseId = 0;
  #live = { isLast: false, atMs: Number.NEGATIVE_INFINITY };
  #bounds: Loss[] = [];
  readonly #durable: Durable;
  #answeredMs = Number.NEGATIVE_INFINITY;
  /** Something other than events is to be written. */
  #isDirty = false;
  #shed = noneShed;
  #seenMs = 0;
  #seenNotedMs = 0;
  #before: Before | undefined;
  #isFinished = false;
  #isRestored = false;
  #isOpened = false;
  #turnQueued = false;
  #isOverBudget = false;
  #gatherTimer: ReturnType<typeof setTimeout> | undefined;
  #spillTimer: ReturnType<typeof setTimeout> | undefined;
  #deleteTimer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;
  #trouble: string | undefined;

  /**
   * Throws `BufferBusy`, or an error when the folder cannot be used at all. A damaged file is set aside, and a disk that takes nothing is tried again:
   * both are reported through `onTrouble`.
   */
  constructor(options: BufferOptions) {
    this.#options = options;
    this.#isStrict = options.durability === "strict";
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
    this.#wear = new Wear({
      budgetBytes: options.flashBytesPerDay ?? Number.POSITIVE_INFINITY,
      writtenBytes: options.writtenBytes ?? writtenBytes,
      monotonicMs: this.#monotonicMs,
    });
    const { path, maxEvents, maxBytes, epoch } = options;
    this.#disk = new Disk({ path, maxEvents, maxBytes, fsync: this.#isStrict }, epoch);
    const onSynced = (error: unknown) => {
      if (error) this.#report(messageOf(error));
      this.#armSpill();
    };
    this.#durable = new Durable(this.#disk, { monotonicMs: this.#monotonicMs, onSynced });
    this.#recovered = options.mirror === undefined ? undefined : recover(options.mirror, epoch.boot);
    try {
      this.#open();
    } catch (error) {
      if (isRefusal(error)) this.#report(messageOf(error));
      else if (isDamage(error)) {
        this.#startAnew(error);
        this.#guard(() => this.#open());
      } else throw error;
    }
  }

  /**
   * Takes one event. Balanced: it may be given out after this turn of the event loop, on disk when it carries a hit or a result. Strict: likewise, but all
   * are on disk first, plain ones within 20 ms, together with all others of that time. Throws when its number does not follow the last: `stamp` makes
   * them follow.
   */
  append(event: SensorEvent): void {
    if (event.seq !== this.#next) throw new Error(`event ${event.seq} appended where ${this.#next} is next`);
    const text = JSON.stringify({ type: event.type, timeMs: event.timeMs, body: event.body, hits: event.hits });
    const bytes = Buffer.byteLength(text);
    const kind = classes[classOf(event)];
    this.#next++;
    this.#isFinished = false;
    if (bytes > MAX_EVENT_BYTES) {
      this.#disk.lose(event.epoch, kind);
      this.#isDirty = true;
    } else {
      const pending = { seq: event.seq, class: kind, event: text, bytes, atMs: this.#monotonicMs(), leased: false };
      this.#tail.add(pending);
      this.#came.push(pending);
    }
    this.#queueTurn();
  }

  /** How many events were shed that no event tells of yet. Noted with the turn where kill -9 does not reach it, and told by the next run. */
  untold(count: number): void {
    this.#shed = { count, timeMs: Math.max(0, (this.#options.nowMs ?? Date.now)()) };
    this.#queueTurn();
  }

  /** The sensor had nothing more to read at this time, milliseconds since boot. The next run tells from when on nothing was seen. */
  saw(atMs: number): void {
    this.#seenMs = Math.max(0, Math.floor(atMs));
    if (atMs - this.#seenNotedMs < SEEN_EVERY_MS) return;
    this.#seenNotedMs = atMs;
    this.#note((mirror) => mirror.saw(atMs));
  }

  /** How the run before this one ended, when there was one and its file could be read. */
  get before(): Before | undefined {
    return this.#before;
  }

  /** Writes all that is in memory to disk, now. A disk that refuses keeps events in memory (at most 20,000) and is tried again each second. */
  flush(): void {
    if (this.#tail.size > 0 || this.#disk.acked > 0 || this.#isDirty) this.#write([...this.#tail.values()]);
    this.#noteTurn();
    if (this.waiting().events > 0) this.onAvailable();
  }

  /** No event follows: writes all that is in memory, and that this run ended in order. */
  finish(): void {
    this.#isDirty ||= !this.#isFinished;
    this.#isFinished = true;
    this.flush();
  }

  lease(max: { events: number; bytes: number }): Lease | undefined {
    return this.#guard(() => {
      const lease =
        this.#take("urgent", max) ?? (this.#isLiveTurn(max.events) ? this.#take("live", max) : undefined) ?? this.#take("plain", max);
      // Nothing is found where something is counted.
      if (!lease && this.#disk.free > 0) throw new NotABuffer(`${this.#disk.free} events are counted that are not there`);
      return lease;
    });
  }

  connected(): void {
    this.#disk.live(this.#next);
    this.#live = { isLast: false, atMs: Number.NEGATIVE_INFINITY };
  }

  ack(lease: Lease): void {
    const held = this.#leases.get(lease.id);
    if (!held) return;
    this.#leases.delete(lease.id);
    this.#answeredMs = this.#monotonicMs();
    const { memory, disk } = this.#split(held);
    for (const { seq } of memory) this.#leave(seq);
    if (memory.length > 0) this.#queueTurn();
    this.#disk.ack(held.epoch, disk);
    if (this.#disk.acked >= DELETE_AT) this.#write([]);
    else if (disk.length > 0) this.#deleteTimer ??= setTimeout(() => this.#write([]), DELETE_WITHIN_MS);
  }

  release(lease: Lease): void {
    const held = this.#leases.get(lease.id);
    if (!held) return;
    this.#leases.delete(lease.id);
    const { memory, disk } = this.#split(held);
    for (const { seq } of memory) this.#tail.release(seq);
    if (disk.length > 0) this.#disk.release(held.epoch, disk);
    for (const item of held.gone) this.#disk.lose(held.epoch, item.class);
    this.#isDirty ||= held.gone.length > 0;
    this.onAvailable();
  }

  waiting(): { events: number; urgent: number } {
    const { free, freeUrgent } = this.#isStrict ? { free: 0, freeUrgent: 0 } : this.#tail;
    return { events: this.#disk.free + free, urgent: this.#disk.freeUrgent + freeUrgent };
  }

  /** What the site is not known to have. Bytes are of JSON text. */
  size(): { events: number; bytes: number } {
    const { events, bytes } = this.#disk.size();
    return { events: events + this.#tail.size, bytes: bytes + this.#tail.bytes };
  }

  /** For the heartbeat: [epoch, oldest seq held, next seq], oldest epochs first, this run's always last, at most 64. */
  epochs(): [epoch: string, oldest: number, next: number][] {
    if (this.#isStrict) this.flush();
    else if (this.#disk.acked > 0) this.#write([]);
    if (this.#turnQueued) this.#endTurn();
    const isLast = (row: EpochRow) => row === this.#disk.current;
    const told = () =>
      this.#told().map((row): [string, number, number] => [row.epoch, this.#oldest(row), isLast(row) ? this.#next : row.next]);
    return this.#guard(told) ?? [];
  }

  /** What was lost of each of `epochs`, of those that lost any: [epoch, lost, and at most so many more]. */
  lostByEpoch(): [epoch: string, lost: number, atMost: number][] {
    return this.#told().flatMap((row): [string, number, number][] => {
      const { plain, hit, result } = lostOf(row);
      return plain + hit + result + row.atMost > 0 ? [[row.epoch, plain + hit + result, row.atMost]] : [];
    });
  }

  /** The site has taken this report: epochs of earlier runs that it showed as empty need not be told again. */
  reported(epochs: readonly (readonly [epoch: string, oldest: number, next: number])[]): void {
    const told = new Set(epochs.filter(([, oldest, next]) => oldest === next).map(([epoch]) => epoch));
    const done = this.#disk.rows.slice(0, -1).filter((row) => told.has(row.epoch) && row.count === 0);
    if (done.length > 0) this.#guard(() => this.#disk.forget(done));
  }

  /** Losses since the last call, for `sensor.lost`. */
  takeLost(): Loss[] {
    return [...this.#bounds.splice(0), ...this.#disk.takeLost()];
  }

  /** Since the site last acknowledged something, milliseconds; infinite when it never did. */
  answeredAgoMs(): number {
    return this.#monotonicMs() - this.#answeredMs;
  }

  /** What was written to flash; undefined where the kernel does not count it. */
  flash(): Flash | undefined {
    return this.#wear.flash();
  }

  [Symbol.dispose](): void {
    this.finish();
    this.#isClosed = true;
    this.#durable[Symbol.dispose]();
    for (const timer of [this.#gatherTimer, this.#spillTimer, this.#deleteTimer]) clearTimeout(timer);
    // What the disk did not take is found in the mirror by the next run.
    if (this.#tail.size === 0) this.#mirror?.[Symbol.dispose]();
    this.#mirror = undefined;
    this.#disk.close();
  }

  #told(): EpochRow[] {
    const { rows } = this.#disk;
    return [...rows.slice(0, -1).slice(0, 63), ...rows.slice(-1)];
  }

  #open(): void {
    let mark: Mark | undefined;
    const unclean = this.#disk.open((saved) => {
      if (!this.#isRestored) this.#wear.restore(saved);
      this.#isRestored = true;
      mark = this.#mark(this.#tail.oldest?.seq ?? this.#next);
      return mark;
    }, this.#recovered);
    this.#durable.committed(mark!.reserved);
    if (!this.#isOpened) this.#before = this.#disk.before;
    this.#isOpened = true;
    // Until this run sees anything, nobody has since then, or since the machine started.
    if (this.#before && this.#seenMs === 0) this.#seenMs = this.#before.boot === this.#options.epoch.boot ? this.#before.seenMs : 1;
    this.#recovered = undefined;
    if (unclean) this.#options.onUnclean?.(unclean);
    if (unclean && unclean.atMost > 0) this.#bounds.push({ epoch: unclean.epoch, count: unclean.atMost, atMost: true });
    if (this.#disk.wasEmpty) this.#report("the buffer file was damaged: it was empty; what it held, if anything, is lost");
    this.#beginMirror();
    this.#durable.syncNow();
  }

  #beginMirror(): void {
    const { mirror, epoch } = this.#options;
    if (mirror === undefined || this.#mirror) return;
    try {
      this.#mirror = new Mirror(mirror, epoch);
      this.#came = [...this.#tail.values()];
      this.#mirror.saw(this.#seenMs);
    } catch {
      // Without it, kill -9 costs what power loss does.
    }
  }

  #queueTurn(): void {
    if (this.#turnQueued) return;
    this.#turnQueued = true;
    // A microtask: one drain of the kernel's ring is one turn, and so one transaction.
    queueMicrotask(() => {
      if (this.#turnQueued && !this.#isClosed) this.#endTurn();
    });
  }

  /** Nothing of a turn is given out before it is where kill -9 does not reach it. */
  #endTurn(): void {
    this.#turnQueued = false;
    const urgent = this.#tail.freeUrgent > 0;
    const isWell = this.#trouble === undefined;
    if (isWell && (urgent || this.#isDirty || this.#mustReserve())) this.#write(this.#isStrict ? [...this.#tail.values()] : this.#urgent());
    if (!this.#isStrict && this.#trouble === undefined && !this.#durable.covers(this.#next)) this.#guard(() => this.#durable.syncNow());
    this.#keepWithin();
    this.#noteTurn();
    if (urgent) this.onAvailable();
    if (this.#tail.size === 0) return;
    const gather = () => {
      this.#gatherTimer = undefined;
      if (this.#isStrict) this.flush();
      else if (this.waiting().events > 0) this.onAvailable();
    };
    if (!this.#isStrict || isWell) this.#gatherTimer ??= setTimeout(gather, GATHER_MS);
    this.#armSpill();
  }

  #urgent(): Pending[] {
    return this.#tail.freeUrgent > 0 ? [...this.#tail.values()].filter((pending) => pending.class > classes.plain) : [];
  }

  #noteTurn(): void {
    this.#visible = this.#next;
    const came = this.#came.splice(0).filter(({ seq }) => this.#tail.has(seq));
    const gone = this.#gone.splice(0);
    const shed = this.#shed;
    if (came.length === 0 && gone.length === 0 && !this.#mirror?.isNews(shed)) return;
    const all = this.#tail.values();
    this.#note((mirror) =>
      mirror.note({ came, gone, next: this.#next, lost: lostOf(this.#disk.current), shed, all, allBytes: this.#tail.bytes }),
    );
  }

  #note(write: (mirror: Mirror) => void): void {
    if (!this.#mirror) return;
    try {
      write(this.#mirror);
    } catch {
      this.#mirror[Symbol.dispose]();
      this.#mirror = undefined;
    }
  }

  #armSpill(): void {
    if (this.#isClosed || (this.#tail.size === 0 && this.#trouble === undefined && !this.#isDirty)) return;
    const age = this.#monotonicMs() - (this.#tail.oldest?.atMs ?? this.#monotonicMs());
    const waitMs = this.#trouble === undefined && !this.#isOverBudget ? Math.max(0, SPILL_AFTER_MS - age) : RETRY_MS;
    this.#spillTimer ??= setTimeout(() => {
      this.#spillTimer = undefined;
      this.#spill();
    }, waitMs);
  }

  #spill(): void {
    if (this.#trouble !== undefined) this.flush();
    else if (this.#tail.size > 0 && !this.#mayNotSpill()) {
      const now = this.#monotonicMs();
      const stays = now - this.#answeredMs < ANSWERED_WITHIN_MS ? STAYS_MS : 0;
      const old = [...this.#tail.values()].filter(({ atMs }) => now - atMs >= stays);
      if (old.length > 0) this.#write(old);
      if (old.length > 0) this.#durable.sync();
      this.#noteTurn();
    }
    this.#armSpill();
  }

  #mayNotSpill(): boolean {
    if (this.#isStrict) return false;
    const isOver = this.#wear.isOver();
    if (isOver !== this.#isOverBudget) {
      this.#isOverBudget = isOver;
      if (this.#trouble === undefined) this.#options.onTrouble?.(this.#why());
    }
    return isOver;
  }

  /** Keeps what is in memory bounded: it goes to disk or, where that may not or cannot be, the least valuable goes away. */
  #keepWithin(): void {
    const tail = this.#tail;
    const max = this.#trouble === undefined ? IN_MEMORY : REFUSED;
    if (tail.size <= max.events && tail.bytes <= max.bytes) return;
    if (this.#trouble === undefined && !this.#mayNotSpill()) this.#write([...tail.values()]);
    while (tail.size > max.events || tail.bytes > max.bytes) {
      const least = tail.leastFree();
      const merged = least ? undefined : tail.mergeLosses();
      const gone = least ?? merged?.gone;
      if (!gone) break;
      if (merged) this.#came.push(merged.changed);
      this.#leave(gone.seq);
      this.#disk.lose(this.#options.epoch.epoch, merged ? classes.plain : gone.class);
    }
  }

  #leave(seq: number): void {
    this.#tail.remove(seq);
    this.#gone.push(seq);
  }

  #split(held: Held) {
    const isHere = this.#isInMemory;
    const { true: memory = [], false: disk = [] } = Object.groupBy(held.items, ({ seq }) => (isHere(held.epoch, seq) ? "true" : "false"));
    return { memory, disk };
  }

  readonly #isInMemory = (epoch: string, seq: number) => epoch === this.#options.epoch.epoch && this.#tail.has(seq);

  #mustReserve(): boolean {
    return !this.#isStrict && this.#durable.isShort(this.#next);
  }

  #mark(low: number): Mark {
    const reserved = this.#durable.endFor(this.#next, this.#isStrict || this.#isFinished);
    return { next: this.#next, low, reserved, closed: this.#isFinished ? 1 : 0, seen: this.#seenMs, wear: this.#wear.save() };
  }

  /** Moves these events from memory to disk, and deletes there what was acknowledged. */
  #write(events: readonly Pending[]): void {
    clearTimeout(this.#deleteTimer);
    this.#deleteTimer = undefined;
    // The file will say how far this run has counted: a kill right after that must not leave numbers whose events are nowhere.
    if (this.#came.length > 0) this.#noteTurn();
    this.#guard(() => {
      if (!this.#disk.isOpen) this.#open();
      const moved = new Set(events);
      const memory = moved.size === this.#tail.size ? [] : [...this.#tail.values()].filter((pending) => !moved.has(pending));
      const mark = this.#mark(memory[0]?.seq ?? this.#next);
      const dropped = this.#disk.commit(events, memory, mark);
      const isMore = this.#durable.committed(mark.reserved);
      for (const { seq } of [...events, ...dropped]) this.#leave(seq);
      this.#isDirty = false;
      // Before the numbers are needed: whoever used one that is not reserved on the disk would have to wait for it, and the kernel's ring with him.
      if (!this.#isStrict && isMore) this.#durable.sync();
      else if (!this.#isStrict && events.length > 0) this.#durable.syncSoon();
      if (this.#trouble !== undefined) this.#report(undefined);
    });
  }

  /** With more than a batch waiting in the file, the backlog and what is made now take turns. */
  #isLiveTurn(batch: number): boolean {
    const nowMs = this.#monotonicMs();
    const isLast = this.#live.isLast || this.#disk.free - this.#disk.freeUrgent <= batch || nowMs - this.#live.atMs < LIVE_EVERY_MS;
    this.#live = isLast ? { ...this.#live, isLast: false } : { isLast: true, atMs: nowMs };
    return !isLast;
  }

  #take(kind: "urgent" | "plain" | "live", max: { events: number; bytes: number }): Lease | undefined {
    const { current } = this.#disk;
    const found = this.#disk.take(kind, max);
    const follows = !found || (found.isAll && found.row === current);
    const have = found && { events: found.items.length, bytes: found.bytes };
    const more = follows && !this.#isStrict ? this.#tail.take(kind === "urgent" ? kind : "plain", this.#visible, max, have) : [];
    const row = found?.row ?? current;
    const items = [...(found?.items ?? []), ...more];
    if (items.length === 0) return undefined;
    const events = [...(found?.events ?? []), ...more.map(({ event, seq }) => revive(event, seq, current)!)];
    const id = this.#leaseId++;
    this.#leases.set(id, { epoch: row.epoch, items, gone: [] });
    return { id, epoch: row.epoch, boot: row.boot, oldest: this.#oldest(row), events };
  }

  #oldest(row: EpochRow): number {
    const onDisk = this.#disk.oldest(row);
    if (row !== this.#disk.current) return onDisk ?? row.next;
    return Math.min(onDisk ?? this.#next, this.#tail.oldest?.seq ?? this.#next);
  }

  #guard<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      if (error instanceof BufferBusy || !isDamage(error)) this.#report(messageOf(error));
      else this.#startAnew(error);
      this.#armSpill();
      return undefined;
    }
  }

  /** The file is no good: what it held and the site has not said to have is counted as lost, and a new one is begun at the next commit. */
  #startAnew(error: unknown): void {
    try {
      const aside = this.#disk.abandon(this.#leases.values(), this.#isInMemory, (this.#options.nowMs ?? Date.now)());
      this.#report(`the buffer file was damaged (${messageOf(error)}); it is kept as ${aside} and a new one is begun`);
    } catch (refusal) {
      this.#report(`the buffer file is damaged (${messageOf(error)}) and cannot be set aside (${messageOf(refusal)})`);
    }
    this.#isDirty = true;
  }

  #report(trouble: string | undefined): void {
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.#options.onTrouble?.(this.#why());
  }

  #why(): string | undefined {
    if (this.#trouble !== undefined || !this.#isOverBudget) return this.#trouble;
    return `the agent wrote as much to flash in 24 hours as it may (buffer.flashBytesPerDay): plain events stay in memory, and the oldest go when there are too many`;
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Results of commands and what explains loss are worth as much as hits: they must not make room for plain events. */
export function classOf(event: SensorEvent): keyof typeof classes {
  if (event.type === "response.result") return "result";
  return event.hits?.length || event.type === "sensor.lost" ? "hit" : "plain";
}
