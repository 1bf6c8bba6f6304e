// Whether a window says what a correlation asks for. Pure: what the entries are decides, not the order in which they came.
import { atLeast, type Correlation, holds } from "@picket/rules/correlation/correlation";
import type { Entry, Tally } from "./part.ts";

/** The events that make a correlation true, oldest first, and what is said of them. */
export type Found = { readonly entries: readonly Entry[]; readonly value: number };

/**
 * Looks for a window no longer than the timespan that holds `entry` and satisfies the correlation. `entries` are all of its group,
 * rising by time, with `entry` among them. Of several windows the one that ends first.
 */
export function judge(of: Correlation, entries: readonly Entry[], entry: Entry): Found | undefined {
  if (of.type === "temporal_ordered") return inOrder(of, entries, entry);
  const at = entries.indexOf(entry);
  let start = at;
  while (start > 0 && entry.timeMs - entries[start - 1]!.timeMs <= of.timespanMs) start--;
  for (let end = at; end < entries.length && entries[end]!.timeMs - entry.timeMs <= of.timespanMs; end++) {
    while (entries[end]!.timeMs - entries[start]!.timeMs > of.timespanMs) start++;
    const value = measure(of, entries, start, end);
    if (isEnough(of, value)) return { entries: entries.slice(start, end + 1), value };
  }
  return undefined;
}

function isEnough({ type, bounds, rules }: Correlation, value: number): boolean {
  if (type !== "temporal") return holds(bounds, value);
  return value >= (atLeast(bounds) || rules.length);
}

function measure({ type }: Correlation, entries: readonly Entry[], start: number, end: number): number {
  let total = 0;
  if (type === "event_count") for (let at = start; at <= end; at++) total += entries[at]!.count;
  else if (type === "value_sum") for (let at = start; at <= end; at++) total += entries[at]!.sum;
  else {
    const different = new Set<string>();
    for (let at = start; at <= end; at++) different.add(entries[at]!.what);
    total = different.size;
  }
  return total;
}

/** The tightest sequence of all rules that `entry` is part of. */
function inOrder({ rules, timespanMs }: Correlation, entries: readonly Entry[], entry: Entry): Found | undefined {
  const found: Entry[] = [entry];
  const stage = Number(entry.what);
  let at = entries.indexOf(entry);
  for (let wanted = stage - 1; wanted >= 0; wanted--) {
    do at--;
    while (at >= 0 && (entries[at]!.what !== String(wanted) || entries[at]!.id === found[0]!.id));
    if (at < 0) return undefined;
    found.unshift(entries[at]!);
  }
  at = entries.indexOf(entry);
  for (let wanted = stage + 1; wanted < rules.length; wanted++) {
    do at++;
    while (at < entries.length && (entries[at]!.what !== String(wanted) || entries[at]!.id === found.at(-1)!.id));
    if (at >= entries.length) return undefined;
    found.push(entries[at]!);
  }
  return found.at(-1)!.timeMs - found[0]!.timeMs <= timespanMs ? { entries: found, value: rules.length } : undefined;
}

/** What a window that is over comes to, where that is what the correlation asks for; of a share the value it is of. */
export function judgeTally(of: Correlation, tallies: readonly Tally[]): { value: number; of?: string } | undefined {
  const count = tallies.reduce((total, tally) => total + tally.count, 0);
  const sum = tallies.reduce((total, tally) => total + tally.sum, 0);
  if (of.type === "value_percentile") {
    for (const [what, times] of sharesOf(tallies)) {
      const value = (100 * times) / count;
      if (holds(of.bounds, value)) return { value, of: what };
    }
    return undefined;
  }
  const value =
    of.type === "value_avg" ? sum / count : of.type === "value_sum" ? sum : of.type === "value_count" ? sharesOf(tallies).length : count;
  return holds(of.bounds, value) ? { value } : undefined;
}

/** Rarest first; of the same number by name. */
function sharesOf(tallies: readonly Tally[]): [string, number][] {
  const all = new Map<string, number>();
  for (const { values } of tallies) for (const [what, times] of values) all.set(what, (all.get(what) ?? 0) + times);
  return [...all].sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1));
}
