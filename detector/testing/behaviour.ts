// A small site with habits, and a model learnt from it, for tests of the behaviour engine.
import { encodeModel, type ModelFiles } from "@picket/models/behaviour/files";
import { learn } from "@picket/models/behaviour/learn";
import { MINUTE_MS, type Minute, MinuteWindow, minuteOf } from "@picket/models/behaviour/window";
import type { SensorEvent } from "@picket/protocol/event";
import { child, event, proc, T0 } from "./events.ts";

/** Minute `at` of a device that runs a script, and every fifth minute a copy of its log. */
export function quietMinute(device: string, at: number): SensorEvent[] {
  const atMs = at * MINUTE_MS;
  const cron = proc(10, "/usr/sbin/cron");
  const script = child(11, "/usr/local/bin/report.sh", cron);
  const more = { device };
  const usual = [
    event("process.exec", atMs + 1000, { process: script }, more),
    event("net.connect", atMs + 2000, { process: script, net: { proto: "tcp", dstIp: "10.0.0.9", dstPort: 8883 } }, more),
  ];
  if (at % 3 === 0) usual.push(event("process.exec", atMs + 3000, { process: child(12, "/usr/bin/curl", script) }, more));
  if (at % 5 === 0) usual.push(event("file.modify", atMs + 4000, { process: script, file: { path: "/var/log/report.log" } }, more));
  return usual;
}

/** What the device of `quietMinute` never does. */
export function oddMinute(device: string, at: number, connections = 14): SensorEvent[] {
  const atMs = at * MINUTE_MS + 30_000;
  const nc = child(500 + at, "/usr/bin/nc", proc(400, "/usr/bin/python3"));
  const more = { device };
  return [
    event("process.exec", atMs, { process: nc }, more),
    ...Array.from({ length: connections }, (_, index) =>
      event("net.connect", atMs + index, { process: nc, net: { proto: "tcp", dstIp: `198.51.100.${index}`, dstPort: 23 } }, more),
    ),
    event("file.create", atMs + 900, { process: nc, file: { path: "/etc/cron.d/x" } }, more),
  ];
}

/** As training sees minutes. */
export function summaries(events: readonly SensorEvent[]): Minute[] {
  const windows = new Map<string, MinuteWindow>();
  for (const one of events) {
    const minute = minuteOf(one.timeMs);
    const key = `${one.device} ${minute}`;
    let window = windows.get(key);
    if (!window) {
      window = new MinuteWindow(one.device, minute);
      windows.set(key, window);
    }
    window.add(one, "");
  }
  return [...windows.values()].map((window) => window.summary());
}

/** A model learnt from `minutes` quiet minutes of these devices, which end at T0. */
export function learntFiles(devices: readonly string[], minutes = 600): ModelFiles {
  const events = devices.flatMap((device) => Array.from({ length: minutes }, (_, at) => quietMinute(device, at)).flat());
  const all = summaries(events).map((minute) => ({ ...minute, minute: minute.minute - minutes }));
  const first = minuteOf(T0) - minutes;
  return encodeModel(learn(all), {
    site: "lab",
    atMs: T0,
    minutes: all.length,
    devices: devices.length,
    from: first,
    to: first + minutes - 1,
    leftOut: 0,
  });
}
