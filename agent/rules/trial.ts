// New rules are tried before any event is judged by them: that each can be run, what they cost, and that they see what their author says they see.
import type { EventType, SensorEvent } from "@picket/protocol/event";
import { compileRules, eventTypes, type Matcher, type Rule } from "@picket/rules/matcher";

/** CPU an event may take on average, all rules together, and the trial in all, milliseconds. The shipped rules take a few microseconds an event. */
const MAX_EVENT_MS = 1;
export const MAX_TRIAL_MS = 20_000;
/** Memory the rules may take beside those that run, bytes. */
export const MAX_GROWTH_BYTES = 32 << 20;
const ROUNDS = 25;

export type Sample = { readonly rule: string; readonly hit: boolean; readonly event: SensorEvent };

export type Meter = {
  /** CPU time of this process, milliseconds. */
  readonly cpuMs: () => number;
  /** Resident memory with nothing in it that could be let go, bytes. */
  readonly rssBytes: () => number;
};

export const ownMeter: Meter = {
  cpuMs: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
  rssBytes: () => {
    Bun.gc(true);
    return process.memoryUsage.rss();
  },
};

/** The rules compiled, once they have stood the trial. Throws Error with what is wrong. */
export function tryRules(rules: readonly Rule[], samples: readonly Sample[], meter: Meter = ownMeter): Matcher {
  const before = { cpuMs: meter.cpuMs(), bytes: meter.rssBytes() };
  const spentMs = () => meter.cpuMs() - before.cpuMs;
  const matcher = compileRules(rules);
  for (const type of eventTypes) matcher.match(ordinary(type, 0));
  for (const sample of samples) {
    const hit = matcher.match(sample.event).some(({ id }) => id === sample.rule);
    if (hit !== sample.hit) throw new Error(`rule ${sample.rule} ${hit ? "matches" : "does not match"} a sample that says otherwise`);
    if (spentMs() > MAX_TRIAL_MS) throw new Error(`the trial took more than ${MAX_TRIAL_MS / 1000} s of CPU`);
  }
  const beganMs = meter.cpuMs();
  let events = 0;
  for (let round = 1; round <= ROUNDS; round++) {
    for (const type of eventTypes) {
      matcher.match(ordinary(type, round));
      events++;
    }
    if (spentMs() > MAX_TRIAL_MS) throw new Error(`the trial took more than ${MAX_TRIAL_MS / 1000} s of CPU`);
  }
  const eachMs = (meter.cpuMs() - beganMs) / events;
  if (eachMs > MAX_EVENT_MS) throw new Error(`the rules take ${eachMs.toFixed(1)} ms of CPU an event; ${MAX_EVENT_MS} ms is allowed`);
  const grownBytes = meter.rssBytes() - before.bytes;
  if (grownBytes > MAX_GROWTH_BYTES)
    throw new Error(`the rules take ${Math.round(grownBytes / 2 ** 20)} MiB of memory; ${MAX_GROWTH_BYTES >> 20} MiB are allowed`);
  return matcher;
}

/** What a device sees all day, of any type; every fifth with a command line as long as build tools make them. Fields a type does not have do no harm. */
export function ordinary(type: EventType, round: number): SensorEvent {
  const argv = ["sh", "-c", `for unit in $(systemctl list-units --state=failed --plain); do journalctl -u "$unit" -n ${round}; done`];
  if (round % 5 === 4) argv.push("-I/usr/include/x86_64-linux-gnu/c++/14 -DNDEBUG=1 ".repeat(60));
  const path = `/var/lib/gateway/spool/${round}.json`;
  const process = {
    ...{
      pid: 4000 + round,
      startTicks: 91_000 + round,
      ppid: 812,
      uid: 1000,
      user: "gateway",
      exe: "/usr/bin/dash",
      argv,
      cwd: "/var/lib/gateway",
    },
    parent: { pid: 812, exe: "/usr/sbin/cron", argv: ["/usr/sbin/cron", "-f"] },
  };
  const net = {
    proto: "tcp",
    dstIp: "203.0.113.9",
    dstPort: 443,
    ip: "0.0.0.0",
    port: 8080,
    srcIp: "192.0.2.7",
    srcPort: 50_000,
    query: "time.example.org",
  };
  const body = {
    ...{ process, net, file: { path, to: `${path}.old`, flags: 0, mode: 420, sha256: "0".repeat(64), size: 512 }, change: "changed" },
    ...{
      exitCode: 0,
      signal: 0,
      durationMs: 12,
      targetPid: 812,
      request: "PTRACE_ATTACH",
      name: "buffer",
      op: "added",
      from: 1000,
      to: 1000,
    },
    ...{ cmd: "BPF_PROG_LOAD", source: "tmpfs", target: "/run/gateway", fsType: "tmpfs", vendor: "046d", product: "c31c", action: "add" },
    ...{
      user: "gateway",
      remoteIp: "192.0.2.7",
      method: "publickey",
      ok: true,
      command: "/usr/bin/systemctl status",
      message: `line ${round}: done`,
    },
    ...{ cpu: { busy: 0.1, load1: 0.2 }, memory: { totalBytes: 1e9, availableBytes: 5e8 }, disks: [], interfaces: [], topProcesses: [] },
    ...{
      table: "users",
      row: { name: "gateway", uid: 1000 },
      version: "1.0.0",
      bootId: "7b9c1c9e-2f0c-4f7e-9d7e-0123456789ab",
      arch: "arm64",
    },
    ...{
      kernel: "6.12.0",
      why: "asked to",
      collector: "exec",
      level: "live",
      count: 1,
      where: "kernel",
      jti: "1",
      act: "settings",
      code: "done",
    },
  };
  return { v: 1, device: "trial", epoch: "aaaaaaaa", seq: round, timeMs: 1_767_225_600_000, type, body } as unknown as SensorEvent;
}
