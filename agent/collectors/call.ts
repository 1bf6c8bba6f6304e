// process.ptrace, process.memfd, process.io_uring, process.setuid, kernel.module, kernel.bpf and kernel.mount. Kernel side: bpf/call.bpf.h, bpf/uring.bpf.h.
import { callOp, callRecord, resultRecord } from "../bpf/layout.gen.ts";
import { AT_FDCWD, type Head } from "../processes.ts";
import type { Context, Handler } from "./collector.ts";
import { decodeHead, text } from "./record.ts";

type Call = {
  readonly op: number;
  readonly a: number;
  readonly b: number;
  readonly text: string;
  readonly second: string;
  readonly third: string;
};

type Begun = { readonly head: Head; readonly call: Call; module?: string | undefined };
/** What fsopen(2) and fsconfig(2) said of a file system that is not mounted yet. */
type FileSystem = { type?: string; source?: string };

const MAX_PENDING = 1024;
const MAX_FILE_SYSTEMS = 256;

export type CallCollector = { readonly onCall: Handler; readonly onResult: Handler };

/** `link` reads a link of /proc/PID. `onPreload`: the execve that a thread is in brings libraries along. */
export function callCollector(of: {
  link: (pid: number, name: string) => string | undefined;
  onPreload: (tid: number, entry: string) => void;
}): CallCollector {
  const pending = new Map<number, Begun>();
  const fileSystems = new Map<number, FileSystem>();
  const fileSystemOf = (pid: number) => {
    const known = fileSystems.get(pid) ?? {};
    remember(fileSystems, pid, known, MAX_FILE_SYSTEMS);
    return known;
  };
  return {
    onCall(record, context) {
      const head = decodeHead(record);
      const call = decodeCall(record);
      if (record.getUint32(callRecord.wantsResult, true) !== 0) {
        const begun: Begun = { head, call };
        // Before the process is gone, and with it the name of what it has open.
        if (call.op === callOp.module && call.b >= 0) begun.module = nameOfModule(of.link(head.pid, `fd/${call.b}`));
        remember(pending, head.tid, begun, MAX_PENDING);
      } else if (call.op === callOp.ptrace) traced(head, call, context);
      else if (call.op === callOp.bpf) usedBpf(head, call, context);
      else if (call.op === callOp.uring) usedRing(head, call, context);
      else if (call.op === callOp.preload) of.onPreload(head.tid, call.text);
      else if (call.op === callOp.fsopen) remember(fileSystems, head.pid, { type: call.text }, MAX_FILE_SYSTEMS);
      else if (call.op === callOp.fsconfig && call.text === "source") fileSystemOf(head.pid).source = call.second;
      else if (call.op === callOp.moduleName) {
        const loading = pending.get(head.tid);
        if (loading) loading.module = call.text;
      }
    },
    onResult(record, context) {
      const head = decodeHead(record);
      const begun = pending.get(head.tid);
      pending.delete(head.tid);
      if (!begun || begun.call.op !== record.getUint32(resultRecord.op, true)) return;
      const value = Number(record.getBigInt64(resultRecord.value, true));
      if (begun.call.op === callOp.module) loadedModule(begun, context);
      else if (value >= 0) succeeded(begun, value, fileSystemOf, context);
      if (begun.call.op === callOp.moveMount) fileSystems.delete(head.pid);
    },
  };
}

export function decodeCall(record: DataView): Call {
  return {
    op: record.getUint32(callRecord.op, true),
    a: Number(record.getBigUint64(callRecord.a, true)),
    b: Number(record.getBigInt64(callRecord.b, true)),
    text: text(record, callRecord.text, callRecord.textSize),
    second: text(record, callRecord.second, callRecord.secondSize),
    third: text(record, callRecord.third, callRecord.thirdSize),
  };
}

function remember<T>(map: Map<number, T>, key: number, value: T, most: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value!);
}

/** ptrace(2) and, as one of them, process_vm_writev(2). */
const requests: Readonly<Record<number, string>> = {
  4: "PTRACE_POKETEXT",
  5: "PTRACE_POKEDATA",
  13: "PTRACE_SETREGS",
  16: "PTRACE_ATTACH",
  16901: "PTRACE_SETREGSET",
  16902: "PTRACE_SEIZE",
  65536: "process_vm_writev",
};

