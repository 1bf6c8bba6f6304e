// The loss ledger: enters what arrived, what devices tell and what was refused, each under the hour it was caused in.
import { setImmediate } from "node:timers/promises";
import { openBatch } from "@picket/protocol/batch";
import type { OnlineStatus } from "@picket/protocol/status";
import type { Store } from "../store/database.ts";
import {
  addFresh,
  addUrgentEvicted,
  dropEpoch,
  forgottenEpochs,
  ledgerClocks,
  ledgerCursor,
  ledgerDevice,
  type StoredBatch,
  saveCursor,
  saveReport,
  saveTold,
  type ToldEpoch,
  toldEpochs,
  trimLedger,
} from "../store/ledger.ts";
import { addNews, type LossNews, noNews, readNews } from "../store/ledger-news.ts";
import { readBatches } from "../store/log.ts";
import { unknownRuns } from "../store/received.ts";
import { Account } from "./account.ts";
import { type Clock, HOUR_MS, hourBetween, hourOf, placeEach, siteTime, spread, type ToldLoss } from "./hours.ts";

/** Hours kept one by one; older ones become one sum. */
export const KEEP_MS = 400 * 24 * HOUR_MS;
/** What is missing without a report becomes unexplained when it still is, this much later: the agent counts once a second. */
const SUSPECT_MS = 10_000;
const READ_ROWS = 200;
const TRIM_ROWS = 500;
const TRIM_EPOCHS = 200;

type Pending = { readonly device: string; readonly epoch: string; readonly hours: Map<number, number>; end: number; losses: ToldLoss[] };

export class Ledger {
  readonly #store: Store;
  readonly #clocks = new Map<string, Clock>();
  // Entered in groups: one batch at a time would cost more than storing it. After a crash they are read from the log again.
  #pending = new Map<string, Pending>();
  #cursor: number;

  constructor(store: Store) {
    this.#store = store;
    for (const { device, ...clock } of ledgerClocks(store)) this.#clocks.set(device, clock);
    this.#cursor = ledgerCursor(store);
  }

  /** Enters what was stored and not entered before the broker ended. Call before anything is stored. */
  async recover(): Promise<void> {
    for (;;) {
      const rows = readBatches(this.#store, this.#cursor, READ_ROWS);
      for (const { offset, device, receivedMs, batch } of rows) {
        const { epoch, boot, runs } = openBatch(batch).header;
        this.stored({ offset, device, epoch, boot, runs, receivedMs, firstMs: undefined, mayTellLoss: true, payload: batch });
      }
      await this.flush();
      if (rows.length < READ_ROWS) return;
    }
  }

  /** A batch is on disk. Cheap: it is entered with the next `flush`. */
  stored(batch: StoredBatch): void {
    this.#cursor = Math.max(this.#cursor, batch.offset + 1);
    const { device, epoch, boot, runs, receivedMs, firstMs, spanMs, mayTellLoss, payload } = batch;
    const key = `${device} ${epoch}`;
    const pending = this.#pending.get(key) ?? { device, epoch, hours: new Map<number, number>(), end: 0, losses: [] };
    this.#pending.set(key, pending);
    const [lastFirst, lastCount] = runs.at(-1)!;
    pending.end = Math.max(pending.end, lastFirst + lastCount);
    const clock = this.#clocks.get(device);
    const now = hourOf(receivedMs);
    // Caused in the hour it was received: so were all after it, and nobody needs to look.
    const isNow = firstMs !== undefined && hourOf(siteTime(firstMs, boot, clock, receivedMs)) === now;
    const hour = isNow ? now : spanMs && hourBetween(spanMs, boot, clock, receivedMs);
    if (hour !== undefined && !mayTellLoss) {
      const count = runs.reduce((sum, [, of]) => sum + of, 0);
      pending.hours.set(hour, (pending.hours.get(hour) ?? 0) + count);
      return;
    }
    const { hours, losses } = placeEach(payload, runs, clock, receivedMs);
    for (const [hour, count] of hours) pending.hours.set(hour, (pending.hours.get(hour) ?? 0) + count);
    pending.losses.push(...losses);
  }

  /** Enters what was stored; resolves when that is on disk. */
  async flush(): Promise<void> {
    if (this.#pending.size === 0) return;
    const entering = this.#pending;
    const cursor = this.#cursor;
    this.#pending = new Map();
    try {
      await this.#store.commitSoon(() => {
        for (const [device, of] of Map.groupBy(entering.values(), (one) => one.device)) this.#enter(device, of);
        saveCursor(this.#store, cursor);
      });
    } catch (error) {
      this.#takeBack(entering);
      throw error;
    }
  }

  /** The disk took nothing: the next flush enters it. */
  #takeBack(entering: Map<string, Pending>): void {
    const since = this.#pending;
    this.#pending = entering;
    for (const [key, later] of since) {
      const first = entering.get(key);
      if (!first) {
        entering.set(key, later);
        continue;
      }
      for (const [hour, count] of later.hours) first.hours.set(hour, (first.hours.get(hour) ?? 0) + count);
      first.end = Math.max(first.end, later.end);
      first.losses.push(...later.losses);
    }
  }

