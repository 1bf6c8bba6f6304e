// What an intruder's minute looks like in events, varied by seed. Nothing here is ever run.
import type { SensorEvent } from "@picket/protocol/event";
import { FIRST_MINUTE, Script } from "./behaviour-device.ts";
import { addressOf } from "./behaviour-habits.ts";
import type { Random } from "./random.ts";

const BASH = "/usr/bin/bash";
const SH = "/usr/bin/dash";

type Scenario = (script: Script, random: Random) => void;
const times = (least: number, most: number, random: Random) => least + random.below(most - least + 1);
const word = (random: Random) => Array.from({ length: 6 }, () => "abcdefghijklmnopqrstuvwxyz"[random.below(26)]).join("");
const hidden = (random: Random) =>
  `${random.pick(["/tmp", "/var/tmp", "/dev/shm", "/run/user"])}/${random.chance(0.5) ? "." : ""}${word(random)}`;
const outside = (random: Random) => addressOf(61_000 + random.below(4000), random);

export const scenarios: Readonly<Record<string, Scenario>> = {
  "port scan": (script, random) => {
    const program = random.pick(["/usr/bin/nmap", "/usr/bin/python3", "/usr/bin/nc.openbsd", BASH]);
    if (program !== BASH) script.exec(program, BASH);
    const network = random.below(15_000);
    const one = addressOf(network, random);
    for (let left = times(20, 250, random); left > 0; left--)
      script.connect(program, random.chance(0.5) ? one : addressOf(network, random), 1 + random.below(10_000));
  },
  "bot spread": (script, random) => {
    const bot = hidden(random);
    script.line(SH, "/usr/bin/wget");
    script.write("/usr/bin/wget", bot, "file.create");
    script.chmod("/usr/bin/chmod", bot);
    script.line(SH, bot);
    script.remove(bot, bot);
    for (let left = times(15, 150, random); left > 0; left--)
      script.connect(bot, addressOf(random.below(65_000), random), random.pick([23, 23, 2323, 22, 7547]));
  },
  "miner start": (script, random) => {
    const miner = `${hidden(random)}/${random.pick(["xmrig", "kdevtmpfsi", word(random)])}`;
    script.line(SH, "/usr/bin/curl");
    script.connect("/usr/bin/curl", outside(random), random.pick([80, 443]));
    script.write("/usr/bin/curl", miner, "file.create");
    script.line(SH, "/usr/bin/chmod");
    script.chmod("/usr/bin/chmod", miner);
    script.line(SH, "/usr/bin/pkill");
    script.line(SH, "/usr/bin/nohup", miner);
    script.connect(miner, outside(random), random.pick([3333, 4444, 5555, 443, 14433]));
  },
  "data staging": (script, random) => {
    const archive = `${hidden(random)}.tgz`;
    script.line(BASH, "/usr/bin/find");
    for (let left = times(3, 25, random); left > 0; left--)
      script.read("/usr/bin/tar", random.pick(["/etc/shadow", "/root/.ssh/id_rsa", "/home/a/.aws/credentials"]));
    script.line(BASH, "/usr/bin/tar", "/usr/bin/gzip");
    script.write("/usr/bin/tar", archive, "file.create");
    script.line(BASH, random.pick(["/usr/bin/openssl", "/usr/bin/base64", "/usr/bin/split"]));
    for (let left = times(1, 8, random); left > 0; left--)
      script.connect(random.pick(["/usr/bin/curl", "/usr/bin/scp"]), outside(random), random.pick([443, 22, 8080]));
    script.remove("/usr/bin/rm", archive);
  },
  "reverse shell session": (script, random) => {
    const parent = random.pick(["/usr/sbin/nginx", "/usr/bin/python3", "/usr/bin/node", SH, "/usr/sbin/cron"]);
    const shell = script.line(parent, random.pick([SH, BASH]));
    script.connect(shell, outside(random), random.pick([4444, 443, 9001, 1337, 53]));
    for (let left = times(3, 12, random); left > 0; left--)
      script.exec(
        `/usr/bin/${random.pick(["id", "whoami", "uname", "cat", "ls", "ps", "ip", "netstat", "find", "python3", "w", "last", "getcap"])}`,
        shell,
      );
    if (random.chance(0.5)) script.read("/usr/bin/cat", "/etc/shadow");
  },
  "persistence writes": (script, random) => {
    const shell = random.pick([BASH, SH]);
    const places = [
      "/etc/cron.d/",
      "/etc/systemd/system/",
      "/etc/profile.d/",
      "/etc/ld.so.preload",
      "/root/.ssh/authorized_keys",
      "/root/.bashrc",
      "/etc/init.d/",
      "/var/spool/cron/crontabs/root",
      "/etc/update-motd.d/",
      "/usr/local/bin/",
    ];
    for (let left = times(1, 4, random); left > 0; left--) {
      const place = random.pick(places);
      script.write(
        random.pick([shell, "/usr/bin/tee", "/usr/bin/cp"]),
        place.endsWith("/") ? `${place}${word(random)}` : place,
        "file.create",
      );
    }
    script.line(shell, random.pick(["/usr/bin/crontab", "/usr/bin/systemctl", "/usr/bin/chattr", "/usr/bin/touch"]));
  },
  "lateral ssh": (script, random) => {
    script.line(BASH, "/usr/bin/ssh-keyscan");
    script.read("/usr/bin/ssh", "/root/.ssh/id_rsa");
    const network = random.below(15_000);
    for (let left = times(4, 40, random); left > 0; left--) {
      script.line(BASH, random.pick(["/usr/bin/ssh", "/usr/bin/ssh", "/usr/bin/scp", "/usr/bin/sshpass"]));
      script.connect("/usr/bin/ssh", addressOf(network + random.below(3), random), 22);
    }
  },
};

/** The events of one attack on a device in a minute that is `at` minutes after the first. */
export function attackMinute(scenario: string, device: string, at: number, random: Random): SensorEvent[] {
  const script = new Script(device, FIRST_MINUTE + at, random);
  scenarios[scenario]!(script, random);
  return script.events;
}
