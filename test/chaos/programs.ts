// Programs that are killed and come back: what a service manager does, and a list of when each ended and how.
import { bootNowMs } from "../../agent/clock.ts";
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
const KEPT_LINES = 500;

export type Command = { readonly name: string; readonly argv: readonly string[]; readonly ready: RegExp };

/** Starts a program and starts it again whenever it ends, until `stop` or disposing. */
export function supervise({ name, argv, ready }: Command): Supervised {
  const ends: End[] = [];
  const lines: string[] = [];
  let isReady = false;
  let asking: { signal: NodeJS.Signals; answer: RegExp; done: boolean } | undefined;
  let over = false;
  // A killed process may take seconds to be gone, when it has BPF programs in the kernel: it was dead from here on.
  let killedMs: number | undefined;
  let wakeMs = 0;
  let child: Program | undefined;
  const heard = (line: string) => {
    lines.push(line);
    lines.splice(0, lines.length - KEPT_LINES);
    if (asking?.answer.test(line)) asking.done = true;
    if (!ready.test(line) || killedMs !== undefined) return;
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
      ends.push({
        atMs: killedMs ?? bootNowMs(),
        asked: killedMs !== undefined,
        why: killedMs !== undefined ? "kill -9" : `ended with ${code}: ${lines.at(-1) ?? ""}`,
      });
      await Bun.sleep(killedMs !== undefined ? Math.max(0, wakeMs - bootNowMs()) : AGAIN_MS);
      killedMs = undefined;
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
      if (!child || killedMs !== undefined) return;
      killedMs = bootNowMs();
      isReady = false;
      wakeMs = killedMs + downMs;
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
