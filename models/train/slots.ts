// What the slots of templates can hold. Addresses are of the documentation and private ranges, names of nobody.
import type { Slot } from "./grammar.ts";
import type { Random } from "./random.ts";

const letters = "abcdefghijklmnopqrstuvwxyz";
const mixed = `${letters}${letters.toUpperCase()}0123456789`;
const run = (random: Random, from: string, least: number, most: number) =>
  Array.from({ length: least + random.below(most - least + 1) }, () => from[random.below(from.length)]).join("");

const ip: Slot = (r) =>
  r.pick([
    () => `10.${r.below(256)}.${r.below(256)}.${1 + r.below(254)}`,
    () => `192.168.${r.below(256)}.${1 + r.below(254)}`,
    () => `172.${16 + r.below(16)}.${r.below(256)}.${1 + r.below(254)}`,
    () => `${r.pick(["192.0.2", "198.51.100", "203.0.113"])}.${1 + r.below(254)}`,
    () => `${1 + r.below(220)}.${r.below(256)}.${r.below(256)}.${1 + r.below(254)}`,
  ])();
const host: Slot = (r) =>
  `${r.pick(["cdn", "srv-0", "node", "pkg", "files", "dl", "update", "gw", "mirror", "static", "data", run(r, letters, 4, 9)])}${r.chance(0.4) ? r.below(20) : ""}.${r.pick(["example", "test", "acme", run(r, letters, 4, 9)])}.${r.pick(["com", "net", "org", "io", "xyz", "top", "ru"])}`;
const address: Slot = (r) =>
  r.chance(0.7) ? ip(r) : r.chance(0.85) ? host(r) : r.pick(["$RHOST", "$IP", "$HOST", "127.0.0.1", "localhost"]);
const port: Slot = (r) =>
  r.chance(0.5)
    ? r.pick(["4444", "1337", "9001", "443", "80", "8080", "53", "5555", "1234", "31337", "6666", "9999", "8888", "6667", "3333"])
    : r.chance(0.95)
      ? `${1024 + r.below(64_000)}`
      : "$RPORT";
const sh: Slot = (r) =>
  r.pick([
    "/bin/sh",
    "/bin/bash",
    "sh",
    "bash",
    "/bin/dash",
    "/bin/zsh",
    "/usr/bin/bash",
    "/usr/bin/sh",
    "/bin/ash",
    "zsh",
    "ksh",
    "dash",
    "/bin/ksh",
    "/usr/bin/zsh",
    "/bin/tcsh",
  ]);
const name: Slot = (r) =>
  r.pick([
    () => run(r, letters, 1, 2),
    () => run(r, letters, 5, 9),
    () => run(r, mixed, 6, 10),
    () =>
      r.pick([
        "payload",
        "shell",
        "backdoor",
        "agent",
        "implant",
        "update",
        "sys",
        "kworkerd",
        "kthreadd",
        "x",
        "a",
        "bot",
        "run",
        "miner",
        "xmrig",
        "beacon",
        "stage",
        "implant",
        "dropper",
        "svc",
        "loader",
        "client",
        "nginxd",
        "sshd2",
        "crond2",
        "curl",
        "core",
        "init",
      ]),
  ])();
/** A name that chance made. */
const odd: Slot = (r) => (r.chance(0.6) ? run(r, letters, 6, 8) : run(r, mixed, 7, 10));
const folder: Slot = (r) =>
  r.pick([
    "/tmp",
    "/tmp",
    "/tmp",
    "/dev/shm",
    "/var/tmp",
    "/var/run",
    "/run",
    "/mnt",
    "/root",
    "/var/lock",
    "/tmp/.X11-unix",
    "/tmp/.ICE-unix",
    "/dev",
    "/var/www",
    "/usr/local/bin",
    "/usr/libexec",
    "/opt",
    "/etc",
    "/home/user",
    "/var/spool",
    "/srv/data",
    "/boot",
  ]);
const file: Slot = (r) => `${folder(r)}/${r.chance(0.3) ? "." : ""}${name(r)}`;
const script: Slot = (r) => `${name(r)}${r.pick([".sh", ".sh", ".sh", ".py", ".pl", "", ".elf", ".bin", ".txt"])}`;
const bot: Slot = (r) =>
  r.pick([
    () =>
      `${r.pick(["bins", "bin", "update", "8UsA", "sora", "arm", "wget", "curl", "tftp1", "tftp2", "ftp1", "x", "w", "c", "jaws", "sensi", "update", run(r, letters, 3, 8)])}.sh`,
    () =>
      `${r.chance(0.5) ? `${run(r, letters, 3, 7)}.` : ""}${r.pick(["x86", "x86_64", "arm", "arm5", "arm6", "arm7", "mips", "mpsl", "mipsel", "sh4", "ppc", "powerpc", "m68k", "spc", "sparc", "i586", "i686", "aarch64", "arc"])}`,
    () => run(r, mixed, 4, 9),
  ])();
