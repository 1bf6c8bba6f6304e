// Habits that devices share: services, cron jobs, people who log in, upgrades, and work recorded on a real machine.
import type { SensorEvent } from "@picket/protocol/event";
import { DAY, type Habit, often, type Script, zipf } from "./behaviour-device.ts";
import type { Random } from "./random.ts";

const SH = "/usr/bin/dash";
const BASH = "/usr/bin/bash";
const CRON = "/usr/sbin/cron";
const INIT = "/usr/lib/systemd/systemd";

/** An address in one of 65,536 networks, always the same one for a number. */
export const addressOf = (network: number, random: Random): string =>
  `10.${(network >> 8) & 255}.${network & 255}.${1 + random.below(254)}`;

export type Service = {
  readonly exe: string;
  readonly port: number;
  /** Networks it talks to, the first most often. */
  readonly networks: readonly number[];
  /** Connections a minute, on average. */
  readonly connections: number;
  readonly children?: readonly string[];
  readonly writes?: readonly string[];
};

export const service =
  (of: Service, random: Random): Habit =>
  (script) => {
    for (let left = often(of.connections, random); left > 0; left--) {
      const network = of.networks[zipf(of.networks.length, random)] ?? of.networks[0]!;
      if (random.chance(0.3)) script.dns(of.exe, "api.example.org");
      script.connect(of.exe, addressOf(network, random), of.port);
    }
    for (const child of of.children ?? []) if (random.chance(0.15)) script.exec(child, of.exe);
    for (const path of of.writes ?? []) if (random.chance(0.2)) script.write(of.exe, path);
    // Even good services restart.
    if (random.chance(1 / (3 * DAY))) {
      script.line(INIT, of.exe);
      script.listen(of.exe, 8080);
      script.fails(of.exe);
    }
  };

/** Every `period` minutes, or at `phase` of the day when the period is a day: a script with its helpers. */
export const cron =
  (of: { period: number; phase: number; script: string; tools: readonly string[]; writes?: readonly string[] }, random: Random): Habit =>
  (script, minute) => {
    if (minute % of.period !== of.phase % of.period) return;
    const shell = script.line(CRON, CRON, SH, of.script);
    script.setuid(CRON);
    for (const tool of of.tools) for (let left = 1 + often(0.7, random); left > 0; left--) script.exec(tool, shell);
    for (const path of of.writes ?? []) script.write(of.script, path, random.chance(0.5) ? "file.create" : "file.modify");
  };

const nightly = ["/usr/sbin/logrotate", "/usr/bin/find", "/usr/bin/gzip", "/usr/bin/savelog", "/usr/bin/dpkg", "/usr/bin/cmp"];
const logs = ["/var/log/syslog", "/var/log/auth.log", "/var/log/dpkg.log", "/var/log/apt/history.log"];

/** What Debian does at night and every hour, at times of its own on each device. */
export function housekeeping(random: Random): Habit[] {
  const daily = 60 * 3 + random.below(200);
  return [
    cron({ period: 60, phase: random.below(60), script: "/usr/bin/run-parts", tools: [] }, random),
    (script, minute) => {
      if (minute % DAY !== daily) return;
      script.line(INIT, "/usr/bin/run-parts");
      for (const tool of nightly) script.exec(tool, "/usr/bin/run-parts");
      for (const log of logs) {
        script.rename("/usr/sbin/logrotate", log, `${log}.1`);
        script.write("/usr/sbin/logrotate", log, "file.create");
      }
    },
    (script, minute) => {
      if (minute % (DAY / 2) !== (daily * 7) % (DAY / 2)) return;
      script.line(INIT, SH, "/usr/lib/apt/apt.systemd.daily", "/usr/bin/apt-get", "/usr/lib/apt/methods/http");
      for (let left = 2 + random.below(4); left > 0; left--)
        script.connect("/usr/lib/apt/methods/http", addressOf(50_000 + random.below(3), random), 80);
      script.write("/usr/bin/apt-get", "/tmp/apt.conf.x1a2b3", "file.create");
    },
    (script) => {
      if (random.chance(0.02))
        script.connect("/usr/lib/systemd/systemd-timesyncd", addressOf(50_010 + random.below(4), random), 123, "udp");
      if (random.chance(0.01)) script.line(INIT, "/usr/lib/systemd/systemd-tmpfiles");
    },
    upgrade(random),
  ];
}

const postinst = [
  "/usr/bin/dpkg-deb",
  "/usr/bin/tar",
  "/usr/bin/rm",
  "/usr/sbin/ldconfig",
  "/usr/bin/deb-systemd-helper",
  "/usr/bin/mandb",
  "/usr/bin/update-alternatives",
];
const targets = ["/usr/bin/", "/usr/lib/systemd/system/", "/usr/sbin/", "/etc/default/", "/etc/init.d/", "/usr/local/share/"];

