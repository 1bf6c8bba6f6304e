// An operator's order to look into a process: its memory goes to a file, is reported by its hash like any other, and the site asks for it.
import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Process } from "@picket/protocol/event";
import { memoryPath } from "@picket/protocol/memory";
import { type Dump, dumpMemory } from "./dump.ts";

/** A site that has not asked until then does not get it. */
const KEEP_MS = 10 * 60_000;
/** Dumps kept; each is 32 MiB at most. */
const MAX_KEPT = 2;
const MB = 1 << 20;

export type MemoryPorts = {
  /** Made when needed, emptied at start; 0700. */
  readonly dir: string;
  readonly ownPid: number;
  /** The process now; undefined when there is none of that number. A thread of the kernel has no memory of its own. */
  readonly describe: (pid: number) => { readonly process: Process; readonly kernelThread: boolean } | undefined;
  /** Reports the dump: the site may ask for it from then on. */
  readonly found: (of: { readonly process: Process; readonly path: string; readonly sha256: string; readonly size: number }) => void;
  readonly nowMs: () => number;
};

export type MemoryScan = AsyncDisposable & {
  /** Reads the memory of a process. Never rejects: why nothing was read is in the message. */
  scan(of: { readonly pid: number; readonly startTicks?: number | undefined }): Promise<Scanned>;
  has(sha256: string): boolean;
  open(
    sha256: string,
  ): Promise<(Disposable & { readonly size: number; read(offset: number, max: number): Promise<Buffer | undefined> }) | undefined>;
};

export type Scanned = { readonly ok: boolean; readonly message: string; readonly sample?: string };

export function createMemoryScan(ports: MemoryPorts): MemoryScan {
  const { dir, describe } = ports;
  const kept = new Map<string, { readonly path: string; readonly size: number; readonly timer: ReturnType<typeof setTimeout> }>();
  const emptied = rm(dir, { recursive: true, force: true }).catch(() => undefined);
  let made = 0;

  const letGo = async (sha256: string) => {
    const one = kept.get(sha256);
    if (!one) return;
    kept.delete(sha256);
    clearTimeout(one.timer);
    await rm(one.path, { force: true });
  };
  const keep = async (path: string, { sha256, size }: Dump) => {
    await letGo(sha256);
    const timer = setTimeout(() => void letGo(sha256), KEEP_MS);
    timer.unref();
    kept.set(sha256, { path, size, timer });
    for (const oldest of [...kept.keys()].slice(0, -MAX_KEPT)) await letGo(oldest);
  };

  const scanNow: MemoryScan["scan"] = async ({ pid, startTicks }) => {
    if (pid === ports.ownPid) return no("this is the agent itself, which holds the keys of the device: its memory never leaves");
    const before = describe(pid);
    if (!before) return no(`there is no process ${pid} here (any more); take the pid from an event or alert of this device`);
    if (before.kernelThread) return no(`${pid} is a thread of the kernel: it has no memory of its own`);
    const { process } = before;
    if (startTicks !== undefined && process.startTicks !== startTicks)
      return no(`process ${pid} is another one now: ${process.exe}, started at tick ${process.startTicks}, not ${startTicks}`);
    await emptied;
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const path = join(dir, `${ports.nowMs()}-${++made}`);
    let used = false;
    try {
      const dump = await dumpMemory(pid, path);
      // The number may have gone to another process while its memory was read.
      if (describe(pid)?.process.startTicks !== process.startTicks) return no(`process ${pid} ended while its memory was read`);
      if (!dump) return no(`${process.exe} (pid ${pid}) has no memory that can be read`);
      await keep(path, dump);
      used = true;
      ports.found({ process, path: memoryPath(pid), sha256: dump.sha256, size: dump.size });
      return { ok: true, message: wordsOf(process, dump), sample: dump.sha256 };
    } finally {
      if (!used) await rm(path, { force: true });
    }
  };

  return {
    scan: (of) => scanNow(of).catch((error: unknown) => no(reasonOf(error, of.pid))),
    has: (sha256) => kept.has(sha256),
    open: async (sha256) => {
      const one = kept.get(sha256);
      const file = one && (await open(one.path, "r").catch(() => undefined));
      return file && opened(file, one.size);
    },
    [Symbol.asyncDispose]: async () => {
      for (const sha256 of [...kept.keys()]) await letGo(sha256);
    },
  };
}

function opened(file: FileHandle, size: number) {
  return {
    size,
    read: async (offset: number, max: number) => {
      const bytes = Buffer.allocUnsafe(Math.min(max, size - offset));
      const { bytesRead } = await file.read(bytes, 0, bytes.length, offset);
      return bytesRead === 0 ? undefined : bytes.subarray(0, bytesRead);
    },
    [Symbol.dispose]: () => void file.close(),
  };
}

const no = (message: string): Scanned => ({ ok: false, message });

const wordsOf = ({ exe, pid }: Process, { bytes, places, leftOut }: Dump) =>
  `read ${(bytes / MB).toFixed(1)} MiB in ${places} places of ${exe.slice(0, 200)} (pid ${pid})${leftOut ? "; the rest did not fit into the 32 MiB of a sample" : ""}`;

function reasonOf(error: unknown, pid: number): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOENT" || code === "ESRCH") return `process ${pid} ended while its memory was read`;
  if (code === "EACCES" || code === "EPERM")
    return `the kernel does not let this agent read process ${pid}: it runs without CAP_SYS_PTRACE, or a security module forbids it`;
  if (code === "ENOSPC") return "there is no room on the disk of this device for the memory of the process";
  return error instanceof Error ? error.message : String(error);
}
