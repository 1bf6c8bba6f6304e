// A process under measurement: its lines, its memory, its CPU. Ended by whoever started it, whatever happens.
import { readFileSync } from "node:fs";
import { undoneAtEnd } from "./leftovers.ts";

const PATIENCE_MS = 30_000;
const END_MS = 5000;
/** Lines kept to tell why a program did not come up. */
const KEPT_LINES = 200;
/** USER_HZ, the unit of /proc/PID/stat: 100 on every Linux that Picket runs on (time(7)). */
const TICKS_PER_S = 100;

export type Program = AsyncDisposable & {
  readonly pid: number;
  /** The first line, past or future, that matches. When none comes within 30 s, ends the program and rejects with what it printed. */
  line(pattern: RegExp): Promise<string>;
  /** Sends a signal; nothing happens when it has ended. */
  tell(signal: NodeJS.Signals): void;
  /** Asks it to end with `signal`, and resolves when it has. */
  end(signal?: NodeJS.Signals): Promise<void>;
};

export type StartOptions = {
  readonly env?: Record<string, string | undefined>;
  /** Where standard output goes instead of being read for lines; standard error is always read. */
  readonly stdout?: string;
};

/** Starts `argv`. Disposing ends it: SIGTERM, and SIGKILL five seconds later. */
export function start(argv: readonly string[], options: StartOptions = {}): Program {
  const child = Bun.spawn([...argv], {
    stdin: "ignore",
    stdout: options.stdout === undefined ? "pipe" : Bun.file(options.stdout),
    stderr: "pipe",
    env: { ...process.env, ...options.env },
  });
  const ended = undoneAtEnd(() => child.kill("SIGTERM"));
  void child.exited.then(ended);
  const lines: string[] = [];
  const listeners = new Set<(line: string) => void>();
  const take = async (stream: ReadableStream<Uint8Array> | undefined) => {
    if (!stream) return;
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of stream) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) {
        lines.push(part);
        for (const listener of listeners) listener(part);
      }
      lines.splice(0, lines.length - KEPT_LINES);
    }
  };
  const reading = Promise.all([take(child.stdout as ReadableStream<Uint8Array> | undefined), take(child.stderr)]);
  const end = async (signal: NodeJS.Signals = "SIGTERM") => {
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), END_MS);
    await child.exited;
    clearTimeout(timer);
    await reading;
  };
  return {
    pid: child.pid,
    tell: (signal) => child.kill(signal),
    end,
    line: (pattern) =>
      firstLine(pattern, { lines, listeners, what: argv.join(" "), exited: child.exited }).catch(async (error: unknown) => {
        await end("SIGKILL");
        throw error;
      }),
    [Symbol.asyncDispose]: () => end(),
  };
}

type Source = { lines: readonly string[]; listeners: Set<(line: string) => void>; what: string; exited: Promise<number> };

function firstLine(pattern: RegExp, { lines, listeners, what, exited }: Source): Promise<string> {
  const before = lines.find((line) => pattern.test(line));
  if (before !== undefined) return Promise.resolve(before);
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      listeners.delete(listener);
    };
    const fail = (why: string) => {
      stop();
      reject(new Error(`${what}: no line ${pattern} ${why}; it said:\n${lines.slice(-20).join("\n")}`));
    };
    const listener = (line: string) => {
      if (!pattern.test(line)) return;
      stop();
      resolve(line);
    };
    const timer = setTimeout(() => fail(`within ${PATIENCE_MS / 1000} s`), PATIENCE_MS);
    listeners.add(listener);
    void exited.then((code) => fail(`before it ended with ${code}`));
  });
}

/** Resident memory of a process, bytes (proc(5), VmRSS). */
export function rssBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  if (kilobytes === undefined) throw new Error(`process ${pid} has no memory: it has ended`);
  return Number(kilobytes) * 1024;
}

/** CPU time a process has used in user and kernel mode, seconds, in steps of 10 ms. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name in parentheses may hold anything; the fields after it start with the state.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}

/** Bytes a process sent to storage (proc(5), io); undefined on a kernel that does not count them. */
export function writtenBytes(pid: number): number | undefined {
  try {
    return Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "latin1"))![1]);
  } catch {
    return undefined;
  }
}

/** Memory of a process when it has stopped changing: the lowest of the last samples, after a garbage collector had its time. */
export async function settledRssBytes(pid: number, seconds = 6): Promise<number> {
  let lowest = Number.POSITIVE_INFINITY;
  for (let at = 0; at < seconds * 4; at++) {
    await Bun.sleep(250);
    if (at >= seconds * 2) lowest = Math.min(lowest, rssBytes(pid));
  }
  return lowest;
}

/** Where a program lies, or undefined when it is not installed. */
export const installed = (name: string): string | undefined =>
  Bun.which(name, { PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin:/usr/local/sbin` }) ?? undefined;
