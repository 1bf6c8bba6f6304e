// What one device brought to one group of a correlation: what a window needs, and no more.
import type { Correlation } from "@picket/rules/correlation/correlation";
import { atLeast, isClosed } from "@picket/rules/correlation/correlation";

/** One event in a window. */
export type Entry = {
  /** By the device's clock, then by the broker's. Milliseconds. */
  readonly timeMs: number;
  readonly receivedMs: number;
  readonly id: string;
  /** Which of the correlation's rules, or the value that is counted. */
  readonly what: string;
  /** How many events this stands for, and what they add up to. */
  readonly count: number;
  readonly sum: number;
};

/** A window that is judged when it is over. */
export type Tally = {
  readonly startMs: number;
  readonly receivedMs: number;
  count: number;
  sum: number;
  /** How often each value came; of those past `MAX_VALUES` only their number is known. */
  readonly values: Map<string, number>;
  /** The first events. */
  readonly ids: string[];
  /** Values of the group, to be shown. */
  readonly shown: readonly string[];
};

/** Entries rise by `timeMs`; of the same time they are in the order of their device. */
export type Window = { entries: Entry[]; tally: Tally | undefined; firedMs: number | undefined };

/** How long beyond its timespan something is remembered: a device may have been away. Milliseconds of the broker. */
export const AWAY_MS = 3_600_000;
/** Different values counted in one window that is judged when it is over. */
export const MAX_VALUES = 500;
const MAX_IDS = 20;
/** Counts up to here are kept event by event, larger ones and sums in steps of a 256th of the timespan. */
const EXACT = 256;
const STEPS = 256;
/** Of one rule in a row in a sequence. */
const RUN = 8;

/** What kind of evidence a correlation needs, told by its type. */
export const isSequence = ({ type }: Pick<Correlation, "type">): boolean => type === "temporal" || type === "temporal_ordered";

/** Whether what came is merged into steps when it is much. */
const isStepped = (of: Correlation): boolean => of.type === "value_sum" || (of.type === "event_count" && atLeast(of.bounds) > EXACT);

/** Most entries of one device and group. */
export function roomOf(of: Correlation): number {
  if (isClosed(of)) return MAX_VALUES + 2;
  if (isSequence(of)) return Math.max(64, 2 * RUN * of.rules.length);
  if (isStepped(of)) return 2 * STEPS + 2;
  return Math.max(20, 2 * atLeast(of.bounds));
}

export const newWindow = (): Window => ({ entries: [], tally: undefined, firedMs: undefined });

/** Of a group with nothing in it, in entries. */
export const OVERHEAD = 4;
/** What it costs to keep, in entries. */
export const sizeOf = ({ entries, tally }: Window): number => OVERHEAD + entries.length + (tally ? tally.values.size : 0);

/** Puts an event in its place. Returns it as it stands there now, undefined when it has none. `nowMs`: the broker's time. */
export function put(window: Window, of: Correlation, entry: Entry, nowMs: number): Entry | undefined {
  const { entries } = window;
  let at = entries.length;
  while (at > 0 && entries[at - 1]!.timeMs > entry.timeMs) at--;
  if (of.type === "value_count") {
    const same = entries.findIndex(({ what }) => what === entry.what);
    // Of the same value the last time counts.
    if (same >= at) return undefined;
    if (same >= 0) {
      entries.splice(same, 1);
      at--;
    }
  }
  entries.splice(at, 0, entry);
  if (isSequence(of)) shortenRun(entries, at);
  trim(window, of, nowMs);
  if (isStepped(of)) return window.entries.findLast(({ timeMs }) => timeMs <= entry.timeMs);
  return window.entries.includes(entry) ? entry : undefined;
}

/** Among so many of one rule with nothing between, the first is worth nothing: what follows is nearer to the last, what went before has been told. */
function shortenRun(entries: Entry[], at: number): void {
  const { what } = entries[at]!;
  let first = at;
  let last = at;
  while (first > 0 && entries[first - 1]!.what === what) first--;
  while (last + 1 < entries.length && entries[last + 1]!.what === what) last++;
  if (last - first + 1 > RUN) entries.splice(first, 1);
}

function trim(window: Window, of: Correlation, nowMs: number): void {
  const { entries } = window;
  const newestMs = entries.at(-1)!.timeMs;
  const isOver = ({ timeMs, receivedMs }: Entry) =>
    newestMs - timeMs > of.timespanMs && Math.abs(nowMs - receivedMs) > of.timespanMs + AWAY_MS;
  let over = 0;
  while (over < entries.length && isOver(entries[over]!)) over++;
  if (over > 0) entries.splice(0, over);
  if (isStepped(of) && entries.length > 2 * STEPS) window.entries = inSteps(entries, Math.ceil(of.timespanMs / STEPS));
  const excess = window.entries.length - roomOf(of);
  if (excess > 0) window.entries.splice(0, excess);
}

function inSteps(entries: readonly Entry[], stepMs: number): Entry[] {
  const merged: Entry[] = [];
  for (const entry of entries) {
    const last = merged.at(-1);
    if (last && Math.floor(last.timeMs / stepMs) === Math.floor(entry.timeMs / stepMs))
      merged[merged.length - 1] = { ...entry, timeMs: last.timeMs, count: last.count + entry.count, sum: last.sum + entry.sum };
    else merged.push(entry);
  }
  return merged;
}

/** Counts an event in a window that is judged when it is over. False when there was no room for its value. */
export function tell(tally: Tally, entry: Entry): boolean {
  tally.count++;
  tally.sum += entry.sum;
  if (tally.ids.length < MAX_IDS) tally.ids.push(entry.id);
  if (entry.what === "") return true;
  const known = tally.values.get(entry.what);
  if (known === undefined && tally.values.size >= MAX_VALUES) return false;
  tally.values.set(entry.what, (known ?? 0) + 1);
  return true;
}

/** As text, and back. Ids are written without their device's name, and only those that an alert would show. */
export function encodeWindow({ entries, tally, firedMs }: Window, device: string, keepIds: number): string {
  const short = (id: string) => (id.startsWith(`${device}:`) ? id.slice(device.length) : id);
  const from = entries.length - keepIds;
  return JSON.stringify({
    e: entries.map(({ timeMs, receivedMs, id, what, count, sum }, at) => [
      timeMs,
      receivedMs,
      at < from ? "" : short(id),
      what,
      count,
      sum,
    ]),
    ...(firedMs === undefined ? {} : { f: firedMs }),
    ...(tally && {
      t: [tally.startMs, tally.receivedMs, tally.count, tally.sum, [...tally.values], tally.ids.map(short), tally.shown],
    }),
  });
}

type Stored = {
  e: [number, number, string, string, number, number][];
  f?: number;
  t?: [number, number, number, number, [string, number][], string[], string[]];
};

/** Throws where the text is none of `encodeWindow`'s. */
export function decodeWindow(text: string, device: string): Window {
  const { e, f, t } = JSON.parse(text) as Stored;
  const long = (id: string) => (id.startsWith(":") ? device + id : id);
  return {
    entries: e.map(([timeMs, receivedMs, id, what, count, sum]) => ({ timeMs, receivedMs, id: long(id), what, count, sum })),
    firedMs: f,
    tally: t && {
      startMs: t[0],
      receivedMs: t[1],
      count: t[2],
      sum: t[3],
      values: new Map(t[4]),
      ids: t[5].map(long),
      shown: t[6],
    },
  };
}
