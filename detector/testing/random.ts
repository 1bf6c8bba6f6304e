// Seeded streams of events that look like trouble: shells, connections, credential reads, hits that overtake, clocks that are wrong.
import type { Process, SensorEvent } from "@picket/protocol/event";
import { seeded } from "@picket/protocol/seeded";
import { child, proc, T0 } from "./events.ts";
import { packed, type Stored } from "./site.ts";

const BOOTS = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333"];
const PROGRAMS = [
  "/bin/bash",
  "/bin/sh",
  "/usr/bin/python3",
  "/usr/bin/low",
  "/usr/bin/meh",
  "/usr/bin/medium",
  "/usr/bin/cat",
  "/opt/app/server",
];

/** A log of `batches` batches of three devices, spread over many lookbacks. */
export function randomLog(seed: number, batches: number): Stored[] {
  const random = seeded(seed);
  const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)]!;
  const devices = BOOTS.map((boot, at) => ({
    name: `gw-${at}`,
    boot,
    seq: 0,
    clockMs: at === 2 ? -T0 + 5000 : 0,
    living: [proc(100, "/opt/app/server")] as Process[],
    held: [] as SensorEvent[],
  }));
  const log: Stored[] = [];
  let nowMs = T0;
  let pid = 1000;
  const draw = (device: (typeof devices)[number], atMs: number): SensorEvent => {
    const parent = random() < 0.5 ? device.living.at(-1)! : pick(device.living);
    const envelope = {
      v: 1 as const,
      device: device.name,
      epoch: "abcdefgh",
      seq: device.seq++,
      timeMs: Math.max(0, atMs + device.clockMs),
    };
    const dice = random();
    if (dice < 0.5) {
      // Some become another program, and are found out as both; most are new.
      const again = random() < 0.2;
      const process = again ? { ...parent, exe: pick(PROGRAMS) } : child(++pid, pick(PROGRAMS), parent);
      if (again) device.living[device.living.indexOf(parent)] = process;
      else device.living.push(process);
      if (device.living.length > 12) device.living.splice(1, 1);
      const hits = random() < (again ? 0.6 : 0.1) ? { hits: [{ rule: pick(["local-a", "local-b"]), version: "1" }] } : {};
      return { ...envelope, type: "process.exec", body: { process }, ...hits };
    }
    if (dice < 0.75)
      return {
        ...envelope,
        type: "net.connect",
        body: { process: parent, net: { proto: "tcp", dstIp: "198.51.100.7", dstPort: pick([443, 4444]) } },
      };
    if (dice < 0.9)
      return {
        ...envelope,
        type: "file.open",
        body: { process: parent, file: { path: pick(["/etc/shadow", "/etc/hostname"]), flags: 0 } },
      };
    if (dice < 0.95)
      return {
        ...envelope,
        type: "auth.login",
        body: { user: "root", method: "password", ok: false },
        hits: [{ rule: "local-login", version: "1" }],
      };
    return { ...envelope, type: "process.exit", body: { process: parent, exitCode: 0, signal: 0, durationMs: 1 } };
  };
  const burst = (device: (typeof devices)[number], atMs: number): SensorEvent[] => {
    const parent = pick(device.living);
    return Array.from({ length: 6 }, (_, at) => {
      const process = child(++pid, pick(PROGRAMS), parent);
      return {
        v: 1,
        device: device.name,
        epoch: "abcdefgh",
        seq: device.seq++,
        timeMs: Math.max(0, atMs + at + device.clockMs),
        type: "process.exec",
        body: { process },
      };
    });
  };
  while (log.length < batches) {
    nowMs += Math.floor(random() ** 4 * 150_000);
    const device = pick(devices);
    const drawn = Array.from({ length: 1 + Math.floor(random() * 8) }, (_, at) => draw(device, nowMs - Math.floor(random() * 4000) + at));
    if (random() < 0.2) drawn.push(...burst(device, nowMs));
    const events = [...device.held, ...drawn];
    device.held = [];
    const urgent = events.filter((event) => event.hits);
    const rest = events.filter((event) => !event.hits);
    if (urgent.length > 0 && rest.length > 0 && random() < 0.5) {
      log.push(packed(log.length + 1, nowMs, device.boot, urgent, rest));
      device.held = rest;
      // What was overtaken mostly comes at once, as it does from a device.
      if (random() < 0.7) {
        nowMs += Math.floor(random() * 500);
        log.push(packed(log.length + 1, nowMs, device.boot, rest));
        device.held = [];
      }
    } else log.push(packed(log.length + 1, nowMs, device.boot, events));
  }
  return log;
}
