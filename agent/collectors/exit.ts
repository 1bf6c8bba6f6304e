// process.exit. Kernel side: bpf/exit.bpf.h.
import { exitRecord as at, exitCause } from "../bpf/layout.gen.ts";
import type { Handler } from "./collector.ts";
import { decodeHead } from "./record.ts";

export type Exit = {
  /** Status given to exit, 0-255; -1 when nobody saw it. */
  readonly exitCode: number;
  /** The signal that ended the process; 0 when none did. */
  readonly signal: number;
  /** Before Linux 6.16 the kernel does not say whether this thread was the last. */
  readonly maybeAlive: boolean;
};

/** Reports the end of every process, when its last thread is gone. */
export const onExit: Handler = (record, { processes, wallTime, emit }) => {
  const head = decodeHead(record);
  const exit = decodeExit(record);
  if (exit.maybeAlive && processes.hasThreads(head.pid)) return; // Its last thread will tell.
  const last = processes.exited(head, exit.maybeAlive);
  if (!last) return;
  const { process, durationMs } = last;
  const { exitCode, signal } = exit;
  emit({ type: "process.exit", timeMs: wallTime(head.bootNs), body: { process, exitCode, signal, durationMs } });
};

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
