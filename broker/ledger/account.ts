// One device's pages of the ledger while something is entered: what is taken from one place is put to another, so that the sums always stand.
import type { Store } from "../store/database.ts";
import {
  type Book,
  type Entry,
  hoursWith,
  type LedgerEpoch,
  ledgerDevice,
  ledgerEpoch,
  saveEpoch,
  saveWaiting,
  type Term,
  terms,
  waitingOf,
  writeBook,
} from "../store/ledger.ts";
import { Held } from "./held.ts";

/** What has a number and an end: each is a part of what its epoch numbered. */
type Settled = "evicted" | "power" | "refused" | "unexplained";

/**
 * Numbers an epoch can have, and what can be lost in one report: a year at full speed. Whoever had a device for a minute could otherwise claim so much that nothing
 * could be entered any more, and the device's losses would be silent from then on.
 */
const MOST_NUMBERED = 2 ** 36;
const MOST_LOST = 2 ** 40;

type Page = { readonly row: LedgerEpoch; readonly waiting: Held; readonly before: ReadonlyMap<number, number> };

export class Account {
  readonly #store: Store;
  readonly #device: string;
  readonly #book: Book = new Map();
  readonly #pages = new Map<string, Page>();
  /** Columns that were asked for, with what is entered and not yet written. */
  readonly #columns = new Map<keyof Entry, Held>();
  /** How much more may be entered. A device may claim anything, and sums must stay exact. */
  #room: number;

  constructor(store: Store, device: string) {
    this.#store = store;
    this.#device = device;
    const now = ledgerDevice(store, device);
    this.#room = Number.MAX_SAFE_INTEGER - (now ? terms.reduce((sum, name) => sum + now[name], 0) : 0);
  }

  /** What is in the ledger of an epoch. To be changed by the methods below, but for its counters of claims. */
  epoch(epoch: string): LedgerEpoch {
    return this.#page(epoch).row;
  }

  /** What was given a number and is neither stored nor lost. */
  waits(epoch: string): number {
    const { numbered, stored, evicted, power, refused, unexplained } = this.#page(epoch).row;
    return numbered - stored - evicted - power - refused - unexplained;
  }

  /** The epoch is known to have come to `end`: its numbers wait, in these hours. */
  number(epoch: string, end: number, place: (count: number) => ReadonlyMap<number, number>): void {
    const { row, waiting } = this.#page(epoch);
    const more = this.#allow(Math.min(end, MOST_NUMBERED) - row.numbered);
    if (more <= 0) return;
    row.numbered += more;
    for (const [hour, count] of place(more)) {
      waiting.add(hour, count);
      this.#enter(hour, "waiting", count);
    }
  }

  /** Events arrived that were caused in these hours; `end` is the number after the last. */
  store(epoch: string, hours: ReadonlyMap<number, number>, end: number): void {
    const { row, waiting } = this.#page(epoch);
    const newest = [...hours].sort(([a], [b]) => b - a);
    let fresh = Math.max(0, end - row.numbered);
    for (const [hour, count] of newest) {
      const isNew = this.#allow(Math.min(count, fresh));
      fresh -= isNew;
      row.numbered += isNew;
      row.stored += isNew;
      this.#enter(hour, "stored", isNew);
      this.#arrive(row, waiting, hour, count - isNew);
    }
    // Numbers between that have not arrived: no later than these.
    const latest = newest[0]?.[0];
    if (latest !== undefined && fresh > 0) this.number(epoch, end, (count) => new Map([[latest, count]]));
  }

