// process.exec and process.exit from what the proc connector or a look into /proc tells.
import type { EventDraft, Process } from "@picket/protocol/event";
import type { Head, Processes } from "../processes.ts";
import type { Change } from "./proc-connector.ts";
import type { Difference, Proc } from "./proc-table.ts";

export type ProgramOptions = {
  readonly proc: Proc;
  readonly processes: Processes;
  readonly wallTime: (bootNs: bigint) => number;
  readonly bootNowNs: () => bigint;
  readonly emit: (draft: EventDraft) => void;
  /** The far end of what a process reads from and writes to, where that is a TCP connection. */
  readonly stdio: (process: Process) => { fds: number[]; ip: string; port: number } | undefined;
  /** The environment a program was started with; undefined when it is gone. */
  readonly environment: (pid: number) => string | undefined;
};

const TICK_NS = 10_000_000n; // USER_HZ is 100.

export type Programs = {
  /** What the kernel told. */
  changed(change: Change): void;
  /** What /proc shows. */
  differs(difference: Difference): void;
  /** Ends that could not be told at once, because other threads of the process still ran. */
  settle(): void;
  /** Forgets processes that are gone. */
  sweep(): void;
  /** What collectors say about a process of which only the number is known. */
  head(pid: number): Head;
};

/** Follows processes. Their users are kept until they end: events come when they may be gone. */
export function createPrograms(options: ProgramOptions): Programs {
  const { proc, processes, emit } = options;
  const uids = new Map<number, number>();
  const ending = new Map<number, { status: number; bootNs: bigint }>();
  const uidOf = (pid: number) => {
    const uid = uids.get(pid) ?? proc.uid(pid);
    if (uid !== undefined) uids.set(pid, uid);
    return uid ?? -1;
  };
  const headAt = (pid: number, bootNs: bigint): Head => ({ bootNs, cgroup: 0n, pid, tid: pid, uid: uidOf(pid), comm: "" });

  const executed = (pid: number, bootNs: bigint) => {
    // First of all: in a moment it may be gone.
    const exe = proc.link(pid, "exe")?.replace(/ \(deleted\)$/, "");
    const argv = proc.argv(pid);
    const preload = /(?:^|\0)(LD_(?:PRELOAD|AUDIT)=[^\0]+)/.exec(options.environment(pid) ?? "")?.[1]?.slice(0, 4096);
    const cwd = proc.link(pid, "cwd");
    uids.set(pid, proc.uid(pid) ?? uidOf(pid));
    const image = exe === undefined ? { path: proc.stat(pid)?.comm ?? "", onlyName: true } : { path: exe };
    const head = headAt(pid, bootNs);
    if (cwd !== undefined) processes.movedTo(head, cwd.replace(/ \(deleted\)$/, ""), 0);
    const process = processes.executed(head, { ...image, argv, truncated: argv === undefined });
    const stdio = options.stdio(process);
    const body = { process, ...(preload === undefined ? {} : { preload }), ...(stdio ? { stdio } : {}) };
    emit({ type: "process.exec", timeMs: options.wallTime(bootNs), body });
  };
  const exited = (pid: number, bootNs: bigint, how: { exitCode: number; signal: number }) => {
    ending.delete(pid);
    const last = processes.exited(headAt(pid, bootNs), true);
    uids.delete(pid);
    if (last) emit({ type: "process.exit", timeMs: options.wallTime(bootNs), body: { ...last, ...how } });
  };
  const threadEnded = (pid: number, tid: number, end: { status: number; bootNs: bigint }) => {
    if (pid !== tid && !ending.has(pid)) return; // Its first thread has not ended.
    if (processes.isRunning(pid)) ending.set(pid, end);
    else exited(pid, end.bootNs, howOf(end.status));
  };
  return {
    changed(change) {
      const { kind, pid } = change;
      if (kind === "uid") uids.set(pid, change.uid);
      else if (kind === "exec") executed(pid, change.bootNs);
      else if (kind === "exit") threadEnded(pid, change.tid, change);
      else {
        uids.set(pid, uidOf(change.parent));
        processes.forked(headAt(change.parent, change.bootNs), pid, false);
      }
    },
    differs({ kind, pid, ...rest }) {
      if (kind === "exit") return exited(pid, options.bootNowNs(), unseen);
      const { startTicks, sinceStart } = { sinceStart: true, startTicks: 0, ...rest };
      if (kind === "exec") executed(pid, sinceStart ? BigInt(startTicks) * TICK_NS : options.bootNowNs());
      else processes.describe(headAt(pid, options.bootNowNs()));
    },
    settle() {
      for (const [pid, { status, bootNs }] of ending) if (!processes.isRunning(pid)) exited(pid, bootNs, howOf(status));
    },
    sweep() {
      const running = new Set(proc.pids());
      for (const pid of uids.keys()) if (!running.has(pid)) uids.delete(pid);
    },
    head: (pid) => headAt(pid, options.bootNowNs()),
  };
}

/** Nobody saw how it ended: the same numbers as the sensor of the kernel gives then. */
const unseen = { exitCode: -1, signal: 0 };

/** A status as of wait(2), told as a shell counts: 128 + signal. */
function howOf(status: number): { exitCode: number; signal: number } {
  const signal = status & 0x7f;
  return signal === 0 ? { exitCode: (status >> 8) & 0xff, signal } : { exitCode: 128 + signal, signal };
}
