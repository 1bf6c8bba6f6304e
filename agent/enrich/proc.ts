// /proc(5), as far as the process tree needs it. Everything may vanish between two reads: absent is undefined, never an error.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export type Stat = {
  readonly ppid: number;
  readonly comm: string;
  readonly kernelThread: boolean;
  readonly dead: boolean;
  readonly startTicks: number;
};

/** What enrichment reads about live processes. Tests pass their own. */
export type Proc = {
  pids(): number[];
  stat(pid: number): Stat | undefined;
  uid(pid: number): number | undefined;
  argv(pid: number): string[] | undefined;
  /** Where a link of /proc/PID leads: exe, cwd, root, fd/N. */
  link(pid: number, name: string): string | undefined;
  /** Number of threads that are not gone. */
  threads(pid: number): number;
  cgroup(pid: number): string | undefined;
};

const PF_KTHREAD = 0x200000;

export const hostProc: Proc = {
  pids: () => readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : [])),
  stat: (pid) => parseStat(readOr(`/proc/${pid}/stat`)),
  uid: (pid) => {
    const line = /^Uid:\s+(\d+)/m.exec(readOr(`/proc/${pid}/status`) ?? "");
    return line ? Number(line[1]) : undefined;
  },
  argv: (pid) => {
    const text = readOr(`/proc/${pid}/cmdline`);
    if (!text) return undefined;
    return (text.endsWith("\0") ? text.slice(0, -1) : text).split("\0");
  },
  link: (pid, name) => {
    try {
      return readlinkSync(`/proc/${pid}/${name}`);
    } catch {
      return undefined;
    }
  },
  threads: (pid) => {
    try {
      return readdirSync(`/proc/${pid}/task`).length;
    } catch {
      return 0;
    }
  },
  cgroup: (pid) => readOr(`/proc/${pid}/cgroup`),
};

/** /proc/PID/stat. The name is in parentheses and may hold anything, parentheses too. */
export function parseStat(text: string | undefined): Stat | undefined {
  if (!text) return undefined;
  const comm = text.slice(text.indexOf("(") + 1, text.lastIndexOf(")"));
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const startTicks = Number(fields[19]);
  if (!Number.isInteger(startTicks)) return undefined;
  const dead = fields[0] === "Z" || fields[0] === "X";
  return { ppid: Number(fields[1]), comm, dead, kernelThread: (Number(fields[6]) & PF_KTHREAD) !== 0, startTicks };
}

function readOr(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
