// The loss ledger in words and as a row of hours, alike in the console and on the command line.
import type { Ledger, LedgerHour, LedgerTerms } from "@picket/protocol/ledger";
import { coverageWords } from "./words.ts";

const HOUR_MS = 3600_000;
const HOURS = 24;

/** One cell an hour, readable without color: how much of what was caused arrived. */
const steps = [
  { from: 1, cell: "█" },
  { from: 0.99, cell: "▇" },
  { from: 0.95, cell: "▆" },
  { from: 0.8, cell: "▅" },
  { from: 0.5, cell: "▃" },
  { from: Number.MIN_VALUE, cell: "▁" },
  { from: 0, cell: "×" },
];
/** What the cells mean. Fits a row of 80 columns behind a name of 15. */
export const LEGEND = "█ all ▇ 99% ▆ 95% ▅ 80% ▃ 50% ▁ less × none ? to come · nothing";

function cellOf(hour: LedgerHour | undefined): string {
  if (!hour || hour.caused === 0) return "·";
  if (hour.ratio === undefined) return "?";
  // Never rounded up: one event lost is not all.
  return steps.find(({ from }) => hour.ratio! >= from)!.cell;
}

/** The last 24 hours, oldest first; the last cell is the hour that runs. */
export function hoursWords({ hours }: Ledger, nowMs: number): string {
  const last = Math.floor(nowMs / HOUR_MS) * HOUR_MS;
  const byHour = new Map(hours.map((hour) => [hour.hourMs, hour]));
  return Array.from({ length: HOURS }, (_, at) => cellOf(byHour.get(last - (HOURS - 1 - at) * HOUR_MS))).join("");
}

/** Time of day here, to the minute. */
export const minuteWords = (ms: number) => new Date(ms).toTimeString().slice(0, 5);

/** "18:00 ████▅███·····??██████ 17:52" */
export const hoursLine = (ledger: Ledger, nowMs: number): string =>
  `${minuteWords((Math.floor(nowMs / HOUR_MS) - HOURS + 1) * HOUR_MS)} ${hoursWords(ledger, nowMs)} ${minuteWords(nowMs)}`;

type LossTerm = "unexplained" | "evicted" | "refused" | "power" | "kernel" | "shed";
/** Worst first: what nobody can explain, then what was worth keeping, then what was let go of on purpose. */
const losses: readonly { readonly term: LossTerm; readonly short: string; readonly words: string }[] = [
  { term: "unexplained", short: "missing without a report", words: "missing, and nobody said why: tampering, or a fault of Picket" },
  { term: "evicted", short: "dropped from its full buffer", words: "dropped from its full buffer: too long without the site" },
  { term: "refused", short: "unreadable", words: "in messages the site could not read: picket doctor shows them" },
  { term: "power", short: "lost with its power", words: "at most, lost with its power" },
  { term: "kernel", short: "dropped in the kernel", words: "dropped in the kernel: too many at once" },
  { term: "shed", short: "left out by the agent", words: "left out by the agent, to keep to its share of the machine" },
];

export type LedgerRow = { readonly name: string; readonly count: number; readonly words: string; readonly bad: boolean };

/** What became of everything the device caused: losses first, the worst before the others; what was not lost; and the sum of all. */
export function ledgerRows({ totals }: Ledger): LedgerRow[] {
  const urgent = [
    totals.evictedHit > 0 ? `${totals.evictedHit} with hits of rules` : "",
    totals.evictedResult > 0 ? `${totals.evictedResult} results of orders` : "",
  ].filter(Boolean);
  const lost = losses.flatMap(({ term, words }) => {
    const more = term === "evicted" && urgent.length > 0 ? ` (${urgent.join(", ")})` : "";
    return totals[term] > 0 ? [{ name: term, count: totals[term], words: words + more, bad: true }] : [];
  });
  const waits = { name: "waiting", count: totals.waiting, words: "still on the device, as far as the site knows", bad: false };
  return [
    ...lost,
    ...(totals.waiting > 0 ? [waits] : []),
    { name: "stored", count: totals.stored, words: "at the site", bad: false },
    { name: "caused", count: totals.caused, words: "in all: the sum of the above", bad: false },
  ];
}

/** The worst of the last hours, worst first: at most `limit` in which anything was lost. */
export const worstHours = ({ hours }: Ledger, limit: number): LedgerHour[] =>
  hours
    .filter(({ ratio, hourMs }) => hourMs > 0 && ratio !== undefined && ratio < 1)
    .sort((a, b) => a.ratio! - b.ratio!)
    .slice(0, limit);

/** "62.5 %, 312 lost: 300 dropped from its full buffer, 12 missing without a report" */
export function hourWords(hour: LedgerTerms): string {
  const lost = hour.caused - hour.stored - hour.waiting;
  const parts = losses.flatMap(({ term, short }) => (hour[term] > 0 ? [`${hour[term]} ${short}`] : []));
  return `${coverageWords({ stored: hour.stored, lost, ratio: hour.ratio ?? 0 })}, ${lost} lost: ${parts.join(", ")}`;
}
