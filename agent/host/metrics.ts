// host.metrics: how a device is doing, from /proc and /sys.
import { readdirSync, readFileSync, statfsSync } from "node:fs";
import type { EventDraft, EventOf } from "@picket/protocol/event";

export type HostMetrics = EventOf<"host.metrics">["body"];

/** Where /proc and /sys are; others in tests. */
export type Roots = { readonly proc: string; readonly sys: string };
const real: Roots = { proc: "/proc", sys: "/sys" };

const TOP = 5;
const MAX_DISKS = 32;
const MAX_INTERFACES = 32;
/** File systems on a disk; all others are the kernel's, or come over the network, where asking can hang. */
const onDisk = new Set(["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "vfat", "exfat", "ntfs3", "zfs", "bcachefs", "overlay"]);

/** Returns a function that measures since its last call; the first call measures since the boot. Never throws: what cannot be read is left out or 0. */
export function hostMetrics(roots: Roots = real): () => HostMetrics {
  let cpuBefore = { busy: 0, all: 0 };
  let ticksBefore = new Map<string, number>();
  return () => {
    const cpu = cpuTimes(read(`${roots.proc}/stat`));
    const all = cpu.all - cpuBefore.all;
    const busy = all > 0 ? Math.min(1, Math.max(0, (cpu.busy - cpuBefore.busy) / all)) : 0;
    const { top, ticks } = topProcesses(roots.proc, ticksBefore, all / cpuCount(roots.proc));
    cpuBefore = cpu;
    ticksBefore = ticks;
    const temperatures = temperaturesOf(roots.sys);
    const throttled = throttledOf(roots.sys);
    return {
      cpu: { busy: round(busy, 4), load1: Number.parseFloat(read(`${roots.proc}/loadavg`)) || 0 },
      memory: memoryOf(read(`${roots.proc}/meminfo`)),
      disks: disksOf(read(`${roots.proc}/self/mounts`)),
      interfaces: interfacesOf(read(`${roots.proc}/net/dev`)),
      topProcesses: top,
      uptimeS: Math.floor(Number.parseFloat(read(`${roots.proc}/uptime`)) || 0),
      ...(temperatures.length > 0 ? { temperatures } : {}),
      ...(throttled === undefined ? {} : { throttled }),
    };
  };
}

export type Metrics = Disposable & {
  /** From now on this often. */
  every(ms: number): void;
};

/** Emits now and every `everyMs`. */
export function startMetrics(everyMs: number, emit: (draft: EventDraft) => void, measure = hostMetrics()): Metrics {
  const tell = () => emit({ type: "host.metrics", timeMs: Date.now(), body: measure() });
  tell();
  let timer = setInterval(tell, everyMs);
  return {
    every: (ms) => {
      clearInterval(timer);
      timer = setInterval(tell, ms);
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

const round = (value: number, digits: number) => Number(value.toFixed(digits));

/** Ticks of all CPUs together, from /proc/stat (proc_stat(5)). */
function cpuTimes(stat: string): { busy: number; all: number } {
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = (/^cpu +(.*)$/m.exec(stat)?.[1] ?? "")
    .split(" ")
    .map(Number);
  const busy = user + nice + system + irq + softirq + steal;
  return { busy, all: busy + idle + iowait };
}

const cpuCount = (proc: string) => Math.max(1, read(`${proc}/stat`).match(/^cpu\d/gm)?.length ?? 1);

function memoryOf(meminfo: string): HostMetrics["memory"] {
  const bytes = (key: string) => Number(new RegExp(`^${key}: +(\\d+) kB$`, "m").exec(meminfo)?.[1] ?? 0) * 1024;
  return { totalBytes: bytes("MemTotal"), availableBytes: bytes("MemAvailable") };
}

/** Each device once, at its first mount. */
function disksOf(mounts: string): HostMetrics["disks"] {
  const seen = new Set<string>();
  const disks: HostMetrics["disks"] = [];
  for (const line of mounts.split("\n")) {
    const [device = "", mount = "", type = ""] = line.split(" ");
    if (!onDisk.has(type) || seen.has(device) || disks.length === MAX_DISKS) continue;
    seen.add(device);
    const path = mount.replaceAll(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    try {
      const { blocks, bavail, bsize } = statfsSync(path);
      disks.push({ mount: path.slice(0, 4096), totalBytes: blocks * bsize, freeBytes: bavail * bsize });
    } catch {}
  }
  return disks;
}

function interfacesOf(dev: string): HostMetrics["interfaces"] {
  return [...dev.matchAll(/^ *([^\s:]+): *(\d+)(?: +\d+){7} +(\d+)/gm)]
    .filter(([, name]) => name !== "lo")
    .slice(0, MAX_INTERFACES)
    .map(([, name = "", rx, tx]) => ({ name: name.slice(0, 64), rxBytes: Number(rx), txBytes: Number(tx) }));
}

/** Those that used most CPU since the last call; `passed`: ticks of one CPU in that time. */
function topProcesses(proc: string, before: ReadonlyMap<string, number>, passed: number) {
  const ticks = new Map<string, number>();
  const used: { pid: number; cpu: number; comm: string }[] = [];
  for (const pid of list(proc)) {
    if (!/^\d+$/.test(pid)) continue;
    const stat = read(`${proc}/${pid}/stat`);
    const end = stat.lastIndexOf(")");
    if (end < 0) continue;
    const fields = stat.slice(end + 2).split(" ");
    const now = Number(fields[11]) + Number(fields[12]);
    // A pid comes back; with its start it does not.
    const key = `${pid} ${fields[19]}`;
    ticks.set(key, now);
    const share = passed > 0 ? (now - (before.get(key) ?? 0)) / passed : 0;
    if (share > 0) used.push({ pid: Number(pid), cpu: share, comm: stat.slice(stat.indexOf("(") + 1, end) });
  }
  const top = used
    .sort((a, b) => b.cpu - a.cpu)
    .slice(0, TOP)
    .map(({ pid, cpu, comm }) => ({ pid, exe: commandOf(proc, pid) ?? comm, cpu: round(cpu, 4), rssBytes: rssOf(proc, pid) }));
  return { top, ticks };
}

const commandOf = (proc: string, pid: number) => read(`${proc}/${pid}/cmdline`).split("\0")[0]?.slice(0, 4096) || undefined;

const rssOf = (proc: string, pid: number) => Number(/^VmRSS:\s+(\d+) kB$/m.exec(read(`${proc}/${pid}/status`))?.[1] ?? 0) * 1024;

/** Degrees Celsius, of each thermal zone. */
function temperaturesOf(sys: string): { name: string; celsius: number }[] {
  return list(`${sys}/class/thermal`)
    .filter((zone) => zone.startsWith("thermal_zone"))
    .slice(0, 8)
    .flatMap((zone) => {
      const text = read(`${sys}/class/thermal/${zone}/temp`).trim();
      const name = read(`${sys}/class/thermal/${zone}/type`).trim() || zone;
      return /^-?\d+$/.test(text) ? [{ name: name.slice(0, 64), celsius: round(Number(text) / 1000, 1) }] : [];
    });
}

/** Bits of the Raspberry Pi's firmware, as its documentation of `vcgencmd get_throttled` names them. */
const throttleBits = ["under-voltage", "frequency capped", "throttled", "soft temperature limit"] as const;

/** What slows a Raspberry Pi down now, and what did since its boot ("was ..."); undefined on other boards. */
function throttledOf(sys: string): string[] | undefined {
  const text = read(`${sys}/devices/platform/soc/soc:firmware/get_throttled`).trim();
  if (!/^[0-9a-f]{1,8}$/i.test(text)) return undefined;
  const bits = Number.parseInt(text, 16);
  return throttleBits.flatMap((name, at) => (bits & (1 << at) ? [name] : bits & (1 << (at + 16)) ? [`was ${name}`] : []));
}
