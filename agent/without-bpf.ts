// The steps of the sensor below BPF: the kernel's proc connector or looks into /proc, fanotify, and the kernel's tables of sockets.
import { readFileSync } from "node:fs";
import type { EventDraft } from "@picket/protocol/event";
import { bootNowNs } from "./bpf/libc.ts";
import { offBecause } from "./bpf/probe.ts";
import { type CollectorName, collectorNames, type Health } from "./bpf/programs.ts";
import { wallTimeAt } from "./clock.ts";
import { containerOf } from "./enrich/containers.ts";
import { hostProc, type Proc } from "./enrich/proc.ts";
import { endsOf } from "./enrich/sockets.ts";
import { connectedStdio } from "./enrich/stdio.ts";
import { ProcessTree } from "./enrich/tree.ts";
import { userNames } from "./enrich/users.ts";
import { type Connections, createConnections } from "./fallback/connections.ts";
import { type Files, type FileWatch, openFiles, probeFiles } from "./fallback/files.ts";
import { type Change, type Connector, openConnector, probeConnector } from "./fallback/proc-connector.ts";
import { ProcTable } from "./fallback/proc-table.ts";
import { createPrograms, type Programs } from "./fallback/programs.ts";
import { parseSockets } from "./socket-table.ts";
import { Unsupported } from "./unsupported.ts";

export type WithoutBpfOptions = {
  readonly ignorePid: number;
  readonly watch: FileWatch;
  /** Why BPF is not used. */
  readonly because: unknown;
  /** False: the proc connector is not tried. */
  readonly connector: boolean;
  /** What the kernel may hold for us of the proc connector's messages. */
  readonly receiveBytes: number;
  /** False: nothing is looked at but by `poll`. */
  readonly polling: boolean;
  /** Called after each look at the processes, with the time before which it was, milliseconds since boot. */
  readonly onCaughtUp: (atMs: number) => void;
};

export type WithoutBpf = Disposable & {
  readonly health: ReadonlyMap<CollectorName, Health>;
  lost(): { kernel: number };
  poll(): void;
};

/** fanotify keeps 16,384 events for us. Who did it is still there, mostly, when it is looked at soon: while there is something to see. */
const FILES_MS = 100;
/** When nothing happens, and with the proc connector, where it is also looked at whenever a process ends. Waking up costs more than the look. */
const FILES_RARELY_MS = 250;
const LOOK_MS = 1_000;
/** The tables of sockets take milliseconds where memory is large: at most a tenth of a percent of a core goes into them, but they are looked at sometimes. */
const SPARE = 1_000;
const MOST_MS = 5_000;
const SWEEP_LOOKS = 30;

/** Starts what runs here. Never throws. */
export function startWithoutBpf(options: WithoutBpfOptions, emit: (draft: EventDraft) => void): WithoutBpf {
  return new Running(options, emit);
}

/** What there would be, for `picket-agent check`. Changes nothing. */
export function probeWithoutBpf(because: unknown): Map<CollectorName, Health> {
  const connector = failureOf(() => probeConnector());
  const files = failureOf(() => probeFiles());
  return healthOf({ because, connector, files, lacks: [] });
}

