import type { EventType, SensorEvent } from "@picket/protocol/event";
import { expect, test } from "vitest";
import { calibrate, energyAt, rateAt, scoreOf } from "./calibration.ts";
import { FEATURES, featureNames, featuresOf } from "./features.ts";
import { keysOf, networkOf, placeOf, programName } from "./keys.ts";
import { fitNetwork } from "./network.ts";
import { knownOf, Tally, without } from "./past.ts";
import { MAX_KEYS, type Minute, MinuteWindow } from "./window.ts";

const process = (exe: string, parent = "/usr/bin/bash") => ({
  pid: 1,
  startTicks: 1,
  ppid: 0,
  uid: 0,
  exe,
  argv: [exe],
  parent: { pid: 2, exe: parent },
});
const event = (type: EventType, body: object, timeMs = 0): SensorEvent =>
  ({ v: 1, device: "gw-1", epoch: "abcdefgh", seq: 0, timeMs, type, body }) as SensorEvent;
const exec = (exe: string, parent?: string) => event("process.exec", { process: process(exe, parent) });
const connect = (dstIp: string, dstPort: number) =>
  event("net.connect", { process: process("/usr/bin/nc"), net: { proto: "tcp", dstIp, dstPort } });

function minuteOf(events: readonly SensorEvent[]): Minute {
  const window = new MinuteWindow("gw-1", 0);
  for (const one of events) window.add(one, "id");
  return window.summary();
}
const pastOf = (...minutes: readonly Minute[]) => {
  const tally = new Tally();
  for (const minute of minutes) tally.add(minute);
  return knownOf(tally.table(100));
};
const valueIn = (row: Float32Array, name: string) => row[featureNames.indexOf(name)];

test.each([
  ["/bin/ls", "/usr/bin/ls"],
  ["/proc/1234/exe", "/proc/#/exe"],
  ["/tmp/tmp.a1b2c3d4/run (deleted)", "/tmp/*/run"],
  ["/memfd:x (deleted)", "memfd:"],
  ["/var/lib/dpkg/info/libc6:amd64.postinst", "/var/lib/dpkg/info/*.postinst"],
  ["/snap/0a1b2c3d4e5f/bin/x", "/snap/*/bin/x"],
])("%s is remembered as %s", (exe, name) => expect(programName(exe)).toBe(name));

test.each([
  ["/etc/cron.d/job", "/etc/cron.d/job"],
  ["/etc/ld.so.preload", "/etc/ld.so.preload"],
  ["/root/.bashrc", "/root/.bashrc"],
  ["/home/ann/.ssh/authorized_keys", "/home/~/.ssh"],
  ["/home/ann/.profile", "/home/~/.profile"],
  ["/var/lib/a/b/c/d/file", "/var/lib/a/b"],
  ["/file", "/"],
])("a write to %s is one to %s", (path, place) => expect(placeOf(path)).toBe(place));

test.each([
  ["192.0.2.77", "192.0.2.0/24"],
  ["::ffff:192.0.2.77", "192.0.2.0/24"],
  ["127.8.8.8", "loopback"],
  ["::1", "loopback"],
  ["2001:db8:0:7::1", "2001:db8:0:7::/64"],
  ["2001:db8::1", "2001:db8:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
])("%s lies in %s", (ip, network) => expect(networkOf(ip)).toBe(network));

test("what packages install is one place, and names are cut", () => {
  const by = (exe: string, path: string) => keysOf(event("file.create", { process: process(exe), file: { path } }))[0]?.name;
  expect(by("/usr/bin/dpkg", "/usr/bin/new")).toBe("what packages install");
  expect(by("/usr/bin/cp", "/usr/bin/new")).toBe("/usr/bin");
  expect(keysOf(exec(`/opt/${"x".repeat(4000)}`))[0]?.name).toHaveLength(120);
});

test("features say how much there was and how new it is to the device and to its site", () => {
  const usual = minuteOf([exec("/usr/bin/cron"), connect("10.0.0.1", 443)]);
  const own = pastOf(usual, usual, usual);
  const site = pastOf(usual, usual, usual, minuteOf([exec("/usr/bin/nc")]));
  const row = featuresOf(minuteOf([exec("/usr/bin/nc"), exec("/usr/bin/cron"), connect("10.0.0.1", 23), connect("10.0.0.2", 23)]), {
    own,
    site,
  });
  expect(row).toHaveLength(FEATURES);
  expect(valueIn(row, "count net.connect")).toBeCloseTo(Math.log(3));
  expect(valueIn(row, "new port")).toBeCloseTo(Math.log(2));
  expect(valueIn(row, "newCount port")).toBeCloseTo(Math.log(3));
  expect(valueIn(row, "new destination")).toBe(0);
  expect(valueIn(row, "new program")).toBeCloseTo(Math.log(2));
  expect(valueIn(row, "newAtSite program")).toBe(0);
  expect(valueIn(row, "surprise program")).toBeGreaterThan(valueIn(row, "surpriseAtSite program")!);
});

test("many minutes that come at once share their counts", () => {
  const events = Array.from({ length: 60 }, (_, at) => event("process.exec", { process: process("/usr/bin/cron") }, at * 60_000));
  const past = { own: undefined, site: pastOf(minuteOf(events)) };
  expect(valueIn(featuresOf(minuteOf(events), past), "count process.exec")).toBeCloseTo(Math.log1p(60 / 59));
});

test("a minute keeps at most so many keys of a kind, and a table the most frequent ones", () => {
  const storm = minuteOf(Array.from({ length: 2000 }, (_, at) => connect("10.0.0.1", at)));
  expect(storm.keys.port.hashes).toHaveLength(MAX_KEYS);
  const tally = new Tally();
  tally.add(storm);
  tally.add(minuteOf([connect("10.0.0.1", 5)]));
  const { of } = tally.table(10);
  expect([of.port.hashes.length, Math.max(...of.port.minutes)]).toEqual([10, 2]);
});

test("a site without one of its devices knows only what others did", () => {
  const one = pastOf(minuteOf([exec("/usr/bin/a")]));
  const all = pastOf(minuteOf([exec("/usr/bin/a")]), minuteOf([exec("/usr/bin/b")]));
  const others = without(all, one);
  const [a, b] = ["/usr/bin/a", "/usr/bin/b"].map((exe) => keysOf(exec(exe))[0]!.hash);
  expect([others.minutes, others.count("program", a!), others.count("program", b!)]).toEqual([1, 0, 1]);
});

test("a threshold lets through as many blocks of ten minutes as asked for, also fewer than were ever seen", () => {
  const scored = Array.from({ length: 14_400 }, (_, minute) => ({
    device: "a",
    minute,
    energy: minute % 1440 === 0 ? 100 + minute / 1440 : minute % 7,
  }));
  const calibration = calibrate(scored);
  const once = energyAt(calibration.alerts, 1);
  expect(scored.filter(({ energy }) => energy >= once)).toHaveLength(10);
  expect(energyAt(calibration.alerts, 0.01)).toBeGreaterThan(110);
  expect(rateAt(calibration.alerts, energyAt(calibration.alerts, 0.01))).toBeCloseTo(0.01);
  expect([scoreOf(calibration, 0), scoreOf(calibration, 1000)]).toEqual([0, 1]);
  expect(scoreOf(calibration, 50)).toBeGreaterThan(scoreOf(calibration, 5));
});

test("a network that only ever saw nothing finds something far out", () => {
  const network = fitNetwork(new Float32Array(1000 * FEATURES), { own: 1, stranger: 1 });
  expect(network.tails[0]!.decades.at(-1)).toBeCloseTo(2, 0);
});
