// Synthetic sites: gateways, kiosks, sensors and small servers, each with habits of its own that a seed decides.
import { DAY, deviceOf, type Habit, often, type SyntheticDevice, zipf } from "./behaviour-device.ts";
import { addressOf, cron, housekeeping, people, type RecordedMinute, recordedWork, service } from "./behaviour-habits.ts";
import { type Random, randomOf } from "./random.ts";

const vendors = ["acme", "nordwind", "lumen", "kestrel", "orbit", "fjord", "basalt", "quill", "tern", "marl"];
const jobs = ["uplink", "collector", "watchdog", "bridge", "sync", "relay", "probe", "updater", "health", "report"];
const tools = [
  "/usr/bin/curl",
  "/usr/bin/cat",
  "/usr/bin/grep",
  "/usr/bin/awk",
  "/usr/bin/date",
  "/usr/bin/jq",
  "/usr/bin/tar",
  "/usr/bin/rsync",
];

type Make = (random: Random, recorded: readonly RecordedMinute[]) => Habit[];

const someOf = <T>(of: readonly T[], count: number, random: Random) => Array.from({ length: count }, () => random.pick(of));
const app = (random: Random) => `/opt/${random.pick(vendors)}/bin/${random.pick(jobs)}`;
const networks = (count: number, random: Random) => Array.from({ length: count }, () => random.below(15_000));

function job(period: number, random: Random): Habit {
  const writes = random.chance(0.5) ? [`/var/log/${random.pick(jobs)}.log`] : [];
  return cron(
    { period, phase: random.below(period), script: `/usr/local/bin/${random.pick(jobs)}.sh`, tools: someOf(tools, 3, random), writes },
    random,
  );
}

const gateway: Make = (random) => {
  const broker = app(random);
  const ports = random.pick([1883, 8883, 502]);
  const lan = random.below(15_000);
  return [
    service({ exe: broker, port: ports, networks: networks(3, random), connections: 2 + random.below(4) }, random),
    service({ exe: "/usr/sbin/dnsmasq", port: 53, networks: [60_000, 60_001], connections: 6 + random.below(12) }, random),
    // What passes through, or is asked for by the local network: mostly the same, always something new.
    (script) => {
      for (let left = often(1.5, random); left > 0; left--)
        script.connect(broker, addressOf(16_000 + zipf(4000, random), random), random.pick([443, 443, 80]));
      for (let left = often(0.5, random); left > 0; left--) script.accept(broker, 1883, addressOf(lan, random));
    },
    job(5, random),
    job(30, random),
    people({ perDay: 0.3, from: networks(3, random) }, random),
  ];
};

const kiosk: Make = (random) => {
  const browser = random.pick(["/usr/lib/chromium/chromium", "/usr/lib/firefox-esr/firefox-esr"]);
  return [
    (script, minute) => {
      const hour = (minute % DAY) / 60;
      const busy = hour > 8 && hour < 21 ? 1 : 0.05;
      for (let left = often(5 * busy, random); left > 0; left--) {
        script.dns(browser, "cdn.example.net");
        script.connect(browser, addressOf(30_000 + zipf(1500, random), random), random.chance(0.95) ? 443 : 80);
      }
      for (let left = often(0.8 * busy, random); left > 0; left--) script.exec(browser, browser);
      if (random.chance(0.3 * busy)) script.write(browser, `/tmp/.org.chromium.${random.below(99_999)}`, "file.create");
    },
    service({ exe: app(random), port: 443, networks: networks(2, random), connections: 0.5, children: ["/usr/bin/xset"] }, random),
    job(10, random),
    people({ perDay: 0.1, from: networks(2, random) }, random),
  ];
};

const sensor: Make = (random) => {
  const reader = app(random);
  return [
    service(
      {
        exe: reader,
        port: random.pick([1883, 8883, 443]),
        networks: networks(1, random),
        connections: 0.7,
        writes: ["/var/log/readings.csv"],
      },
      random,
    ),
    job(random.pick([1, 5, 15]), random),
    people({ perDay: 0.05, from: networks(1, random) }, random),
  ];
};

const server: Make = (random, recorded) => {
  const web = random.pick(["/usr/sbin/nginx", "/usr/sbin/apache2"]);
  const own = app(random);
  const clients = networks(200, random);
  return [
    (script, minute) => {
      const busy = 1 + Math.sin((minute / DAY) * 2 * Math.PI);
      for (let left = often(8 * busy, random); left > 0; left--) script.accept(web, 443, addressOf(clients[zipf(200, random)]!, random));
      if (random.chance(0.05)) script.login(false, addressOf(40_000 + random.below(10_000), random));
    },
    service(
      {
        exe: own,
        port: 5432,
        networks: networks(1, random),
        connections: 3,
        children: ["/usr/bin/convert", "/usr/bin/node"],
        writes: ["/var/www/cache/page.html"],
      },
      random,
    ),
    job(1, random),
    job(60, random),
    recordedWork(recorded, 1, random),
    people({ perDay: 1.5, from: networks(6, random) }, random),
  ];
};

const profiles: Readonly<Record<string, Make>> = { gateway, kiosk, sensor, server };

/** `count` devices, profiles in turn. The same seed makes the same site. */
export function syntheticSite(seed: number, count: number, recorded: readonly RecordedMinute[]): SyntheticDevice[] {
  const names = Object.keys(profiles);
  return Array.from({ length: count }, (_, at) => {
    const random = randomOf(seed * 1009 + at * 7919 + 1);
    const profile = names[at % names.length]!;
    return deviceOf(`${profile}-${at}`, profile, [...profiles[profile]!(random, recorded), ...housekeeping(random)], random);
  });
}
