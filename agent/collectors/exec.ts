// process.exec. Kernel side: bpf/exec.bpf.h. Arguments come first and are joined by thread with what the kernel then really ran.
import type { Process } from "@picket/protocol/event";
import { argsRecord, execRecord, record as head, interpreterRecord } from "../bpf/layout.gen.ts";
import type { Handler } from "./collector.ts";
import { decodeHead, text, texts } from "./record.ts";

type Args = { readonly argv: readonly string[]; readonly truncated: boolean; readonly faulted: boolean };

/** Threads between execve's start and its success. Calls that fail are overwritten by the thread's next one, or pushed out by others. */
const MAX_PENDING = 1024;

export type ExecCollector = {
  readonly onArgs: Handler;
  readonly onInterpreter: Handler;
  readonly onExec: Handler;
  /** LD_PRELOAD or LD_AUDIT in the environment of the execve that a thread is in. */
  onPreload(tid: number, entry: string): void;
};

/** The far end of what a process reads from and writes to, where that is a TCP connection. */
export type Stdio = (process: Process) => { fds: number[]; ip: string; port: number } | undefined;

/** Reports every successful execve and execveat. */
export function execCollector(stdio: Stdio): ExecCollector {
  const args = new Map<number, Args>();
  const interpreters = new Map<number, string>();
  const preloads = new Map<number, string>();
  return {
    onPreload: (tid, entry) => remember(preloads, tid, entry),
    onArgs(record) {
      // A call that failed may have left one.
      preloads.delete(tidOf(record));
      remember(args, tidOf(record), decodeArgs(record));
    },
    onInterpreter: (record) => remember(interpreters, tidOf(record), decodeInterpreter(record)),
    onExec(record, { processes, wallTime, emit }) {
      const { oldTid, path } = decodeExec(record);
      const given = take(args, oldTid);
      const of = decodeHead(record);
      const usable = given && !given.faulted ? given.argv : undefined;
      const process = processes.executed(of, {
        path,
        interpreter: take(interpreters, oldTid),
        argv: usable,
        truncated: given?.truncated ?? false,
      });
      // The start of the arguments is better than none, when the process is gone and /proc with it.
      if (!usable && process.argv.length === 0 && given) process.argv = [...given.argv];
      const preload = take(preloads, oldTid);
      const connection = stdio(process);
      emit({
        type: "process.exec",
        timeMs: wallTime(of.bootNs),
        body: { process, ...(preload === undefined ? {} : { preload }), ...(connection ? { stdio: connection } : {}) },
      });
    },
  };
}

export function decodeArgs(record: DataView): Args {
  return {
    argv: texts(record, argsRecord.args, record.getUint32(argsRecord.argsLen, true)),
    truncated: record.getUint8(argsRecord.truncated) !== 0,
    faulted: record.getUint8(argsRecord.faulted) !== 0,
  };
}

export const decodeInterpreter = (record: DataView): string =>
  text(record, interpreterRecord.path, record.getUint32(interpreterRecord.pathLen, true));

export function decodeExec(record: DataView): { oldTid: number; path: string } {
  return {
    oldTid: record.getUint32(execRecord.oldTid, true),
    path: text(record, execRecord.path, record.getUint32(execRecord.pathLen, true)),
  };
}

const tidOf = (record: DataView) => record.getUint32(head.tid, true);

function remember<T>(pending: Map<number, T>, tid: number, value: T): void {
  pending.delete(tid);
  pending.set(tid, value);
  if (pending.size > MAX_PENDING) pending.delete(pending.keys().next().value!);
}

function take<T>(pending: Map<number, T>, tid: number): T | undefined {
  const value = pending.get(tid);
  pending.delete(tid);
  return value;
}
