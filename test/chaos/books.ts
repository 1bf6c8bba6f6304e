// What the site has, read from its database as it lies on disk: every event of the log as often as it is there, and every alert.
import { join } from "node:path";
import { listAlerts } from "../../broker/store/alerts.ts";
import type { Store } from "../../broker/store/database.ts";
import { listDeadLetters } from "../../broker/store/dead-letters.ts";
import { detectorState } from "../../broker/store/detector.ts";
import { listLanes } from "../../broker/store/lanes.ts";
import { ledgerCursor, ledgerTotals } from "../../broker/store/ledger.ts";
import { nextOffset, readBatches } from "../../broker/store/log.ts";
import { openStore } from "../../broker/store/schema.ts";
import type { Alert } from "../../protocol/alert.ts";
import { decodeBatch } from "../../protocol/batch.ts";
import type { SensorEvent } from "../../protocol/event.ts";
import type { LedgerTerms } from "../../protocol/ledger.ts";

export type Books = {
  /** By device, in the order of the log. */
  readonly events: ReadonlyMap<string, readonly SensorEvent[]>;
  /** Lines of the log that are no event. */
  readonly unreadable: number;
  readonly alerts: readonly Alert[];
  readonly cursor: number;
  readonly nextOffset: number;
  readonly deadLetters: readonly string[];
  /** What the site itself says became of all that the device caused. */
  ledger(device: string): LedgerTerms;
  /** How many numbers of an epoch the site knows to be used. */
  numbered(device: string, epoch: string): number;
};

const nothing: LedgerTerms = { caused: 0, stored: 0, kernel: 0, shed: 0, evicted: 0, power: 0, refused: 0, unexplained: 0, waiting: 0 };
const PAGE = 200;
const MAX_ALERTS = 1_000_000;

/** Reads the books of the site in `dir`; its broker may run. */
export function readBooks(dir: string): Books {
  using store = openStore(join(dir, "site.db"));
  const events = new Map<string, SensorEvent[]>();
  let unreadable = 0;
  for (let offset = 0; ; ) {
    const rows = readBatches(store, offset, PAGE);
    for (const row of rows) {
      const decoded = decodeBatch(row.batch);
      unreadable += decoded.refused;
      const list = events.get(row.device) ?? [];
      events.set(row.device, list);
      list.push(...decoded.events);
      offset = row.offset + 1;
    }
    if (rows.length === 0) break;
  }
  const known = new Map([...events.keys()].map((device) => [device, ledgerTotals(store, device)]));
  const numbered = new Map(
    store.db
      .query<{ device: string; epoch: string; numbered: number }, []>("SELECT device, epoch, numbered FROM ledger_epochs")
      .all()
      .map((row) => [`${row.device}:${row.epoch}`, row.numbered]),
  );
  return {
    events,
    unreadable,
    alerts: listAlerts(store, { origin: "own", limit: MAX_ALERTS }),
    cursor: detectorState(store).cursor,
    nextOffset: nextOffset(store),
    deadLetters: listDeadLetters(store, 20).map(({ device, reason }) => `${device}: ${reason}`),
    numbered: (device, epoch) => numbered.get(`${device}:${epoch}`) ?? 0,
    ledger: (device) => known.get(device) ?? nothing,
  };
}

/** How many batches the detector has not decided, on its main way and beside it, or the ledger has not entered, by the database of a running site. */
export function undecided(dir: string): number {
  using store = openStore(join(dir, "site.db"));
  const aside = listLanes(store).map(({ device, cursor, end }) => countFrom(store, device, cursor, end));
  return aside.reduce((sum, count) => sum + count, nextOffset(store) - Math.min(detectorState(store).cursor, ledgerCursor(store)));
}

const countFrom = (store: Store, device: string | null, from: number, end: number | null): number =>
  store.db
    .query<{ n: number }, [number, number, string | null]>(
      "SELECT count(*) AS n FROM log WHERE offset >= ?1 AND offset < ?2 AND (?3 IS NULL OR device = ?3)",
    )
    .get(from, end ?? Number.MAX_SAFE_INTEGER, device)!.n;
