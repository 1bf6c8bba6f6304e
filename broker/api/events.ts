// Events as operators read them: out of the stored batches, a bounded amount of work for each call.
import { setImmediate } from "node:timers/promises";
import { BadBatch, decodeBatch } from "@picket/protocol/batch";
import { eventId, type SensorEvent } from "@picket/protocol/event";

export type LoggedBatch = { readonly offset: number; readonly device: string; readonly receivedMs: number; readonly batch: Uint8Array };

export type LogPort = {
  /** Batches from `offset` on, oldest first, of one device or of all. */
  read(of: { offset: number; device: string | undefined; limit: number }): LoggedBatch[];
  /** The first offset received at `sinceMs` or later. */
  offsetSince(sinceMs: number): number;
  /** Offsets [from, to) of what was received at `sinceMs` or later, of one device or of all, and how much that is. */
  range(of: { sinceMs: number | undefined; device: string | undefined }): { from: number; to: number; batches: number; events: number };
  /** Batches that may hold one event, by the parts of its id. */
  holding(of: { device: string; epoch: string; seq: number }): LoggedBatch[];
};

export type EventQuery = {
  readonly device?: string | undefined;
  readonly type?: string | undefined;
  /** Of the event, by its device's clock. A batch received earlier is not looked at. */
  readonly sinceMs?: number | undefined;
  readonly after?: number | undefined;
  readonly limit: number;
};

/** A call that finds little in many batches stops here and says where to go on. 64 batches are at most 32,000 events. */
const MAX_BATCHES = 64;
/** Batches decoded in one go. Between pages ingest has its turn. */
const PAGE = 4;
/**
 * JSON text of one answer. A forged batch of 600 bytes holds 1.2 GB of it: five hundred events about one huge process. Thousands of usual events fit.
 */
export const MAX_ANSWER_CHARS = 8 << 20;
/** Events of a batch in a cursor: above `MAX_BATCH_EVENTS`, so that a cursor is one number that rises. */
const SLOTS = 1024;

/**
 * Events in the order they came. `after` is a position in the log (0: from the start); the one returned continues where this call
 * stopped, whether it found enough or looked at enough. At the end of the log it comes back unchanged, with no events.
 */
export async function queryEvents(log: LogPort, query: EventQuery): Promise<{ events: SensorEvent[]; after: number }> {
  let after = query.after ?? (query.sinceMs === undefined ? 0 : log.offsetSince(query.sinceMs) * SLOTS);
  const events: SensorEvent[] = [];
  const room = new Room();
  for (let looked = 0; looked < MAX_BATCHES; ) {
    const page = log.read({ offset: Math.floor(after / SLOTS), device: query.device, limit: PAGE });
    for (const row of page) {
      const from = row.offset === Math.floor(after / SLOTS) ? after % SLOTS : 0;
      after = row.offset * SLOTS + takeFrom(row, from, query, events, room);
      if (events.length >= query.limit || room.full) return { events, after };
    }
    looked += page.length;
    // The page begins with the batch the cursor is in, so one that is not full ends the log.
    if (page.length < PAGE) return { events, after };
    await setImmediate();
  }
  return { events, after };
}

/** What is left of an answer's size. */
class Room {
  #left = MAX_ANSWER_CHARS;
  get full(): boolean {
    return this.#left <= 0;
  }
  /** The first one always fits, or nobody would get past it. */
  take(event: SensorEvent): void {
    this.#left -= JSON.stringify(event).length;
  }
}

/** Adds what fits and matches. Returns how many of the batch's events are done with. */
function takeFrom(row: LoggedBatch, from: number, query: EventQuery, into: SensorEvent[], room: Room): number {
  const all = eventsOf(row);
  for (let at = from; at < all.length; at++) {
    if (into.length >= query.limit || room.full) return at;
    const event = all[at]!;
    if (query.type !== undefined && event.type !== query.type) continue;
    if (query.sinceMs !== undefined && event.timeMs < query.sinceMs) continue;
    into.push(event);
    room.take(event);
  }
  return all.length;
}

/** The events with these ids that the log still has and an answer can hold, in the order of the ids. No batch is decoded twice, nor more than `MAX_BATCHES`. */
export async function eventsById(log: LogPort, ids: readonly string[]): Promise<SensorEvent[]> {
  const wanted = new Set(ids);
  const found = new Map<string, SensorEvent>();
  const decoded = new Set<number>();
  const room = new Room();
  for (const id of ids) {
    const parts = partsOf(id);
    if (!parts || found.has(id)) continue;
    for (const row of log.holding(parts)) {
      if (decoded.has(row.offset) || decoded.size >= MAX_BATCHES) continue;
      decoded.add(row.offset);
      for (const event of eventsOf(row)) {
        if (room.full || !wanted.has(eventId(event))) continue;
        room.take(event);
        found.set(eventId(event), event);
      }
      await setImmediate();
    }
  }
  return ids.flatMap((id) => found.get(id) ?? []);
}

function partsOf(id: string): { device: string; epoch: string; seq: number } | undefined {
  const [device, epoch, seq, ...more] = id.split(":");
  if (device === undefined || epoch === undefined || more.length > 0 || !/^\d{1,15}$/.test(seq ?? "")) return undefined;
  return { device, epoch, seq: Number(seq) };
}

function eventsOf(row: LoggedBatch): SensorEvent[] {
  try {
    return decodeBatch(row.batch).events.map((event) => ({ ...event, receivedMs: row.receivedMs }));
  } catch (error) {
    // Ingest checks the header and counts lines, not each event: what cannot be read must not hide what can.
    if (error instanceof BadBatch) return [];
    throw error;
  }
}