  #enter(device: string, of: readonly Pending[]): void {
    const account = new Account(this.#store, device);
    const fresh = { kernel: 0, shed: 0 };
    for (const { epoch, hours, end, losses } of of) {
      account.store(epoch, hours, end);
      for (const { where, count, hour } of losses) fresh[where] += account.tell(epoch, where, count, hour);
    }
    account.save();
    if (fresh.kernel + fresh.shed > 0) addFresh(this.#store, device, fresh.kernel, fresh.shed);
  }

  /** A message became a dead letter, inside its transaction. Whatever events it holds were acknowledged, and are gone. */
  refused(device: string, payload: Uint8Array, nowMs: number): void {
    const header = headerOf(payload);
    if (header?.device !== device) return;
    const { epoch, runs } = header;
    const unknown = unknownRuns(this.#store, device, epoch, runs);
    const count = unknown.reduce((sum, [, of]) => sum + of, 0);
    if (count === 0) return;
    const account = new Account(this.#store, device);
    const hour = hourOf(nowMs);
    const heardOf = this.#store.db.query("SELECT 1 FROM epochs WHERE device = ? AND epoch = ?").get(device, epoch) !== null;
    if (heardOf) {
      const [first, of] = unknown.at(-1)!;
      account.number(epoch, first + of, (more) => new Map([[hour, more]]));
      account.settle(epoch, "refused", count);
    } else account.refuse(count, hour);
    account.save();
  }

  /** A heartbeat, inside its transaction and after `reportEpochs`. Returns the loss told in this hour, with what is new of it. */
  heartbeat(device: string, status: OnlineStatus, nowMs: number): LossNews {
    const before = ledgerDevice(this.#store, device);
    const clock = clockOf(status, nowMs, this.#clocks.get(device));
    this.#clocks.set(device, clock);
    saveReport(this.#store, device, { ...clock, nowMs });
    const account = new Account(this.#store, device);
    const sinceMs = before?.reportedMs || clock.firstMs;
    const news = noNews(hourOf(nowMs));
    news.kernel = before?.freshKernel ?? 0;
    news.shed = before?.freshShed ?? 0;
    news.lost = news.caused = news.kernel + news.shed;
    for (const told of toldEpochs(this.#store, device)) {
      const lowest = told.epoch === status.epoch ? Math.max(sinceMs, clock.bootedMs) : sinceMs;
      settle(account, told, { sinceMs: Math.min(lowest, nowMs), nowMs, news });
    }
    const epoch = account.epoch(status.epoch);
    const { hit = 0, result = 0 } = status.bufferLost?.by ?? {};
    news.hits = Math.max(0, hit - epoch.hits);
    news.results = Math.max(0, result - epoch.results);
    epoch.hits += news.hits;
    epoch.results += news.results;
    account.save();
    if (news.hits + news.results > 0) addUrgentEvicted(this.#store, device, news.hits, news.results);
    const all = addNews(readNews(before?.told ?? "", news.hour), news);
    if (news.caused + news.lost > 0) saveTold(this.#store, device, JSON.stringify(all));
    return { ...all, fresh: news.lost };
  }

  /** Folds what is too old, and gives up what waits of epochs the site has forgotten. Resolves with how many rows of hours went. */
  async trim(nowMs: number): Promise<number> {
    // In pieces: a device may invent thousands of epochs in between, and all others would wait for one transaction.
    while ((await this.#store.commitSoon(() => this.#giveUp())) === TRIM_EPOCHS) await setImmediate();
    return this.#store.commitSoon(() => trimLedger(this.#store, nowMs - KEEP_MS, TRIM_ROWS));
  }

  #giveUp(): number {
    const forgotten = forgottenEpochs(this.#store, TRIM_EPOCHS);
    for (const [device, epochs] of Map.groupBy(forgotten, (one) => one.device)) {
      const account = new Account(this.#store, device);
      for (const { epoch } of epochs) account.settle(epoch, "unexplained", account.waits(epoch));
      account.save();
      for (const { epoch } of epochs) dropEpoch(this.#store, device, epoch);
    }
    return forgotten.length;
  }
}

type Settling = { readonly sinceMs: number; readonly nowMs: number; readonly news: ReturnType<typeof noNews> };

/** Enters what heartbeats told of one epoch beyond what is in the ledger. */
function settle(account: Account, told: ToldEpoch, { sinceMs, nowMs, news }: Settling): void {
  const { epoch } = told;
  const row = account.epoch(epoch);
  const place = (count: number) => spread(count, sinceMs, nowMs);
  const numbered = row.numbered;
  account.number(epoch, told.end, place);
  news.caused += row.numbered - numbered;
  for (const term of ["kernel", "shed"] as const) {
    const more = told[term] - row[term];
    if (more <= 0) continue;
    const entered = account.lose(term, more, place, hourOf(sinceMs) !== hourOf(nowMs));
    // What does not fit any more is not tried again.
    row[term] = told[term];
    news[term] += entered;
    news.caused += entered;
    news.lost += entered;
  }
  const evicted = account.settle(epoch, "evicted", told.evicted - row.evicted);
  news.evicted += evicted;
  news.lost += evicted;
  account.explain(epoch, "evicted", told.evicted - row.evicted);
  const missing = () => Math.min(told.holes - row.evicted - row.power - row.refused - row.unexplained, account.waits(epoch));
  const power = account.settle(epoch, "power", Math.min(missing(), told.power - row.power));
  account.explain(epoch, "power", told.power - row.power);
  news.power += power;
  news.lost += power;
  const lacking = Math.max(0, missing());
  if (lacking === 0) row.suspect = 0;
  else if (row.suspect === 0) {
    row.suspect = lacking;
    row.suspectMs = nowMs;
  } else if (nowMs - row.suspectMs < SUSPECT_MS) row.suspect = Math.min(row.suspect, lacking);
  else {
    const unexplained = account.settle(epoch, "unexplained", Math.min(lacking, row.suspect));
    news.unexplained += unexplained;
    news.lost += unexplained;
    row.suspect = lacking - unexplained;
    row.suspectMs = nowMs;
  }
}

function clockOf(status: OnlineStatus, nowMs: number, before: Clock | undefined): Clock {
  const { boot, uptimeS, timeMs } = status;
  const booted = Math.max(nowMs - Math.min(uptimeS * 1000, KEEP_MS), 0);
  // A heartbeat that came late makes the boot look later than it was.
  const bootedMs = Math.floor(before?.boot === boot ? Math.min(before.bootedMs, booted) : booted);
  return { boot, bootedMs, offsetMs: timeMs - nowMs, firstMs: before?.firstMs ?? nowMs };
}

function headerOf(payload: Uint8Array) {
  try {
    return openBatch(payload).header;
  } catch {
    return undefined;
  }
}