  /** Events that had a number already: from what waits, nearest hour first; else what was given up comes after all. */
  #arrive(row: LedgerEpoch, waiting: Held, hour: number, count: number): void {
    let left = count - this.#fromWaiting(waiting, count, hour, "stored");
    row.stored += count - left;
    for (const term of ["unexplained", "power", "evicted", "refused"] as const) {
      const moved = this.#move(term, "stored", Math.min(left, row[term]), hour);
      row[term] -= moved;
      row.stored += moved;
      left -= moved;
    }
    left = this.#allow(left);
    row.numbered += left;
    row.stored += left;
    this.#enter(hour, "stored", left);
  }

  /** At most `count` of what waits will not come. Returns how many. */
  settle(epoch: string, term: Settled, count: number): number {
    const { row, waiting } = this.#page(epoch);
    const settled = this.#fromWaiting(waiting, Math.min(count, this.waits(epoch)), undefined, term);
    row[term] += settled;
    return settled;
  }

  /** A reason was told after all. Returns for how many. */
  explain(epoch: string, term: "evicted" | "power", count: number): number {
    const { row } = this.#page(epoch);
    const moved = this.#move("unexplained", term, Math.min(count, row.unexplained), undefined);
    row.unexplained -= moved;
    row[term] += moved;
    return moved;
  }

  /** Loss that never had a number. `guessed` says that nobody knows the hours. Returns how much of it fits. */
  lose(term: "kernel" | "shed", count: number, place: (count: number) => ReadonlyMap<number, number>, guessed: boolean): number {
    const fits = this.#allow(Math.min(count, MOST_LOST));
    for (const [hour, part] of place(fits)) {
      this.#enter(hour, term, part);
      if (guessed) this.#enter(hour, guessOf[term], part);
    }
    return fits;
  }

  /** An event tells of loss, and when it was. Returns how much of it no heartbeat had told of. */
  tell(epoch: string, term: "kernel" | "shed", count: number, hour: number): number {
    const { row } = this.#page(epoch);
    const events = term === "kernel" ? "eventsKernel" : "eventsShed";
    row[events] = Math.min(row[events] + count, Number.MAX_SAFE_INTEGER);
    const more = Math.max(0, row[events] - row[term]);
    row[term] += more;
    this.#place(term, count - more, hour);
    return this.lose(term, more, (fits) => new Map([[hour, fits]]), false);
  }

  /** The hour of loss that was only guessed. */
  #place(term: "kernel" | "shed", count: number, hour: number): void {
    for (const guess of this.#column(guessOf[term]).find(count, hour)) {
      this.#enter(guess.hour, guessOf[term], -guess.part);
      this.#enter(guess.hour, term, -guess.part);
      this.#enter(hour, term, guess.part);
    }
  }

  /** Refused in an epoch the site knows nothing of. */
  refuse(count: number, hour: number): void {
    this.#enter(hour, "refused", this.#allow(count));
  }

  /** Writes all down; call once, in the transaction in which it was made. */
  save(): void {
    for (const [epoch, { row, waiting, before }] of this.#pages) {
      saveEpoch(this.#store, this.#device, row);
      for (const [hour, count] of waiting.counts)
        if (before.get(hour) !== count) saveWaiting(this.#store, this.#device, epoch, hour, count);
    }
    writeBook(this.#store, this.#device, this.#book);
  }

  #page(epoch: string): Page {
    const known = this.#pages.get(epoch);
    if (known) return known;
    const row = ledgerEpoch(this.#store, this.#device, epoch) ?? emptyEpoch(epoch);
    const held = waitingOf(this.#store, this.#device, epoch);
    const page = { row, before: new Map(held.map(({ hour, count }) => [hour, count])), waiting: new Held(held) };
    this.#pages.set(epoch, page);
    return page;
  }

  #allow(count: number): number {
    const allowed = Math.max(0, Math.min(count, this.#room));
    this.#room -= allowed;
    return allowed;
  }

  #enter(hour: number, name: keyof Entry, count: number): void {
    if (count === 0) return;
    const entry = this.#book.get(hour) ?? {};
    entry[name] = (entry[name] ?? 0) + count;
    this.#book.set(hour, entry);
    this.#columns.get(name)?.add(hour, count);
  }

  /** Nearest to an hour, and to there; or oldest first, where they are. Returns how many. */
  #fromWaiting(waiting: Held, count: number, to: number | undefined, term: Term): number {
    let taken = 0;
    for (const { hour, part } of waiting.find(count, to)) {
      waiting.add(hour, -part);
      this.#enter(hour, "waiting", -part);
      this.#enter(to ?? hour, term, part);
      taken += part;
    }
    return taken;
  }

  #move(from: Term, to: Term, count: number, near: number | undefined): number {
    let moved = 0;
    for (const { hour, part } of count > 0 ? this.#column(from).find(count, near) : []) {
      this.#enter(hour, from, -part);
      this.#enter(near ?? hour, to, part);
      moved += part;
    }
    return moved;
  }

  /** Hours that hold something of a column. Read once: a message may ask for it five hundred times. */
  #column(name: keyof Entry): Held {
    const known = this.#columns.get(name);
    if (known) return known;
    const column = new Held(hoursWith(this.#store, this.#device, name));
    for (const [hour, entry] of this.#book) column.add(hour, entry[name] ?? 0);
    this.#columns.set(name, column);
    return column;
  }
}

const guessOf = { kernel: "guessedKernel", shed: "guessedShed" } as const;

const emptyEpoch = (epoch: string): LedgerEpoch => ({
  ...{ epoch, numbered: 0, stored: 0, evicted: 0, power: 0, refused: 0, unexplained: 0 },
  ...{ kernel: 0, shed: 0, eventsKernel: 0, eventsShed: 0, hits: 0, results: 0, suspect: 0, suspectMs: 0 },
});
