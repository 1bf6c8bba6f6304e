// The sensor as the rest of the agent sees it: kernel records in, complete event drafts out.
import type { EventDraft } from "@picket/protocol/event";
import type { Capability } from "@picket/protocol/status";
import { type Kernel, type LossName, openKernel } from "./bpf/kernel.ts";
import { callOp, record as head, recordKind, resultRecord } from "./bpf/layout.gen.ts";
import { bootNowNs } from "./bpf/libc.ts";
import { probeHost } from "./bpf/probe.ts";
import type { Health } from "./bpf/programs.ts";
import { isNear } from "./bpf/watch.ts";
import { wallTimeAt } from "./clock.ts";
import { callCollector } from "./collectors/call.ts";
import type { Context, Handler } from "./collectors/collector.ts";
import { dnsCollector } from "./collectors/dns.ts";
import { execCollector } from "./collectors/exec.ts";
import { exitCollector } from "./collectors/exit.ts";
import { fileCollector } from "./collectors/file.ts";
import { onFork } from "./collectors/fork.ts";
import { acceptCollector, listenCollector, onConnect } from "./collectors/net.ts";
import { containers } from "./enrich/containers.ts";
import { hostProc } from "./enrich/proc.ts";
import { endsOf } from "./enrich/sockets.ts";
import { connectedStdio } from "./enrich/stdio.ts";
import { ProcessTree } from "./enrich/tree.ts";
import { homesOfThisHost, userNames } from "./enrich/users.ts";
import { Unsupported } from "./unsupported.ts";
import { probeWithoutBpf, startWithoutBpf } from "./without-bpf.ts";

export type SensorOptions = {
  /** Process the kernel side ignores: the agent itself. */
  readonly ignorePid: number;
  /** Path prefixes whose reading is reported. "~/" means every home directory of /etc/passwd. */
  readonly watchRead: readonly string[];
  /** Path prefixes in which creating, modifying, renaming and deleting is reported. */
  readonly watchWrite: readonly string[];
  /** Size of the kernel's ring buffer, bytes; rounded up to a power of two of at least a page. Of the perf buffers of all CPUs, or of the socket's, where the proc connector stands in. */
  readonly ringBytes?: number;
  /** False: nothing is taken but by `poll`. */
  readonly polling?: boolean;
  /** Programs not to run, as if this kernel lacked them. */
  readonly without?: readonly string[];
  /** Called when all that had come was taken, with the time before which that was, milliseconds since boot. */
  readonly onCaughtUp?: (atMs: number) => void;
  /** The first step of the ladder that is tried, as if the host had nothing above it. Default "bpf". */
  readonly step?: Step;
};

/** Where events come from, best first: BPF, BPF as if the kernel had no ring buffer, and what there is without. */
export type Step = "bpf" | "perf" | "proc-connector" | "proc";

export type Sensor = Disposable & {
  /** What works on this kernel, now. */
  capabilities(): Capability[];
  /** True for a collector that also sees what lasts a moment only. */
  seesShort(collector: string): boolean;
  /** Events the kernel could not hand over since the start. */
  lost(): { kernel: number };
  /** Takes what the kernel has ready at once, instead of at the next turn of the timer. */
  poll(): void;
};

const RING_BYTES = 4 << 20;
// How often the ring is looked at: soon after there was something, seldom when there is nothing, for every look costs about 90 us, nearly all of it waking up.
const BUSY_MS = 10;
const IDLE_MS = 50;
const SLOW_DOWN = 1.4;
const LOSS_CHECK_MS = 1_000;
/** How often processes are looked at some of whose threads ended: there are few, seldom. */
const SETTLE_MS = 500;
/** Records taken before anything else in the process gets a turn: about 10 ms. */
const TURN_RECORDS = 5_000;

/** Starts every collector this host supports, on the best step of the ladder (docs/sensors.md). Never throws: what cannot run is reported as a capability and a `sensor.state` draft. */
export function startSensor(options: SensorOptions, emit: (draft: EventDraft) => void): Sensor {
  let kernel: Kernel;
  const expand = homesOfThisHost();
  const watch = { read: expand(options.watchRead), write: expand(options.watchWrite) };
  const { ignorePid, step = "bpf", polling = true, ringBytes = RING_BYTES } = options;
  try {
    if (step !== "bpf" && step !== "perf") throw new Unsupported("switched off");
    kernel = openKernel({
      ignorePid,
      watch,
      ringBytes,
      without: options.without ?? [],
      ...(step === "perf" ? { way: "perf" } : {}),
    });
  } catch (error) {
    const { onCaughtUp = () => {} } = options;
    const of = { ignorePid, watch, because: error, connector: step !== "proc", receiveBytes: ringBytes, polling, onCaughtUp };
    const below = startWithoutBpf(of, emit);
    return {
      capabilities: () => capabilitiesOf(below.health),
      lost: () => below.lost(),
      poll: () => below.poll(),
      [Symbol.dispose]: () => below[Symbol.dispose](),
      // fanotify says the path itself; all others must look while there is something to see.
      seesShort: (collector) => collector === "file" && below.health.get("file")?.level !== "off",
    };
  }
  return new RunningSensor(kernel, watch, emit, { polling, onCaughtUp: options.onCaughtUp });
}

/** Probes this host, for `picket-agent check`, from this step of the ladder or from its top. Changes nothing that outlives the call. */
export function checkHost(step?: "perf"): Capability[] {
  return capabilitiesOf(probeHost(probeWithoutBpf, step));
}