function traced(head: Head, { a: request, b: targetPid }: Call, { processes, wallTime, emit }: Context): void {
  const name = requests[request] ?? String(request);
  emit({
    type: "process.ptrace",
    timeMs: wallTime(head.bootNs),
    body: { process: processes.describe(head), targetPid, request: name },
  });
}

/** bpf(2), those that make a program run. */
const commands: Readonly<Record<number, string>> = {
  5: "BPF_PROG_LOAD",
  8: "BPF_PROG_ATTACH",
  17: "BPF_RAW_TRACEPOINT_OPEN",
  28: "BPF_LINK_CREATE",
};

function usedBpf(head: Head, { a: command }: Call, { processes, wallTime, emit }: Context): void {
  const cmd = commands[command] ?? String(command);
  emit({ type: "kernel.bpf", timeMs: wallTime(head.bootNs), body: { process: processes.describe(head), cmd } });
}

const URING_SETUP = 0x100;
/** enum io_uring_op of <linux/io_uring.h>, those that bpf/uring.bpf.h hands over. */
const ringOperations: Readonly<Record<number, string>> = {
  13: "accept",
  16: "connect",
  18: "openat",
  28: "openat2",
  35: "renameat",
  36: "unlinkat",
  38: "symlinkat",
  39: "linkat",
  56: "bind",
  57: "listen",
  [URING_SETUP]: "setup",
};

function usedRing(head: Head, { a: operation }: Call, { processes, wallTime, emit }: Context): void {
  const op = ringOperations[operation] ?? String(operation);
  emit({ type: "process.io_uring", timeMs: wallTime(head.bootNs), body: { process: processes.describe(head), op } });
}

/** An attempt that fails is told too: most of interest about a module is that somebody wants one. */
function loadedModule({ head, module }: Begun, { processes, wallTime, emit }: Context): void {
  const name = module ?? "(from memory)";
  emit({ type: "kernel.module", timeMs: wallTime(head.bootNs), body: { process: processes.describe(head), name } });
}

const nameOfModule = (path: string | undefined) =>
  path
    ?.slice(path.lastIndexOf("/") + 1)
    .replace(/ \(deleted\)$/, "")
    .replace(/\.ko(\.\w+)?$/, "");

const MS_REMOUNT = 0x20;
const MS_BIND = 0x1000;
const MS_MOVE = 0x2000;
const MS_PROPAGATION = 0x20000 | 0x40000 | 0x80000 | 0x100000;

function succeeded({ head, call }: Begun, value: number, fileSystemOf: (pid: number) => FileSystem, context: Context): void {
  const { processes, wallTime, emit } = context;
  const timeMs = wallTime(head.bootNs);
  const process = () => processes.describe(head);
  if (call.op === callOp.memfd) {
    processes.openedFile(head, value, `/memfd:${call.text} (deleted)`);
    emit({ type: "process.memfd", timeMs, body: { process: process(), name: call.text } });
  } else if (call.op === callOp.uring) {
    usedRing(head, call, context);
  } else if (call.op === callOp.setuid) {
    emit({ type: "process.setuid", timeMs, body: { process: process(), from: head.uid, to: call.a } });
  } else if (call.op === callOp.mount && (call.a & MS_PROPAGATION) === 0) {
    const target = processes.resolve(head, AT_FDCWD, call.second) ?? call.second;
    emit({ type: "kernel.mount", timeMs, body: { process: process(), source: call.text, target, fsType: kindOf(call) } });
  } else if (call.op === callOp.moveMount) {
    const { type = "bind", source = call.text } = fileSystemOf(head.pid);
    const target = processes.resolve(head, call.b, call.second) ?? call.second;
    emit({ type: "kernel.mount", timeMs, body: { process: process(), source, target, fsType: type.slice(0, 64) } });
  }
}

/** The type of file system that mount(2) was given, or what it did instead of mounting one. */
function kindOf({ a: flags, third }: Call): string {
  if (flags & MS_REMOUNT) return "remount";
  if (flags & MS_BIND) return "bind";
  if (flags & MS_MOVE) return "move";
  return third.slice(0, 64);
}
