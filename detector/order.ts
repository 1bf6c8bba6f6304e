// Events in the order in which their device numbered them, although batches with hits overtake others. No clock but the log's:
// what is put where depends on nothing but the last minute of the log, so a restarted detector, which reads that again, does the same.
import type { BatchHeader } from "@picket/protocol/batch";
import { ORDER_MS, RECEIVED_MS } from "@picket/protocol/feed";
import type { Judged, Report } from "./finding.ts";
import type { Pipeline } from "./pipeline.ts";

/** Runs remembered of one epoch of a device: what it can have in flight at once, many times over. */
const MAX_RUNS = 1024;
/** Epochs remembered of one device: as many as a heartbeat tells of. Past it the one that was heard of the longest ago is passed on as it is. */
const MAX_EPOCHS = 64;
/** Events that may wait, of one device and in all: past it a device's own are passed on as they are. */
const MAX_WAITING = 2000;
const MAX_WAITING_IN_ALL = 20_000;

/** `nth`: of those its epoch ever had. */
type Run = { readonly start: number; readonly end: number; readonly receivedMs: number; readonly nth: number };

type Waiting = {
  readonly report: Report;
  /** Lowest number its device still held when it sent this one. */
  readonly oldest: number;
  /** Its rules were judged, or are about to be. */
  isAhead: boolean;
  judged: Judged | undefined;
};

/** `runs` rise by their start, `waiting` by its number. `firstMs` and `lastMs`: when the first and the last of what waits was received. */
type Epoch = {
  readonly of: Device;
  runs: Run[];
  noted: number;
  waiting: Waiting[];
  firstMs: number;
  lastMs: number;
};

/** Epochs are in the order in which they were heard of. */
type Device = { readonly epochs: Map<string, Epoch>; waiting: number };

/** What to do next. "whole": judge and correlate. "ahead": judge its rules, correlate it later. "after": correlate what was judged ahead, at the time of the batch that let it pass and `silent` as that. */
export type Step =
  | { readonly kind: "whole"; readonly report: Report }
  | { readonly kind: "ahead"; readonly report: Report; readonly waiting: Waiting }
  | { readonly kind: "after"; readonly waiting: Waiting; readonly at: At };

type At = { readonly receivedMs: number; readonly silent: boolean };

export class Order {
  readonly #devices = new Map<string, Device>();
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
    const epoch = this.#epochOf(header, of, steps);
    note(epoch, header, receivedMs);
    const last = header.runs.at(-1)!;
    if (epoch.waiting.length === 0 && firstMissing(epoch, header.oldest) >= last[0] + last[1]) {
      for (const report of reports) steps.push({ kind: "whole", report });
      return steps;
    }
    this.#hold(epoch, header.oldest, reports);
    this.#release(epoch, lastComplete(epoch), of, steps);
    const others = epoch.of.waiting - epoch.waiting.length;
    const room = this.#waiting > MAX_WAITING_IN_ALL ? 0 : Math.max(0, MAX_WAITING - others);
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
    for (const epoch of this.#devices.get(device)?.epochs.values() ?? []) this.#drop(epoch, epoch.waiting.length - 1);
    this.#devices.delete(device);
  }