class RunningSensor implements Sensor {
  readonly #kernel: Kernel;
  readonly #emit: (draft: EventDraft) => void;
  readonly #onCaughtUp: SensorOptions["onCaughtUp"];
  readonly #tree: ProcessTree;
  readonly #handlers: Record<number, Handler>;
  readonly #exit = exitCollector();
  #losses: Record<LossName, number>;
  #lossesCheckedMs = 0;
  #settledMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(
    kernel: Kernel,
    watch: { read: readonly string[]; write: readonly string[] },
    emit: (draft: EventDraft) => void,
    { polling, onCaughtUp }: { readonly polling: boolean; readonly onCaughtUp: SensorOptions["onCaughtUp"] },
  ) {
    this.#kernel = kernel;
    this.#onCaughtUp = onCaughtUp;
    this.#emit = emit;
    this.#losses = kernel.losses();
    this.#tree = new ProcessTree({
      proc: hostProc,
      user: userNames("/etc/passwd", () => performance.now()),
      container: containers(hostProc.cgroup),
      onMove: (pid, cwd, near) => {
        if (cwd === undefined || isNear(cwd, watch.read)) kernel.setNear(pid);
        else if (near !== 0) kernel.clearNear(pid, near);
      },
      namesInterpreter: kernel.namesInterpreter,
    });
    this.#handlers = handlersFor(watch, this.#exit.onExit);
    this.#tree.seed();
    for (const [collector, { level, why }] of kernel.health) {
      if (level !== "live") emit({ type: "sensor.state", timeMs: Date.now(), body: { collector, level, why: why.slice(0, 512) } });
    }
    if (polling) this.#schedule(BUSY_MS);
  }

  capabilities(): Capability[] {
    return capabilitiesOf(this.#kernel.health);
  }

  seesShort(collector: string): boolean {
    return [...this.#kernel.health].some(([name, { level }]) => name === collector && level !== "off");
  }

  lost(): { kernel: number } {
    const { exec, exit, file, net, call } = this.#stopped ? this.#losses : this.#kernel.losses();
    return { kernel: exec + exit + file + net + call };
  }

  poll(): void {
    while (this.#turn() === TURN_RECORDS);
    this.#reportLosses();
  }

  [Symbol.dispose](): void {
    if (this.#stopped) return;
    clearTimeout(this.#timer);
    this.poll();
    this.#stopped = true;
    this.#kernel[Symbol.dispose]();
  }

  #schedule(delayMs: number): void {
    this.#timer = setTimeout(() => {
      if (this.#stopped) return;
      const taken = this.#turn();
      if (performance.now() - this.#lossesCheckedMs >= LOSS_CHECK_MS) this.#reportLosses();
      this.#schedule(taken === TURN_RECORDS ? 0 : taken > 0 ? BUSY_MS : Math.min(IDLE_MS, Math.max(BUSY_MS, delayMs) * SLOW_DOWN));
    }, delayMs);
  }

  #turn(): number {
    const nowNs = bootNowNs();
    const wallTime = wallTimeAt(nowNs, Date.now());
    const context: Context = { processes: this.#tree, wallTime, emit: this.#emit };
    const taken = this.#kernel.drain((record) => this.#handlers[record.getUint32(head.kind, true)]?.(record, context), TURN_RECORDS);
    if (taken === TURN_RECORDS) return taken;
    const lookAgain = performance.now() - this.#settledMs >= SETTLE_MS;
    if (lookAgain) this.#settledMs = performance.now();
    this.#exit.settle(context, lookAgain);
    this.#onCaughtUp?.(Number(nowNs / 1_000_000n));
    return taken;
  }

  #reportLosses(): void {
    this.#lossesCheckedMs = performance.now();
    const now = this.#kernel.losses();
    for (const [what, count] of Object.entries(now) as [LossName, number][]) {
      const more = count - this.#losses[what];
      if (more > 0)
        this.#emit({ type: "sensor.lost", timeMs: Date.now(), body: { collector: lossName[what], count: more, where: "kernel" } });
    }
    if (now.exit > this.#losses.exit) this.#tree.sweep();
    this.#losses = now;
  }
}

/** The collector under which each loss is reported. Those with a dash lose no event that is known to be one: of trees and arguments later events know less, and a file without a name was of interest or not. */
const lossName: Record<LossName, string> = {
  exec: "exec",
  exit: "exit",
  file: "file",
  net: "net",
  tree: "process-tree",
  args: "exec-arguments",
  call: "privilege",
  name: "file-names",
};

function handlersFor(watch: { read: readonly string[]; write: readonly string[] }, onExit: Handler): Record<number, Handler> {
  const ends = (pid: number, fd: number) => endsOf(pid, hostProc.link(pid, `fd/${fd}`));
  const exec = execCollector(connectedStdio(ends, (pid, fd) => hostProc.link(pid, `fd/${fd}`)));
  const file = fileCollector(watch);
  const call = callCollector({ link: hostProc.link, onPreload: exec.onPreload });
  const byKind: Record<keyof typeof recordKind, Handler> = {
    fork: onFork,
    args: exec.onArgs,
    interpreter: exec.onInterpreter,
    exec: exec.onExec,
    exit: onExit,
    path: file.onPath,
    result: (record, context) => (record.getUint32(resultRecord.op, true) >= callOp.ptrace ? call : file).onResult(record, context),
    connect: onConnect,
    listen: listenCollector((pid, fd) => ends(pid, fd)?.local),
    accept: acceptCollector(ends),
    dns: dnsCollector(),
    call: call.onCall,
  };
  return Object.fromEntries(Object.entries(recordKind).map(([kind, number]) => [number, byKind[kind as keyof typeof recordKind]]));
}

const capabilitiesOf = (health: ReadonlyMap<string, Health>): Capability[] =>
  [...health].map(([name, { level, why, todo }]) => ({ name: `sensor.${name}`, level, why, ...(todo ? { todo } : {}) }));
