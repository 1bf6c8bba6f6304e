// The kernel side as one thing: started, drained, asked what it lost, stopped.
import { loss } from "./layout.gen.ts";
import { type Libbpf, openLibbpf } from "./libbpf.ts";
import { closeFd, cstr, pageSize } from "./libc.ts";
import { type Loaded, load } from "./load.ts";
import { objectBytes, type Way } from "./object.ts";
import { type CollectorName, collectorNames, type Health, healthOf } from "./programs.ts";
import { Ring, ringBytes } from "./ring.ts";
import { readPerCpu, tended } from "./tended.ts";
import { withTracefs } from "./tracefs.ts";
import { clearNear, setNear, type Watch, writeWatch } from "./watch.ts";

export type KernelOptions = {
  readonly ignorePid: number;
  readonly watch: Watch;
  /** Wanted size of the ring buffer, bytes. */
  readonly ringBytes: number;
  /** Programs not to run, as if this kernel lacked them. */
  readonly without?: readonly string[];
  /** By which way records come. Default: the kernel's ring buffer where it has one. */
  readonly way?: Way;
};

export type LossName = Exclude<keyof typeof loss, "count" | "cpu">;

export type Kernel = Disposable & {
  readonly health: ReadonlyMap<CollectorName, Health>;
  /** In words. */
  readonly way: string;
  /** True when this kernel itself names a script's interpreter. */
  readonly namesInterpreter: boolean;
  /** See `Ring.drain`. */
  drain(onRecord: (record: DataView) => void, max: number): number;
  /** What did not fit into the ring since the start. */
  losses(): Record<LossName, number>;
  /** See `setNear` and `clearNear`. */
  setNear(pid: number): void;
  clearNear(pid: number, seen: number): void;
};

/** Loads, attaches and starts filling the ring. Throws `Unsupported` when this host cannot run it at all. */
export function openKernel(options: KernelOptions): Kernel {
  const way = options.way ?? wayHere(openLibbpf());
  const size = ringBytes(options.ringBytes);
  let unwatched = 0;
  let opened: Source | undefined;
  const prepare = (before: Loaded) => {
    const [watch, starts, names] = [before.mapFd("watch"), before.mapFd("prefix_starts"), before.mapFd("names")];
    unwatched = writeWatch(before.lib, { watch, starts, names }, options.watch);
    // Before any program runs: perf buffers take nothing until they are opened.
    opened = sources[way](before, way === "ring" ? size : options.ringBytes);
  };
  const { ignorePid, without = [] } = options;
  let loaded: Loaded;
  try {
    loaded = withTracefs((tracefs) => load({ object: objectBytes(way), way, tracefs, ringBytes: size, ignorePid, without, prepare }));
  } catch (error) {
    opened?.[Symbol.dispose]();
    throw error;
  }
  const source = opened!;
  const lost = loaded.mapFd("lost");
  const nears = loaded.mapFd("nears");
  const attached = loaded.raw
    ? "attached to raw_syscalls, for this kernel has no syscalls tracepoints: a little more work at every system call"
    : "attached";
  const through = way === "ring" ? "" : "; records come through perf buffers, for this kernel has no ring buffer";
  const health = new Map(collectorNames.map((name) => [name, healthOf(name, loaded.failures, attached + through)]));
  if (unwatched > 0 && health.get("file")?.level === "live") {
    health.set("file", {
      level: "degraded",
      why: `the kernel's table is full: ${unwatched} entries are not watched`,
      todo: "watch fewer prefixes",
    });
  }
  let closed = false;
  return {
    health,
    way: source.inWords,
    namesInterpreter: !loaded.failures.has("prepare_exec"),
    drain: (onRecord, max) => source.drain(onRecord, max),
    losses: () => readLosses(loaded, lost),
    setNear(pid) {
      if (!closed) setNear(loaded.lib, nears, pid);
    },
    clearNear(pid, seen) {
      if (!closed) clearNear(loaded.lib, nears, pid, seen);
    },
    [Symbol.dispose]() {
      if (closed) return;
      closed = true;
      source[Symbol.dispose]();
      loaded[Symbol.dispose]();
    },
  };
}

const BPF_MAP_TYPE_RINGBUF = 27;
const EINVAL = 22;

function wayHere(lib: Libbpf): Way {
  const made = lib.bpf_map_create(BPF_MAP_TYPE_RINGBUF, cstr("pk_ring"), 0, 0, pageSize(), null);
  if (made >= 0) closeFd(made);
  return wayAfter(made);
}

/** The way for a kernel that answers this to a new ring buffer: before Linux 5.8 it does not know what that is. Whatever else it says it will say again, to who loads the programs. */
export const wayAfter = (made: number): Way => (made === -EINVAL ? "perf" : "ring");

type Source = Disposable & { readonly inWords: string; drain: Kernel["drain"] };

const sources: Readonly<Record<Way, (loaded: Loaded, bytes: number) => Source>> = {
  ring(loaded, bytes) {
    const ring = new Ring(loaded.mapFd("ring"), bytes);
    return {
      inWords: "the ring buffer maps",
      drain: (onRecord, max) => ring.drain(onRecord, max),
      [Symbol.dispose]: () => ring[Symbol.dispose](),
    };
  },
  perf(loaded, bytes) {
    const buffers = tended(loaded, bytes);
    return {
      inWords:
        "records come through perf buffers (the kernel has no ring buffer), one for each CPU: a busy one loses events sooner, all counted; what two CPUs did within microseconds may change places",
      drain: buffers.drain,
      [Symbol.dispose]: () => buffers[Symbol.dispose](),
    };
  },
};

function readLosses(loaded: Loaded, fd: number): Record<LossName, number> {
  const sum = (index: number) => Number(readPerCpu(loaded, fd, index).reduce((total, count) => total + count, 0n));
  return {
    exec: sum(loss.exec),
    exit: sum(loss.exit),
    file: sum(loss.file),
    net: sum(loss.net),
    tree: sum(loss.tree),
    args: sum(loss.args),
    call: sum(loss.call),
    name: sum(loss.name),
  };
}