const url: Slot = (r) =>
  `${r.pick(["http", "http", "http", "https", "ftp"])}://${address(r)}${r.chance(0.35) ? `:${port(r)}` : ""}/${r.chance(0.4) ? `${r.pick(["files", "bins", "d", "x", "pub", "static", "uploads", run(r, letters, 3, 7)])}/` : ""}${r.chance(0.5) ? script(r) : bot(r)}`;
const user: Slot = (r) =>
  r.pick([
    "root",
    "admin",
    "user",
    "pi",
    "www-data",
    "ubuntu",
    "operator",
    "support",
    "backup",
    "test",
    "oracle",
    "deploy",
    run(r, letters, 4, 8),
  ]);
const word: Slot = (r) => r.pick(["sample", "data", "main", "config", "secret", "item", "alpha", "node", "edge", run(r, letters, 3, 8)]);
const fd: Slot = (r) => r.pick(["3", "4", "5", "6", "9", "42", "75", "100", "196", `${3 + r.below(250)}`]);
const pass: Slot = (r) => r.pick(["P@ssw0rd", "123456", "admin", run(r, mixed, 8, 14)]);
const salt: Slot = (r) => run(r, mixed, 8, 8);
const key: Slot = (r) => `AAAAB3NzaC1yc2EAAAADAQABAAABA${run(r, mixed, 40, 120)}`;
const blob: Slot = (r) => Buffer.from(run(r, `${mixed}  ;/|-`, 24, 120)).toString("base64");
const wallet: Slot = (r) => `4${run(r, mixed, 60, 94)}`;
const pool: Slot = (r) =>
  `${r.pick(["pool", "xmr", "mine", "eu1"])}.${r.pick(["example.org", "example.net", "minexmr.test", "pool.example"])}:${r.pick(["3333", "4444", "5555", "7777", "14444", "443"])}`;
const data: Slot = (r) =>
  r.pick([
    "/etc/passwd",
    "/etc/shadow",
    "/etc/hosts",
    "/root/.ssh/id_rsa",
    "/home/user/report.txt",
    "/srv/data/readings.csv",
    "/var/log/syslog",
    "config.json",
    "archive.tar.gz",
    "/etc/sudoers",
    "/var/lib/app/db.sqlite",
    "/root/.bash_history",
    "/srv/backup/day.tar",
    "/etc/ssh/sshd_config",
    `/srv/${word(r)}/${word(r)}.${r.pick(["txt", "csv", "db", "json", "log"])}`,
  ]);
const output: Slot = (r) =>
  r.pick([
    "/tmp/out.txt",
    "/dev/shm/t",
    "out.bin",
    "loot.tgz",
    "/var/tmp/out.txt",
    "/tmp/f1",
    "config.json",
    "archive.tar.gz",
    `/tmp/${word(r)}.txt`,
  ]);
const seconds: Slot = (r) => `${1 + r.below(300)}`;
const number: Slot = (r) => `${1 + r.below(999)}`;
const app: Slot = (r) =>
  r.pick([
    "app",
    "web",
    "api",
    "gateway",
    "sensor",
    "kiosk",
    "collector",
    "grafana",
    "mosquitto",
    "nginx",
    "redis",
    "postgres",
    "node-red",
    "homeassistant",
    "zigbee2mqtt",
    "telegraf",
    "influxdb",
  ]);
const path: Slot = (r) =>
  r.pick([
    `/srv/${app(r)}/${word(r)}`,
    `/etc/${app(r)}/${word(r)}.conf`,
    `/var/lib/${app(r)}`,
    `/opt/${app(r)}/bin/${word(r)}`,
    `/home/user/${word(r)}.txt`,
    `${word(r)}/${word(r)}.c`,
    `src/${word(r)}.ts`,
    `/var/log/${app(r)}/${word(r)}.log`,
    `/usr/share/${app(r)}/${word(r)}`,
    `/usr/lib/${app(r)}/${word(r)}.so`,
    `/tmp/${app(r)}-${r.below(9999)}`,
    `/tmp/tmp.${run(r, mixed, 10, 10)}`,
    `/run/${app(r)}.pid`,
  ]);
const pkg: Slot = (r) =>
  r.pick([
    "curl",
    "git",
    "nginx",
    "python3",
    "build-essential",
    "libssl-dev",
    "htop",
    "jq",
    "ca-certificates",
    "openssh-server",
    "netcat-openbsd",
    "socat",
    "cron",
    "mosquitto",
    "redis-server",
    "nodejs",
    "vim",
    "tmux",
    "rsync",
    "gnupg",
  ]);
const elf: Slot = (r) =>
  r.pick([
    "id",
    "whoami",
    "uname -a",
    "cat /proc/cpuinfo",
    "ls -la",
    "w",
    "free -m",
    "ps aux",
    "hostname",
    "cat /etc/os-release",
    "ifconfig",
    "ip a",
  ]);

/** Slots that attacks and ordinary work share, so that no address and no name gives either away. */
export const slots = {
  ip,
  host,
  address,
  port,
  sh,
  name,
  odd,
  folder,
  file,
  script,
  bot,
  url,
  user,
  word,
  fd,
  pass,
  salt,
  key,
  blob,
  wallet,
  pool,
  data,
  output,
  seconds,
  number,
  app,
  path,
  pkg,
  elf,
};