/** Two or three times a month packages are upgraded: minutes of many programs and writes, other ones each time. */
function upgrade(random: Random): Habit {
  let left = 0;
  return (script, minute) => {
    const hour = (minute % DAY) / 60;
    if (left === 0 && hour > 8 && hour < 18 && random.chance(1 / (5 * DAY))) left = 1 + random.below(4);
    if (left === 0) return;
    left--;
    script.line(INIT, SH, "/usr/bin/unattended-upgrade", "/usr/bin/dpkg");
    for (let packages = 2 + random.below(12); packages > 0; packages--) {
      const name = `lib${zipf(600, random)}`;
      for (const tool of postinst) if (random.chance(0.6)) script.exec(tool, "/usr/bin/dpkg");
      script.exec(`/var/lib/dpkg/info/${name}.postinst`, "/usr/bin/dpkg");
      if (random.chance(0.1)) script.exec(`/tmp/${name}.config.${random.below(99_999)}`, "/usr/sbin/dpkg-preconfigure");
      for (let files = 1 + random.below(6); files > 0; files--) {
        const path = `${random.pick(targets)}${name}`;
        script.write("/usr/bin/dpkg", `${path}.dpkg-new`, "file.create");
        script.rename("/usr/bin/dpkg", `${path}.dpkg-new`, path);
        script.chmod("/usr/bin/dpkg", path);
      }
    }
    for (let fetched = 4; fetched > 0; fetched--)
      script.connect("/usr/lib/apt/methods/http", addressOf(50_000 + random.below(3), random), 80);
  };
}

const typed =
  "ls cat systemctl journalctl vi less grep tail df free top ps ip ss ping cp mv nano git apt-get python3 curl tar find sed awk make rsync ssh dmesg date hostnamectl mount lsblk crontab chmod wget htop du which env uname tcpdump strace nmap nc gcc".split(
    " ",
  );
const edited = [
  "/etc/hosts",
  "/etc/default/app",
  "/etc/systemd/system/app.service",
  "/etc/crontab",
  "/etc/ssh/sshd_config",
  "/root/.bashrc",
  "/etc/fstab",
  "/etc/nftables.conf",
];

/** Somebody logs in now and then, and types for some minutes; common commands mostly, rare ones sometimes. */
export function people(of: { perDay: number; from: readonly number[] }, random: Random): Habit {
  let left = 0;
  return (script, minute) => {
    const hour = (minute % DAY) / 60;
    if (left === 0 && hour > 7 && hour < 20 && random.chance(of.perDay / (13 * 60))) {
      left = 2 + random.below(25);
      const from = addressOf(of.from[zipf(of.from.length, random)] ?? of.from[0]!, random);
      if (random.chance(0.1)) script.login(false, from);
      script.accept("/usr/sbin/sshd", 22, from);
      script.login(true, from);
      script.line("/usr/sbin/sshd", "/usr/sbin/sshd", BASH);
      script.line(BASH, "/usr/bin/dircolors");
    }
    if (left === 0) return;
    left--;
    for (let commands = often(3, random); commands > 0; commands--) type(script, random);
  };
}

function type(script: Script, random: Random): void {
  const program = `/usr/bin/${typed[zipf(typed.length, random)] ?? "ls"}`;
  if (random.chance(0.3)) {
    script.sudo();
    script.line(BASH, "/usr/bin/sudo", program);
  } else script.line(BASH, program);
  if (random.chance(0.1)) script.fails(program);
  if (program.endsWith("vi") || program.endsWith("nano")) {
    const path = edited[zipf(edited.length, random)] ?? edited[0]!;
    script.write(program, path);
    script.write(program, `${path}.swp`, "file.create");
  }
  if (/curl|wget|git|ssh|rsync|apt-get/.test(program))
    script.connect(program, addressOf(20_000 + zipf(400, random), random), random.pick([443, 443, 443, 22, 80]));
}

/** An event of the recorded work without who and when; the same in a minute is counted. */
export type Recorded = {
  readonly type: SensorEvent["type"];
  readonly exe: string;
  readonly parent?: string;
  readonly path?: string;
  readonly ip?: string;
  readonly port?: number;
  readonly times: number;
};
export type RecordedMinute = readonly Recorded[];

/** Work recorded on a real machine (package queries, git, tests, archives, searches) comes back now and then, a minute at a time. */
export function recordedWork(minutes: readonly RecordedMinute[], perDay: number, random: Random): Habit {
  let left = 0;
  return (script, minute) => {
    const hour = (minute % DAY) / 60;
    if (minutes.length === 0) return;
    if (left === 0 && hour > 8 && hour < 19 && random.chance(perDay / (11 * 60))) left = 1 + random.below(6);
    if (left === 0) return;
    left--;
    for (const recorded of random.pick(minutes)) for (let times = Math.min(recorded.times, 40); times > 0; times--) again(script, recorded);
  };
}

function again(script: Script, { type, exe, parent, path, ip, port }: Recorded): void {
  if (type === "process.exec") script.exec(exe, parent ?? BASH);
  else if (type === "process.exit") script.fails(exe);
  else if (type === "net.connect") script.connect(exe, ip ?? "127.0.0.1", port ?? 80);
  else if (type === "net.listen") script.listen(exe, port ?? 8080);
  else if (type === "file.delete") script.remove(exe, path ?? "/tmp/x");
  else if (type === "file.rename") script.rename(exe, path ?? "/tmp/x", path ?? "/tmp/x");
  else if (type === "file.chmod") script.chmod(exe, path ?? "/tmp/x");
  else if (type === "file.create" || type === "file.modify") script.write(exe, path ?? "/tmp/x", type);
}
