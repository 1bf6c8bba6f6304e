// What a busy small host does, as its sensor reports it: programs start, open and write files, connect, and end.
import type { Ancestor, Process, SensorEvent } from "../protocol/event.ts";
import { lcg } from "./workload.ts";

type Program = { readonly exe: string; readonly argv: (n: number) => string[] };

const programs: readonly Program[] = [
  { exe: "/usr/bin/ls", argv: (n) => ["ls", "-la", `/srv/data/${n % 97}`] },
  { exe: "/usr/bin/grep", argv: (n) => ["grep", "-rn", `token${n}`, "/srv/app/config"] },
  { exe: "/usr/bin/cat", argv: (n) => ["cat", `/proc/${n}/status`] },
  { exe: "/usr/bin/sed", argv: (n) => ["sed", "-i", `s/v${n}/v${n + 1}/g`, "/srv/app/version.txt"] },
  { exe: "/usr/bin/date", argv: () => ["date", "+%s"] },
  { exe: "/usr/bin/python3.11", argv: (n) => ["python3", "/srv/app/worker.py", "--job", `${n}`, "--verbose"] },
  { exe: "/usr/bin/git", argv: (n) => ["git", "-C", "/srv/app", "fetch", "--depth", "1", "origin", `refs/heads/job-${n}`] },
  { exe: "/usr/bin/dpkg-query", argv: (n) => ["dpkg-query", "--status", `lib${n % 301}`] },
  { exe: "/usr/bin/systemctl", argv: (n) => ["systemctl", "is-active", `unit-${n % 31}.service`] },
  { exe: "/usr/bin/find", argv: (n) => ["find", "/var/lib/app", "-name", `*.${n % 13}`, "-mtime", "+7", "-print0"] },
  { exe: "/usr/bin/gzip", argv: (n) => ["gzip", "-9", `/srv/backup/day-${n % 365}.tar`] },
  { exe: "/usr/bin/awk", argv: (n) => ["awk", `{ sum += $${(n % 9) + 1} } END { print sum }`, "/srv/data/readings.csv"] },
  { exe: "/usr/sbin/logrotate", argv: () => ["/usr/sbin/logrotate", "/etc/logrotate.conf"] },
  { exe: "/usr/bin/ssh", argv: (n) => ["ssh", "-o", "BatchMode=yes", `gw-${n % 50}.plant.example`, "uptime"] },
];
const shells = ["/usr/bin/bash", "/usr/bin/dash"] as const;
const services: readonly Ancestor[] = ["/usr/sbin/cron", "/usr/sbin/sshd", "/usr/lib/systemd/systemd", "/opt/app/bin/server"].map(
  (exe, at) => ({
    pid: 400 + at,
    startTicks: 900 + at,
    exe,
    argv: [exe],
  }),
);
/** Program starts that are worth an alert: one in this many. */
const ODD_ONE_IN = 500;

/** Seven events a program on average: exec, five of files and network, exit. Same seed, same events. */
export function mixedEvents(count: number, of: { device: string; epoch: string; seed: number }): SensorEvent[] {
  const random = lcg(of.seed);
  const pick = (below: number) => Math.floor(random() * below);
  const events: SensorEvent[] = [];
  let timeMs = 1_767_225_600_000 + of.seed;
  let pid = 3000;
  const add = (event: Pick<SensorEvent, "type" | "body">) => {
    timeMs += pick(3);
    events.push({ v: 1, device: of.device, epoch: of.epoch, seq: events.length, timeMs, ...event } as SensorEvent);
  };
  while (events.length < count) {
    const service = services[pick(services.length)]!;
    const shell: Ancestor = {
      pid: ++pid,
      startTicks: 100_000 + pid,
      exe: shells[pick(2)]!,
      argv: ["sh", "-c", `/srv/app/job.sh ${pick(50)}`],
    };
    for (let child = 1 + pick(4); child > 0; child--) {
      const process = programOf(pick, { pid: ++pid, service, shell });
      const { ancestors: _, ...brief } = process;
      add({ type: "process.exec", body: { process } });
      for (let at = pick(11); at > 0; at--) add(deedOf(brief, pick));
      add({ type: "process.exit", body: { process: brief, exitCode: pick(20) === 0 ? 1 : 0, signal: 0, durationMs: pick(4000) } });
    }
  }
  return events.slice(0, count);
}

function programOf(pick: (below: number) => number, of: { pid: number; service: Ancestor; shell: Ancestor }): Process {
  const program = programs[pick(programs.length)]!;
  const odd = pick(ODD_ONE_IN) === 0;
  return {
    pid: of.pid,
    startTicks: 100_000 + of.pid,
    ppid: of.shell.pid,
    uid: pick(4) === 0 ? 0 : 1000,
    user: "app",
    exe: odd ? "/tmp/.x/update" : program.exe,
    argv: odd ? ["/tmp/.x/update", "--daemon"] : program.argv(pick(10_000)),
    cwd: "/srv/app",
    parent: of.shell,
    ancestors: [of.service],
  };
}

function deedOf(process: Process, pick: (below: number) => number): Pick<SensorEvent, "type" | "body"> {
  const path = `/etc/${["ssl/certs", "app", "systemd/system", "default"][pick(4)]}/${pick(4000)}.conf`;
  switch (pick(6)) {
    case 0:
      return { type: "file.create", body: { process, file: { path } } };
    case 1:
      return { type: "file.modify", body: { process, file: { path: `/var/log/app/${pick(30)}.log` } } };
    case 2:
      return { type: "file.rename", body: { process, file: { path: `${path}.new`, to: path } } };
    case 3:
      return {
        type: "file.open",
        body: { process, file: { path: pick(100) === 0 ? "/etc/shadow" : "/etc/ssh/ssh_host_ed25519_key.pub", flags: 0 } },
      };
    case 4:
      return { type: "net.connect", body: { process, net: { proto: "tcp", dstIp: `10.0.${pick(4)}.${pick(250)}`, dstPort: 443 } } };
    default:
      return { type: "file.delete", body: { process, file: { path: `/var/tmp/app-${pick(5000)}` } } };
  }
}
