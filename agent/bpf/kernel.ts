// The kernel side as one thing: started, drained, asked what it lost, stopped.
import { loss } from "./layout.gen.ts";
import { type Loaded, load } from "./load.ts";
import { objectBytes } from "./object.ts";
import { type CollectorName, collectorNames, type Health, healthOf } from "./programs.ts";
import { Ring, ringBytes } from "./ring.ts";
import { withTracefs } from "./tracefs.ts";
import { clearNear, setNear, type Watch, writeWatch } from "./watch.ts";

export type KernelOptions = {
  readonly ignorePid: number;
  readonly watch: Watch;
  /** Wanted size of the ring buffer, bytes. */
  readonly ringBytes: number;
  /** Programs not to run, as if this kernel lacked them. */
  readonly without?: readonly string[];
};

export type LossName = Exclude<keyof typeof loss, "count">;

export type Kernel = Disposable & {
  readonly health: ReadonlyMap<CollectorName, Health>;
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
  const size = ringBytes(options.ringBytes);
  let unwatched = 0;
  const prepare = (before: Loaded) => {
    const [watch, starts, names] = [before.mapFd("watch"), before.mapFd("prefix_starts"), before.mapFd("names")];
    unwatched = writeWatch(before.lib, { watch, starts, names }, options.watch);
  };
  const loaded = withTracefs((tracefs) =>
    load({ object: objectBytes(), tracefs, ringBytes: size, ignorePid: options.ignorePid, without: options.without ?? [], prepare }),
  );
  const ring = new Ring(loaded.mapFd("ring"), size);
  const lost = loaded.mapFd("lost");
  const nears = loaded.mapFd("nears");
  const attached = loaded.raw
    ? "attached to raw_syscalls, for this kernel has no syscalls tracepoints: a little more work at every system call"
    : "attached";
  const health = new Map(collectorNames.map((name) => [name, healthOf(name, loaded.failures, attached)]));
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
    namesInterpreter: !loaded.failures.has("prepare_exec"),
    drain: (onRecord, max) => ring.drain(onRecord, max),
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
      ring[Symbol.dispose]();
      loaded[Symbol.dispose]();
    },
  };
}

function readLosses({ lib }: Loaded, fd: number): Record<LossName, number> {
  const perCpu = new BigUint64Array(lib.libbpf_num_possible_cpus());
  const key = Buffer.alloc(4);
  const sum = (index: number) => {
    key.writeUInt32LE(index);
    if (lib.bpf_map_lookup_elem(fd, key, perCpu) !== 0) return 0;
    return Number(perCpu.reduce((total, count) => total + count, 0n));
  };
  return {
    exec: sum(loss.exec),
    exit: sum(loss.exit),
    file: sum(loss.file),
    net: sum(loss.net),
    tree: sum(loss.tree),
    args: sum(loss.args),
    call: sum(loss.call),
  };
}