  #epochOf({ device, epoch: name }: BatchHeader, at: At, steps: Step[]): Epoch {
    const of = this.#devices.get(device) ?? { epochs: new Map<string, Epoch>(), waiting: 0 };
    this.#devices.set(device, of);
    const epoch = of.epochs.get(name) ?? { of, runs: [], noted: 0, waiting: [], firstMs: 0, lastMs: 0 };
    of.epochs.delete(name);
    of.epochs.set(name, epoch);
    if (of.epochs.size <= MAX_EPOCHS) return epoch;
    const [oldest, forgotten] = of.epochs.entries().next().value!;
    this.#release(forgotten, forgotten.waiting.length - 1, at, steps);
    of.epochs.delete(oldest);
    return epoch;
  }

  #hold(epoch: Epoch, oldest: number, reports: readonly Report[]): void {
    const came = reports.map((report): Waiting => ({ report, oldest, isAhead: false, judged: undefined }));
    epoch.waiting = merged(epoch.waiting, came, ({ report }) => report.event.seq);
    span(epoch);
    epoch.of.waiting += came.length;
    this.#waiting += came.length;
    if (epoch.waiting.length > 0) this.#held.add(epoch);
  }

  #drop(epoch: Epoch, last: number): void {
    if (last >= 0) this.#takeOut(epoch, last);
  }

  /** Passes on everything up to index `last`. */
  #release(epoch: Epoch, last: number, { receivedMs, silent }: At, steps: Step[]): void {
    if (last < 0) return;
    for (const waiting of this.#takeOut(epoch, last))
      steps.push(waiting.isAhead ? { kind: "after", waiting, at: { receivedMs, silent } } : { kind: "whole", report: waiting.report });
  }

  #takeOut(epoch: Epoch, last: number): Waiting[] {
    const out = epoch.waiting.splice(0, last + 1);
    epoch.of.waiting -= out.length;
    this.#waiting -= out.length;
    span(epoch);
    if (epoch.waiting.length === 0) this.#held.delete(epoch);
    return out;
  }

  /** Forgets epochs of which nothing came lately. Decides nothing. */
  #clear(nowMs: number): void {
    if (Math.abs(nowMs - this.#clearedMs) < RECEIVED_MS) return;
    this.#clearedMs = nowMs;
    for (const [name, { epochs }] of this.#devices) {
      for (const [key, { runs, waiting }] of epochs)
        if (waiting.length === 0 && runs.every((run) => Math.abs(nowMs - run.receivedMs) > RECEIVED_MS)) epochs.delete(key);
      if (epochs.size === 0) this.#devices.delete(name);
    }
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
  const came = runs.map(([start, count], at): Run => ({ start, end: start + count, receivedMs, nth: epoch.noted + at }));
  epoch.noted += came.length;
  const kept = epoch.runs.filter((run) => Math.abs(receivedMs - run.receivedMs) <= RECEIVED_MS && run.nth >= epoch.noted - MAX_RUNS);
  epoch.runs = merged(kept, came, ({ start }) => start);
}

/** Two lists that rise, as one; of equals the first list's go first. */
function merged<T>(a: readonly T[], b: readonly T[], by: (of: T) => number): T[] {
  const all: T[] = [];
  let at = 0;
  for (const one of b) {
    while (at < a.length && by(a[at]!) <= by(one)) all.push(a[at++]!);
    all.push(one);
  }
  while (at < a.length) all.push(a[at++]!);
  return all;
}

/** The lowest number from `oldest` on that did not come. */
function firstMissing({ runs }: Epoch, oldest: number): number {
  let at = oldest;
  for (const { start, end } of runs) {
    if (start > at) break;
    if (at < end) at = end;
  }
  return at;
}

/** Notes between which times of receipt all that waits came. */
function span(epoch: Epoch): void {
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (const { report } of epoch.waiting) {
    first = Math.min(first, report.arrival.receivedMs);
    last = Math.max(last, report.arrival.receivedMs);
  }
  epoch.firstMs = first;
  epoch.lastMs = last;
}

/** Index of the last one that has waited for longer than that, -1 when none has. */
function lastLate({ waiting, firstMs, lastMs }: Epoch, nowMs: number, forMs: number): number {
  if (nowMs - firstMs <= forMs && lastMs - nowMs <= forMs) return -1;
  return waiting.findLastIndex(({ report }) => Math.abs(nowMs - report.arrival.receivedMs) > forMs);
}

/** Index of the last one before which nothing is missing, -1 when there is none. */
function lastComplete({ runs, waiting }: Epoch): number {
  // What came, without gaps: a device may claim another `oldest` with each of its events.
  const whole: { start: number; end: number }[] = [];
  for (const { start, end } of runs) {
    const last = whole.at(-1);
    if (last && start <= last.end) last.end = Math.max(last.end, end);
    else whole.push({ start, end });
  }
  return waiting.findLastIndex(({ report, oldest }) => report.event.seq < endOf(whole, oldest));
}

/** The end of the one that holds `at`; `at` itself where none does. They rise and do not touch. */
function endOf(whole: readonly { readonly start: number; readonly end: number }[], at: number): number {
  let low = 0;
  for (let high = whole.length; low < high; ) {
    const middle = (low + high) >> 1;
    if (whole[middle]!.start <= at) low = middle + 1;
    else high = middle;
  }
  return Math.max(at, whole[low - 1]?.end ?? at);
}
