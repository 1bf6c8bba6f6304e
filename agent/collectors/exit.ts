// process.exit. Kernel side: bpf/exit.bpf.h.
import { exitRecord as at, exitCause } from "../bpf/layout.gen.ts";
import type { Context, Handler } from "./collector.ts";
import { decodeHead } from "./record.ts";

type Head = ReturnType<typeof decodeHead>;

export type Exit = {
  /** Status given to exit, 0-255; -1 when nobody saw it. */
  readonly exitCode: number;
  /** The signal that ended the process; 0 when none did. */
  readonly signal: number;
  /** Before Linux 6.16 the kernel does not say whether this thread was the last. */
  readonly maybeAlive: boolean;
};

/**
 * Reports the end of every process, when its last thread is gone. `settle` is to be called when every record there was has been taken; with `lookAgain` it looks
 * again at processes some of whose threads ended.
 */
export function exitCollector(): { readonly onExit: Handler; settle(context: Context, lookAgain: boolean): void } {
  /** Of each process, the end of the thread that ended last, where the kernel does not say that it was the last. */
  const ending = new Map<number, { readonly head: Head; readonly exit: Exit; gone: boolean }>();
  const ended = (head: Head, { exitCode, signal, maybeAlive }: Exit, { processes, wallTime, emit }: Context) => {
    const last = processes.exited(head, maybeAlive);
    if (last) emit({ type: "process.exit", timeMs: wallTime(head.bootNs), body: { ...last, exitCode, signal } });
  };
  return {
    onExit(record, context) {
      const head = decodeHead(record);
      const exit = decodeExit(record);
      ending.delete(head.pid);
      if (exit.maybeAlive) ending.set(head.pid, { head, exit, gone: !context.processes.isRunning(head.pid) });
      else ended(head, exit, context);
    },
    settle(context, lookAgain) {
      for (const [pid, end] of ending) {
        // It was gone before the records were read that have just been taken: none of its threads has more to tell.
        if (end.gone) {
          ending.delete(pid);
          ended(end.head, end.exit, context);
        } else if (lookAgain) end.gone = !context.processes.isRunning(pid);
      }
    },
  };
}

export function decodeExit(record: DataView): Exit {
  const cause = record.getUint32(at.cause, true);
  const value = record.getInt32(at.value, true);
  const maybeAlive = record.getUint32(at.maybeAlive, true) !== 0;
  switch (cause) {
    case exitCause.group:
    case exitCause.thread:
      return { exitCode: value & 0xff, signal: 0, maybeAlive };
    case exitCause.signal:
      // As a shell counts: 128 + signal.
      return { exitCode: 128 + value, signal: value, maybeAlive };
    default:
      return { exitCode: -1, signal: 0, maybeAlive };
  }
}
