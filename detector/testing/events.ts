// Events as tests write them, and rules by the real engine.
import type { EventOf, EventType, Process, SensorEvent } from "@picket/protocol/event";
import { compileRules, type Matcher, parseRules, type Rule } from "@picket/rules/engine";
import type { Arrival } from "../finding.ts";
import { createPipeline, type Pipeline } from "../pipeline.ts";

export const BOOT = "5c4a9c7e-0f6f-4b52-9a57-6a51f2f0a1b1";
export const T0 = 1_767_225_600_000;

/** Each fires on programs whose name is in its title; the level is the word before. */
export function testRules(...titles: readonly `${Rule["level"]} ${string}`[]): { rules: readonly Rule[]; matcher: Matcher } {
  const files = titles.map((title, at) => {
    const [level, name] = title.split(" ");
    const text = `title: ${title}\nid: 00000000-0000-4000-8000-00000000000${at}\nstatus: test\nauthor: A. Uthor\nlogsource:\n  product: linux\n  category: process_creation\ndetection:\n  sel:\n    Image|endswith: /${name}\n  condition: sel\nlevel: ${level}\ntags:\n  - attack.execution\n  - attack.t1059.004\n`;
    return { file: `${name}.yml`, text };
  });
  const { rules, errors, warnings } = parseRules(files);
  if (errors.length + warnings.length > 0) throw new Error(JSON.stringify([...errors, ...warnings]));
  return { rules, matcher: compileRules(rules) };
}

export function proc(pid: number, exe: string, more: Partial<Process> = {}): Process {
  return { pid, startTicks: pid * 10, ppid: 0, uid: 0, exe, argv: [exe.split("/").at(-1)!], ...more };
}

export const child = (pid: number, exe: string, parent: Process, more: Partial<Process> = {}): Process =>
  proc(pid, exe, {
    ppid: parent.pid,
    parent: { pid: parent.pid, startTicks: parent.startTicks, exe: parent.exe, argv: parent.argv },
    ...more,
  });

let seq = 0;
export function event<T extends EventType>(type: T, atMs: number, body: EventOf<T>["body"], more: Partial<SensorEvent> = {}): SensorEvent {
  return { v: 1, device: "gw-1", epoch: "abcdefgh", seq: seq++, timeMs: T0 + atMs, type, body, ...more } as SensorEvent;
}

export const exec = (atMs: number, process: Process, more?: Partial<SensorEvent>) => event("process.exec", atMs, { process }, more);
export const exit = (atMs: number, process: Process) => event("process.exit", atMs, { process, exitCode: 0, signal: 0, durationMs: 1 });
export const connects = (atMs: number, process: Process, dstIp = "198.51.100.7", dstPort = 4444) =>
  event("net.connect", atMs, { process, net: { proto: "tcp", dstIp, dstPort } });
export const opens = (atMs: number, process: Process, path: string, flags = 0) =>
  event("file.open", atMs, { process, file: { path, flags } });

export const idOf = (of: SensorEvent) => `${of.device}:${of.epoch}:${of.seq}`;

/** Feeds events, received when they happened unless `receivedMs` says otherwise. */
export function feed(pipeline: Pipeline, events: readonly SensorEvent[], more: Partial<Arrival> = {}): void {
  for (const one of events) pipeline.handle(one, { id: idOf(one), boot: BOOT, receivedMs: one.timeMs, silent: false, ...more });
}

export const noRules = { rules: [], matcher: { match: () => [] } } as const;

/** A pipeline without warm-up, unless asked for. */
export const pipelineOf = (of: { rules: readonly Rule[]; matcher: Matcher } = noRules, warmUpExecs = 0): Pipeline =>
  createPipeline({ site: "lab", ...of, warmUpExecs });

/** Alerts after these events, as "rule id xcount". */
export function alertsOf(events: readonly SensorEvent[], of?: { rules: readonly Rule[]; matcher: Matcher }): string[] {
  const pipeline = pipelineOf(of);
  feed(pipeline, events);
  return pipeline.take().alerts.map(({ detection }) => `${detection.rule.id} x${detection.count}`);
}
