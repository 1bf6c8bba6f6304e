// Perf buffers that follow CPUs as they come and go, and a clock that follows the host's sleep.
import { config as layout, loss } from "./layout.gen.ts";
import { asleepNs } from "./libc.ts";
import { configMap, type Loaded } from "./load.ts";
import { PerfBuffers } from "./perf.ts";

const TEND_MS = 1_000;
/** Of the boot clock before the monotonic one, nanoseconds: more than measuring it twice differs by. */
const SLEPT_NS = 1_000_000n;

export type Tended = Disposable & Pick<PerfBuffers, "drain" | "lost">;

/** Opens a perf buffer on each CPU (of `cpus`, else of all), about `bytes` together, and looks after them once a second, when they are drained. */
export function tended(loaded: Loaded, bytes: number, cpus = allCpus(loaded)): Tended {
  const buffers = new PerfBuffers(loaded, bytes, cpus);
  const lost = loaded.mapFd("lost");
  let unheard = readPerCpu(loaded, lost, loss.cpu);
  let tendedMs = performance.now();
  const tend = () => {
    const before = unheard;
    unheard = readPerCpu(loaded, lost, loss.cpu);
    // What nobody listened to is counted by CPU: one that came, or came back, since its buffer was opened.
    for (const [cpu, count] of unheard.entries()) if (count !== before[cpu]) buffers.reopen(cpu);
    setClock(loaded);
  };
  return {
    get lost() {
      return buffers.lost;
    },
    drain(onRecord, max) {
      if (performance.now() - tendedMs >= TEND_MS) {
        tendedMs = performance.now();
        tend();
      }
      return buffers.drain(onRecord, max);
    },
    [Symbol.dispose]: () => buffers[Symbol.dispose](),
  };
}

const allCpus = ({ lib }: Loaded) => Array.from({ length: lib.libbpf_num_possible_cpus() }, (_, cpu) => cpu);

/** Tells the programs how long the host has slept, when that is news. What they wrote since it woke up, a second at most, bears the time it fell asleep. */
function setClock(loaded: Loaded): void {
  const asleep = asleepNs();
  if (asleep - loaded.config.readBigUInt64LE(layout.asleepNs) < SLEPT_NS) return;
  loaded.config.writeBigUInt64LE(asleep, layout.asleepNs);
  loaded.lib.bpf_map_update_elem(loaded.mapFd(configMap.perf), Buffer.alloc(4), loaded.config, 0n);
}

/** One counter of all CPUs, by CPU. */
export function readPerCpu({ lib }: Loaded, fd: number, index: number): BigUint64Array {
  const perCpu = new BigUint64Array(lib.libbpf_num_possible_cpus());
  const key = Buffer.alloc(4);
  key.writeUInt32LE(index);
  return lib.bpf_map_lookup_elem(fd, key, perCpu) === 0 ? perCpu : perCpu.fill(0n);
}
