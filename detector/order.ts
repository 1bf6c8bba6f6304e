// Events in the order in which their device numbered them, although batches with hits overtake others. No clock but the log's:
// what is put where depends on nothing but the last minute of the log, so a restarted detector, which reads that again, does the same.
import type { BatchHeader } from "@picket/protocol/batch";
import { ORDER_MS, RECEIVED_MS } from "@picket/protocol/feed";
import type { Judged, Report } from "./finding.ts";
import type { Pipeline } from "./pipeline.ts";

/** Runs remembered of one epoch of a device: what it can have in flight at once, many times over. */
const MAX_RUNS = 1024;
/** How often they are gone through for one batch: in the order of numbers once is enough. */
const MAX_PASSES = 8;
/** Events that may wait, of one epoch of a device and in all: past it a device's own are passed on as they are. */
const MAX_WAITING = 2000;
const MAX_WAITING_IN_ALL = 20_000;

type Run = { readonly start: number; readonly end: number; readonly receivedMs: number };

type Waiting = {
  readonly report: Report;
  /** Lowest number its device still held when it sent this one. */
  readonly oldest: number;
  /** Its rules were judged, or are about to be. */
  isAhead: boolean;
  judged: Judged | undefined;
};

type Epoch = { runs: Run[]; waiting: Waiting[] };

/** What to do next. "whole": judge and correlate. "ahead": judge its rules, correlate it later. "after": correlate what was judged ahead, at the time of the batch that let it pass and `silent` as that. */
export type Step =
  | { readonly kind: "whole"; readonly report: Report }
  | { readonly kind: "ahead"; readonly report: Report; readonly waiting: Waiting }
  | { readonly kind: "after"; readonly waiting: Waiting; readonly at: At };

type At = { readonly receivedMs: number; readonly silent: boolean };

export class Order {
  /** By device and epoch. */
  readonly #epochs = new Map<string, Epoch>();
  /** Those in which something waits. */
  readonly #held = new Set<Epoch>();
  #waiting = 0;
  #clearedMs = 0;

  /** Takes the events of one batch of the log, and returns what is to be done before the next batch, in order. */
  take(of: { header: BatchHeader; receivedMs: number; silent: boolean; reports: readonly Report[] }): Step[] {
    const { header, receivedMs, reports } = of;
    const steps: Step[] = [];
    for (const epoch of this.#held) {
      // A restarted detector would not know of it any more: its rules have raised their alerts, and that is all there is.
      this.#drop(epoch, lastLate(epoch, receivedMs, RECEIVED_MS));
      this.#release(epoch, lastLate(epoch, receivedMs, ORDER_MS), of, steps);
    }
    this.#clear(receivedMs);
    const key = `${header.device}\n${header.epoch}`;
    let epoch = this.#epochs.get(key);
    if (!epoch) {
      epoch = { runs: [], waiting: [] };
      this.#epochs.set(key, epoch);
    }
    note(epoch, header, receivedMs);
    const missing = firstMissing(epoch, header.oldest);
    const last = header.runs.at(-1)!;
    if (epoch.waiting.length === 0 && missing >= last[0] + last[1]) {
      for (const report of reports) steps.push({ kind: "whole", report });
      return steps;
    }
    for (const report of reports) epoch.waiting.push({ report, oldest: header.oldest, isAhead: false, judged: undefined });
    this.#waiting += reports.length;
    epoch.waiting.sort((a, b) => a.report.event.seq - b.report.event.seq);
    this.#held.add(epoch);
    this.#release(epoch, lastComplete(epoch), of, steps);
    const room = this.#waiting > MAX_WAITING_IN_ALL ? 0 : MAX_WAITING;
    this.#release(epoch, epoch.waiting.length - room - 1, of, steps);
    for (const waiting of epoch.waiting) {
      if (waiting.isAhead) continue;
      waiting.isAhead = true;
      steps.push({ kind: "ahead", report: waiting.report, waiting });
    }
    return steps;
  }

  /** What waits in the end, when nothing follows any more. */
  rest(receivedMs: number): Step[] {
    const steps: Step[] = [];
    for (const epoch of this.#held) this.#release(epoch, epoch.waiting.length - 1, { receivedMs, silent: false }, steps);
    return steps;
  }

  /** As if nothing had come of a device. */
  forget(device: string): void {
    for (const [key, epoch] of this.#epochs) {
      if (!key.startsWith(`${device}\n`)) continue;
      this.#drop(epoch, epoch.waiting.length - 1);
      this.#epochs.delete(key);
    }
  }

  #drop(epoch: Epoch, last: number): void {
    this.#waiting -= epoch.waiting.splice(0, last + 1).length;
    if (epoch.waiting.length === 0) this.#held.delete(epoch);
  }

  /** Passes on everything up to index `last`. */
  #release(epoch: Epoch, last: number, { receivedMs, silent }: At, steps: Step[]): void {
    if (last < 0) return;
    for (const waiting of epoch.waiting.splice(0, last + 1)) {
      this.#waiting--;
      steps.push(waiting.isAhead ? { kind: "after", waiting, at: { receivedMs, silent } } : { kind: "whole", report: waiting.report });
    }
    if (epoch.waiting.length === 0) this.#held.delete(epoch);
  }

  /** Forgets epochs of which nothing came lately. Decides nothing. */
  #clear(nowMs: number): void {
    if (Math.abs(nowMs - this.#clearedMs) < RECEIVED_MS) return;
    this.#clearedMs = nowMs;
    for (const [key, { runs, waiting }] of this.#epochs)
      if (waiting.length === 0 && runs.every((run) => Math.abs(nowMs - run.receivedMs) > RECEIVED_MS)) this.#epochs.delete(key);
  }
}

/** Does one step. Never throws on what a device can send. */
export function perform(pipeline: Pipeline, step: Step): void {
  if (step.kind === "whole") pipeline.handle(step.report.event, step.report.arrival, step.report.findings);
  else if (step.kind === "ahead") step.waiting.judged = pipeline.judgeAhead(step.report);
  // Undefined where judging it failed, which was said then.
  else if (step.waiting.judged) pipeline.correlate(step.waiting.judged, step.at);
}

/** Takes in what a batch brought, and forgets what is older than `RECEIVED_MS`. */
function note(epoch: Epoch, { runs }: BatchHeader, receivedMs: number): void {
  const kept = epoch.runs.filter((run) => Math.abs(receivedMs - run.receivedMs) <= RECEIVED_MS);
  for (const [start, count] of runs) kept.push({ start, end: start + count, receivedMs });
  epoch.runs = kept.length > MAX_RUNS ? kept.slice(-MAX_RUNS) : kept;
}

/** The lowest number from `oldest` on that did not come. */
function firstMissing({ runs }: Epoch, oldest: number): number {
  let at = oldest;
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    const before = at;
    for (const { start, end } of runs) if (start <= at && at < end) at = end;
    if (at === before) break;
  }
  return at;
}

/** Index of the last one that has waited for longer than that, -1 when none has. */
const lastLate = ({ waiting }: Epoch, nowMs: number, forMs: number): number =>
  waiting.findLastIndex(({ report }) => Math.abs(nowMs - report.arrival.receivedMs) > forMs);

/** Index of the last one before which nothing is missing, -1 when there is none. */
function lastComplete(epoch: Epoch): number {
  const missing = new Map<number, number>();
  return epoch.waiting.findLastIndex(({ report, oldest }) => {
    let from = missing.get(oldest);
    if (from === undefined) {
      from = firstMissing(epoch, oldest);
      missing.set(oldest, from);
    }
    return report.event.seq < from;
  });
}
