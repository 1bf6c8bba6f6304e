// What collectors ask about processes, and tell: neither they nor enrich/ know the other.
import type { Process } from "@picket/protocol/event";

/** What every kernel record begins with. */
export type Head = {
  readonly bootNs: bigint;
  /** Id of the unified-hierarchy control group. */
  readonly cgroup: bigint;
  readonly pid: number;
  readonly tid: number;
  readonly uid: number;
  readonly comm: string;
};

export type Executed = {
  /** As the kernel ran it: relative paths and /dev/fd/N are still to be resolved. */
  readonly path: string;
  /** True when nobody saw the path: `path` is the short name the kernel keeps of the program. */
  readonly onlyName?: boolean | undefined;
  /** The interpreter of a script, where the kernel named it. */
  readonly interpreter?: string | undefined;
  /** Undefined when the kernel side could not copy them. */
  readonly argv?: readonly string[] | undefined;
  readonly truncated: boolean;
};

/** What it describes shares its arguments with other events: nobody may change them. */
export interface Processes {
  /** A new process (never a thread). `sibling`: its parent is the caller's parent (CLONE_PARENT). */
  forked(head: Head, child: number, sibling: boolean): void;
  /** Takes the new image and describes the process with all its ancestors. */
  executed(head: Head, executed: Executed): Process;
  /** Forgets a process and describes it a last time. Undefined for kernel threads, and with `onlyKnown` for one already forgotten. */
  exited(head: Head, onlyKnown: boolean): { process: Process; durationMs: number } | undefined;
  /** True while any thread of the process runs, one that is just ending too. */
  isRunning(pid: number): boolean;
  /** The process a record is about, complete but for ancestors. */
  describe(head: Head): Process;

  /** Absolute, normal path of what a call named, or undefined when the directory it started from is not known any more. */
  resolve(head: Head, dirFd: number, path: string): string | undefined;
  /** The path of what a process has open, while it runs. */
  opened(head: Head, fd: number): string | undefined;
  /** The path under which this process' files can be looked at from here, for as long as it lives. */
  visible(head: Head, path: string): string;
  /** The process went to `path`; undefined when nobody saw where. `near` came with it: what the kernel side now thinks of the process, 0 when it is sure. */
  movedTo(head: Head, path: string | undefined, near: number): void;
  /** The process opened a directory that later calls can start from. */
  openedDirectory(head: Head, fd: number, path: string): void;
  /** The process opened a file that has no path, such as one in memory, and may run it from its descriptor. */
  openedFile(head: Head, fd: number, name: string): void;
  /** `to` is now the same directory as `from`. */
  duplicated(head: Head, from: number, to: number): void;
}

/** The descriptor number that means "from the working directory" (openat(2)). */
export const AT_FDCWD = -100;