class Running implements WithoutBpf {
  readonly health: ReadonlyMap<CollectorName, Health>;
  readonly #emit: (draft: EventDraft) => void;
  readonly #onCaughtUp: WithoutBpfOptions["onCaughtUp"];
  readonly #tree: ProcessTree;
  readonly #programs: Programs;
  readonly #connections: Connections;
  #connector: Connector | undefined;
  #table: ProcTable | undefined;
  #files: Files | undefined;
  #lost = 0;
  #looks = 0;
  /** Since when each process is what it is, by the boot clock. */
  readonly #since = new Map<number, bigint>();
  /** Who runs, during a look at all of them. */
  #running: number[] | undefined;
  #lookTimer: NodeJS.Timeout | undefined;
  #filesTimer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: WithoutBpfOptions, emit: (draft: EventDraft) => void) {
    this.#emit = emit;
    this.#onCaughtUp = options.onCaughtUp;
    const proc: Proc = { ...hostProc, pids: () => this.#running ?? hostProc.pids() };
    this.#tree = new ProcessTree({
      proc,
      user: userNames("/etc/passwd", () => performance.now()),
      container: (_cgroup, pid) => containerOf(hostProc.cgroup(pid) ?? ""),
      onMove: () => {},
      // What /proc/PID/exe says is no script.
      namesInterpreter: true,
    });
    this.#programs = programsOf(proc, this.#tree, emit);
    const connector = failureOf(() => {
      if (!options.connector) throw new Unsupported("the proc connector is switched off");
      this.#connector = openConnector(options.receiveBytes, (changes, lost) => this.#onChanges(changes, lost));
    });
    this.#tree.seed();
    if (connector) this.#table = new ProcTable(proc);
    const shared = { ignorePid: options.ignorePid, processes: this.#tree, head: this.#programs.head, now: () => Date.now(), emit };
    const files = failureOf(() => {
      this.#files = openFiles({ ...shared, watch: options.watch, onOverflow: () => this.#onLoss("file", 1) });
    });
    this.#connections = createConnections({ ...shared, read: readSockets, pids: hostProc.pids, link: hostProc.link });
    this.health = healthOf({ because: options.because, connector, files, lacks: this.#files?.lacks ?? [] });
    for (const [collector, { level, why }] of this.health) {
      if (level !== "live") emit({ type: "sensor.state", timeMs: Date.now(), body: { collector, level, why } });
    }
    if (options.polling) this.#schedule();
  }

  lost(): { kernel: number } {
    return { kernel: this.#lost };
  }

  poll(): void {
    if (this.#stopped) return;
    this.#connector?.poll();
    this.#files?.drain();
    this.#lookAtProcesses();
    this.#connections.look();
  }

  [Symbol.dispose](): void {
    if (this.#stopped) return;
    this.#stopped = true;
    clearInterval(this.#lookTimer);
    clearTimeout(this.#filesTimer);
    this.#connector?.[Symbol.dispose]();
    this.#files?.drain();
    this.#files?.[Symbol.dispose]();
  }

  #schedule(): void {
    if (this.#files) this.#lookAtFilesIn(FILES_RARELY_MS);
    let socketsMs = performance.now() + LOOK_MS / 2;
    this.#lookTimer = setInterval(() => {
      this.#lookAtProcesses();
      const nowMs = performance.now();
      if (nowMs < socketsMs) return;
      const before = process.cpuUsage();
      this.#connections.look();
      const { user, system } = process.cpuUsage(before);
      socketsMs = nowMs + Math.min(MOST_MS, ((user + system) / 1000) * SPARE) - LOOK_MS / 2;
    }, LOOK_MS);
  }

  #lookAtFilesIn(ms: number): void {
    this.#filesTimer = setTimeout(() => {
      this.#connector?.poll();
      const some = this.#files?.drain() ?? false;
      this.#lookAtFilesIn(some && this.#table ? FILES_MS : Math.min(FILES_RARELY_MS, ms + FILES_MS / 2));
    }, ms);
  }

  #lookAtProcesses(): void {
    const atNs = bootNowNs();
    // Read once for the three that ask: a folder of a thousand names is the dearest part of a look.
    if (this.#table) this.#running = hostProc.pids();
    try {
      for (const difference of this.#table?.compare() ?? []) this.#programs.differs(difference);
      this.#programs.settle();
      // Processes that were described when they had ended already, and of which no end is told any more.
      if (this.#table || ++this.#looks % SWEEP_LOOKS === 0) {
        this.#tree.sweep();
        this.#programs.sweep();
        const running = new Set(this.#running ?? hostProc.pids());
        for (const pid of this.#since.keys()) if (!running.has(pid)) this.#since.delete(pid);
      }
    } finally {
      this.#running = undefined;
    }
    this.#onCaughtUp(Number(atNs / 1_000_000n));
  }

  #onChanges(changes: readonly Change[], lost: number): void {
    if (this.#stopped) return;
    if (lost > 0) {
      this.#onLoss("process-tree", lost);
      this.#tree.sweep();
      this.#tree.seed();
    }
    const ended = new Map<number, Change>();
    const end = () => {
      // What a process did to files is told while it is known.
      if (ended.size > 0) this.#files?.drain();
      for (const change of ended.values()) this.#programs.changed(change);
      ended.clear();
    };
    for (const change of changes) {
      if (change.kind === "exit") {
        ended.set(change.tid, change);
        continue;
      }
      if (ended.has(change.pid)) end();
      if (change.kind === "exec" && this.#wasLonger(change)) this.#files?.drain();
      if (change.kind !== "uid") this.#since.set(change.pid, change.bootNs);
      this.#programs.changed(change);
    }
    for (const { pid } of ended.values()) this.#since.delete(pid);
    end();
  }

  /** What is done to files bears no time: what waits is taken for the deed of the program that had more of it, the one before or the new one. */
  #wasLonger({ pid, bootNs }: { readonly pid: number; readonly bootNs: bigint }): boolean {
    const since = this.#since.get(pid);
    return since === undefined || bootNs - since > bootNowNs() - bootNs;
  }

  #onLoss(collector: string, count: number): void {
    this.#lost += count;
    this.#emit({ type: "sensor.lost", timeMs: Date.now(), body: { collector, count, where: "kernel" } });
  }
}

function programsOf(proc: Proc, tree: ProcessTree, emit: (draft: EventDraft) => void): Programs {
  const link = (pid: number, fd: number) => hostProc.link(pid, `fd/${fd}`);
  return createPrograms({
    proc,
    processes: tree,
    wallTime: (bootNs) => wallTimeAt(bootNowNs(), Date.now())(bootNs),
    bootNowNs,
    emit,
    stdio: connectedStdio((pid, fd) => endsOf(pid, link(pid, fd)), link),
    environment: (pid) => textOf(`/proc/${pid}/environ`),
  });
}

function readSockets() {
  const table = (...names: string[]) => names.flatMap((name) => parseSockets(textOf(`/proc/net/${name}`) ?? ""));
  return { tcp: table("tcp", "tcp6"), udp: table("udp", "udp6") };
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
}

function failureOf(attempt: () => void): unknown {
  try {
    attempt();
    return undefined;
  } catch (error) {
    return error ?? new Error("failed");
  }
}

type Found = { readonly because: unknown; readonly connector: unknown; readonly files: unknown; readonly lacks: readonly string[] };

/** In words: what each collector is worth on this step. */
function healthOf({ because, connector, files, lacks }: Found): Map<CollectorName, Health> {
  const bpf = offBecause(because);
  const cause = `no BPF (${bpf.why.slice(0, 120)})`;
  const todo = bpf.todo ?? "see what sensor.bpf needs";
  const degraded = (why: string): Health => ({ level: "degraded", why: `${cause}: ${why}`.slice(0, 512), todo });
  const off = (why: string, what = todo): Health => ({ level: "off", why: `${cause}: ${why}`.slice(0, 512), todo: what });
  const alone = !mayReadOthers();
  const others = alone ? "; paths of other users' programs cannot be read" : "";
  const owners = alone ? "; who owns other users' sockets is not known" : "";
  const noConnector = connector === undefined ? "" : ` (${offBecause(connector).why})`;
  const programs =
    connector === undefined
      ? {
          "process-tree": degraded("processes come from the proc connector; where one went by chdir is known from its start only"),
          exec: degraded(`programs come from the proc connector; of one that ends within milliseconds only the name may be known${others}`),
          exit: { level: "live" as const, why: `${cause}: ends come from the proc connector, with their status` },
        }
      : {
          "process-tree": degraded(`/proc is looked at every second${noConnector}; what lived shorter is missing`),
          exec: degraded(`/proc is looked at every second${noConnector}; programs that end sooner are not seen${others}`),
          exit: degraded(`/proc is looked at every second${noConnector}; how a process ended is not known (exit code -1)`),
        };
  const failed = files === undefined ? undefined : offBecause(files);
  const limits = ["files come from fanotify; how a file was opened is not known (flags 0)", ...lacks].join("; ");
  return new Map(
    Object.entries({
      ...programs,
      file: failed ? off(failed.why, failed.todo) : degraded(limits),
      net: degraded(
        `tables of sockets are looked at every second; connections that end sooner, and those of containers, are not seen${owners}`,
      ),
      dns: off("names that are looked up are not seen"),
      privilege: off("ptrace, memory files and changes of user are not seen"),
      io_uring: off("rings of requests (io_uring) are not seen"),
      kernel: off("modules, bpf(2) and mounts are not seen"),
    } satisfies Record<CollectorName, Health>).sort(([a], [b]) => order(a) - order(b)) as [CollectorName, Health][],
  );
}

const CAP_SYS_PTRACE = 1n << 19n;

/** Whether links of /proc that belong to other users may be read. */
function mayReadOthers(): boolean {
  const capabilities = /^CapEff:\s*([0-9a-f]+)/m.exec(textOf("/proc/self/status") ?? "")?.[1];
  return capabilities !== undefined && (BigInt(`0x${capabilities}`) & CAP_SYS_PTRACE) !== 0n;
}

const order = (name: string) => collectorNames.indexOf(name as CollectorName);
