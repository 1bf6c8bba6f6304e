// What a simulated device did, written where no fault reaches it and before anything else knows: the truth a run is judged by.
import { closeSync, existsSync, openSync, readFileSync, writeSync } from "node:fs";

/** plain: a log line. site: a program start that a rule of the site matches. local: one that a rule on the device matches. */
export type Kind = "plain" | "site" | "local";

export type Diary = Disposable & {
  /** A run begins. `atMs` is of a clock that never jumps, here and below. */
  epoch(epoch: string, atMs: number): void;
  /** An event is about to be made; it gets this number unless it is shed. */
  attempt(of: { seq: number; atMs: number; timeMs: number; kind: Kind; what: string }): void;
  /** The last attempt got no number. */
  shed(): void;
  /** The turn of the event loop is over, with this number next: what has a lower one is from here on the agent's to keep or to count. */
  turn(next: number): void;
  /** The broker has acknowledged these numbers. */
  acknowledged(epoch: string, seqs: readonly number[]): void;
};

/** Opens a diary to append. Every line is in the kernel's hands when the call returns, so that kill -9 takes none back. */
export function openDiary(path: string): Diary {
  const file = openSync(path, "a");
  const line = (...fields: (string | number)[]) => void writeSync(file, `${fields.join("\t")}\n`);
  return {
    epoch: (epoch, atMs) => line("epoch", epoch, atMs),
    attempt: ({ seq, atMs, timeMs, kind, what }) => line("attempt", seq, atMs, timeMs, kind, what),
    shed: () => line("shed"),
    turn: (next) => line("turn", next),
    acknowledged: (epoch, seqs) => line("ack", epoch, seqs.join(",")),
    [Symbol.dispose]: () => closeSync(file),
  };
}

export type Attempt = { readonly atMs: number; readonly timeMs: number; readonly kind: Kind; readonly what: string };
/** One run of a device's agent. */
export type Run = {
  readonly epoch: string;
  readonly startedMs: number;
  /** By number. Numbers in between were given to what the agent says of itself. */
  readonly attempts: Map<number, Attempt>;
  /** Attempts of the turn in which the run ended: like what is still in the kernel, they may have been made or not. */
  readonly unsure: Set<number>;
  /** The number after the last that is sure. */
  next: number;
  /** Attempts that got no number; of those of the turn in which the run ended, the count may have ended with it. */
  shed: number;
  shedUnsure: number;
  readonly acknowledged: Set<number>;
};

/** Reads a diary, each run in order. A line torn by a kill at its end is left out. */
export function readDiary(path: string): Run[] {
  const runs = new Map<string, Run>();
  let run: Run | undefined;
  let last: { seq: number; attempt: Attempt } | undefined;
  const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
  for (const text of lines) {
    const [word, ...fields] = text.split("\t");
    if (word === "epoch") {
      run = {
        epoch: fields[0]!,
        startedMs: Number(fields[1]),
        attempts: new Map(),
        unsure: new Set(),
        next: 0,
        ...{ shed: 0, shedUnsure: 0 },
        acknowledged: new Set(),
      };
      runs.set(run.epoch, run);
    } else if (word === "attempt") {
      last = {
        seq: Number(fields[0]),
        attempt: { atMs: Number(fields[1]), timeMs: Number(fields[2]), kind: fields[3] as Kind, what: fields[4]! },
      };
      run!.attempts.set(last.seq, last.attempt);
      run!.unsure.add(last.seq);
    } else if (word === "turn") {
      run!.unsure.clear();
      run!.shed += run!.shedUnsure;
      run!.shedUnsure = 0;
      run!.next = Number(fields[0]);
    } else if (word === "shed") {
      run!.attempts.delete(last!.seq);
      run!.unsure.delete(last!.seq);
      run!.shedUnsure++;
    } else if (word === "ack") {
      for (const seq of fields[1]!.split(",")) runs.get(fields[0]!)?.acknowledged.add(Number(seq));
    }
  }
  return [...runs.values()];
}
