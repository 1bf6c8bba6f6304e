import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { SensorEvent } from "@picket/protocol/event";
import { afterEach, beforeEach, expect, test } from "vitest";
import { hostMetrics, startMetrics } from "./metrics.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "picket-metrics-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

const put = (files: Record<string, string>) => {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), text);
  }
};
const roots = () => ({ proc: join(dir, "proc"), sys: join(dir, "sys") });

test("this host, as the protocol says it", () => {
  const events: unknown[] = [];
  using _ = startMetrics(60_000, (draft) => events.push({ v: 1, device: "d", epoch: "aaaaaaaa", seq: 0, ...draft }));
  const event = SensorEvent.parse(events[0]);
  if (event.type !== "host.metrics") throw new Error(event.type);
  expect(event.body.memory.totalBytes).toBeGreaterThan(event.body.memory.availableBytes);
  expect(event.body.disks.length).toBeGreaterThan(0);
  expect(event.body.disks[0]!.totalBytes).toBeGreaterThan(1e8);
  expect(event.body.topProcesses.length).toBeGreaterThan(0);
  expect(event.body.topProcesses[0]).toMatchObject({ exe: expect.stringMatching(/./), rssBytes: expect.any(Number) });
  expect(event.body.uptimeS).toBeGreaterThan(0);
});

test("use is measured since the last time; a process that has the pid of another starts from nothing", () => {
  const stat = (busy: number, idle: number) => `cpu  ${busy} 0 0 ${idle} 0 0 0 0 0 0\ncpu0 1 1\ncpu1 1 1\n`;
  const process = (ticks: number, start: number) => `7 (a b) c) S 1 7 7 0 -1 0 0 0 0 0 ${ticks} 0 0 0 20 0 1 0 ${start} 1 2`;
  put({
    "proc/stat": stat(100, 100),
    "proc/7/stat": process(50, 9),
    "proc/7/cmdline": "/usr/bin/worker\0-x",
    "proc/7/status": "VmRSS:\t   2048 kB\n",
  });
  const measure = hostMetrics(roots());
  measure();
  put({ "proc/stat": stat(175, 125), "proc/7/stat": process(75, 9) });
  expect(measure()).toMatchObject({ cpu: { busy: 0.75 }, topProcesses: [{ pid: 7, exe: "/usr/bin/worker", cpu: 0.5, rssBytes: 2 << 20 }] });
  put({ "proc/stat": stat(200, 200), "proc/7/stat": process(5, 400) });
  expect(measure()).toMatchObject({ cpu: { busy: 0.25 }, topProcesses: [{ cpu: 0.1 }] });
});

test("a Raspberry Pi's temperature, and what slows it down and did", () => {
  put({
    "sys/class/thermal/thermal_zone0/temp": "61234\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/cooling_device0/type": "gpio-fan\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "proc/net/dev": "Inter-|   Receive\n face |bytes\n    lo: 1 0 0 0 0 0 0 0 1 0\n  eth0: 123 4 0 0 0 0 0 0 456 7 0 0 0 0 0 0\n",
  });
  expect(hostMetrics(roots())()).toMatchObject({
    temperatures: [{ name: "cpu-thermal", celsius: 61.2 }],
    throttled: ["under-voltage", "throttled"],
    interfaces: [{ name: "eth0", rxBytes: 123, txBytes: 456 }],
  });
  put({ "sys/devices/platform/soc/soc:firmware/get_throttled": "10000\n" });
  expect(hostMetrics(roots())().throttled).toEqual(["was under-voltage"]);
});

test("a host that tells nothing has empty figures, and garbage stops nothing", () => {
  const empty = hostMetrics(roots())();
  expect(empty).toEqual({
    cpu: { busy: 0, load1: 0 },
    memory: { totalBytes: 0, availableBytes: 0 },
    disks: [],
    interfaces: [],
    topProcesses: [],
    uptimeS: 0,
  });
  put({
    "proc/stat": "cpu  x\n",
    "proc/3/stat": "((((",
    "proc/4/stat": "4 (x) S",
    "proc/self/mounts": "garbage\n",
    "proc/net/dev": ":::",
    "sys/class/thermal/thermal_zone0/temp": "hot",
  });
  const measure = hostMetrics(roots());
  measure();
  expect(
    SensorEvent.safeParse({ v: 1, device: "d", epoch: "aaaaaaaa", seq: 0, timeMs: 0, type: "host.metrics", body: measure() }).success,
  ).toBe(true);
});

test("how often changes while it runs", async () => {
  let told = 0;
  using metrics = startMetrics(3_600_000, () => told++);
  expect(told).toBe(1);
  metrics.every(10);
  await expect.poll(() => told).toBeGreaterThan(2);
});
