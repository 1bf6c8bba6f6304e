// Programs that are killed and come back: what a service manager does, and a list of when each ended and how.
import { type Program, start } from "../e2e/program.ts";

/** When a program that was there was gone. `asked` is false when it ended by itself. */
export type End = { readonly atMs: number; readonly asked: boolean; readonly why: string };

export type Supervised = AsyncDisposable & {
  readonly name: string;
  readonly ends: readonly End[];
  /** kill -9 now, and up again after `downMs`. */
  kill(downMs: number): void;
  signal(signal: NodeJS.Signals): void;
  /** Asks each process once that gets ready, the one that runs now and those after it, by a signal, until one of them prints `answer`. */
  asked(signal: NodeJS.Signals, answer: RegExp): () => boolean;
  /** Whether the process that runs now has printed what it is ready by. */
  ready(): boolean;
  /** The last lines it printed, for when something is wrong. */
  tail(): readonly string[];
  /** Ends it with SIGTERM, and for good. Resolves with its exit code; -1 when it had to be killed. */
  stop(patienceMs: number): Promise<number>;
};

const AGAIN_MS = 700;
const KEPT_LINES = 60;

/** Milliseconds of a clock that no jump moves and all processes of the machine share. */
export const steadyMs = () => Math.round(Number(process.hrtime.bigint() / 1_000_000n));

export type Command = { readonly name: string; readonly argv: readonly string[]; readonly ready: RegExp };

/** Starts a program and starts it again whenever it ends, until `stop` or disposing. */
export function supervise({ name, argv, ready }: Command): Supervised {
  const ends: End[] = [];
  const lines: string[] = [];
  let isReady = false;
  let asking: { signal: NodeJS.Signals; answer: RegExp; done: boolean } | undefined;
  let over = false;
  let killed = false;
  let wakeMs = 0;
  let child: Program | undefined;
  const heard = (line: string) => {
    lines.push(line);
    lines.splice(0, lines.length - KEPT_LINES);
    if (asking?.answer.test(line)) asking.done = true;
    if (!ready.test(line)) return;
    isReady = true;
    if (asking) hit(child, asking.signal);
  };
  const run = async () => {
    while (!over) {
      child = start(argv, { heard });
      const code = await child.exited;
      child = undefined;
      isReady = false;
      if (over) return code;
      ends.push({ atMs: steadyMs(), asked: killed, why: killed ? "kill -9" : `ended with ${code}: ${lines.at(-1) ?? ""}` });
      await Bun.sleep(killed ? Math.max(0, wakeMs - steadyMs()) : AGAIN_MS);
      killed = false;
    }
    return 0;
  };
  const running = run();
  return {
    name,
    ends,
    tail: () => lines,
    ready: () => isReady,
    kill: (downMs) => {
      if (!child || killed) return;
      killed = true;
      wakeMs = steadyMs() + downMs;
      hit(child, "SIGKILL");
    },
    signal: (signal) => hit(child, signal),
    asked: (signal, answer) => {
      const request = { signal, answer, done: false };
      asking = request;
      if (isReady) hit(child, signal);
      return () => request.done;
    },
    stop: async (patienceMs) => {
      over = true;
      if (!child) return 0;
      const timer = setTimeout(() => hit(child, "SIGKILL"), patienceMs);
      hit(child, "SIGTERM");
      const code = await running;
      clearTimeout(timer);
      return code;
    },
    [Symbol.asyncDispose]: async () => {
      over = true;
      hit(child, "SIGKILL");
      await running;
    },
  };
}

/** One that has just ended is not there to be hit, and that is as good. */
function hit(child: Program | undefined, signal: NodeJS.Signals): void {
  try {
    if (child) process.kill(child.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
