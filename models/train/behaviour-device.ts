// What synthetic devices are made of: habits, each of which adds events to some minutes. Nothing here is ever run; it is only written down as events.
import type { EventOf, EventType, Process, SensorEvent } from "@picket/protocol/event";
import { MINUTE_MS } from "../behaviour/window.ts";
import type { Random } from "./random.ts";

/** First minute of all synthetic time: 2026-01-05 00:00 UTC, a Monday. */
export const FIRST_MINUTE = 29_459_520;
export const DAY = 1440;

/** Writes down the events of one minute. */
export class Script {
  readonly events: SensorEvent[] = [];
  readonly #device: string;
  readonly #startMs: number;
  readonly #random: Random;
  #pid: number;

  constructor(device: string, minute: number, random: Random) {
    this.#device = device;
    this.#startMs = minute * MINUTE_MS;
    this.#random = random;
    this.#pid = 1000 + random.below(20_000);
  }

  /** A program started by another; returns it, to start others from. */
  exec(exe: string, parent: string): string {
    this.#add("process.exec", { process: this.#process(exe, parent) });
    return exe;
  }

  /** A line of programs, each started by the one before. */
  line(...programs: readonly string[]): string {
    for (let at = 1; at < programs.length; at++) this.exec(programs[at]!, programs[at - 1]!);
    return programs.at(-1)!;
  }

  fails(exe: string): void {
    this.#add("process.exit", { process: this.#process(exe), exitCode: 1, signal: 0, durationMs: 12 });
  }

  connect(exe: string, dstIp: string, dstPort: number, proto: "tcp" | "udp" = "tcp"): void {
    this.#add("net.connect", { process: this.#process(exe), net: { proto, dstIp, dstPort } });
  }

  listen(exe: string, port: number): void {
    this.#add("net.listen", { process: this.#process(exe), net: { proto: "tcp", ip: "0.0.0.0", port } });
  }

  accept(exe: string, port: number, srcIp: string): void {
    this.#add("net.accept", {
      process: this.#process(exe),
      net: { proto: "tcp", ip: "10.0.0.2", port, srcIp, srcPort: 40_000 + this.#random.below(9999) },
    });
  }

  dns(exe: string, query: string): void {
    this.#add("net.dns", { process: this.#process(exe), net: { query } });
  }

  write(exe: string, path: string, type: "file.create" | "file.modify" = "file.modify"): void {
    this.#add(type, { process: this.#process(exe), file: { path } });
  }

  rename(exe: string, path: string, to: string): void {
    this.#add("file.rename", { process: this.#process(exe), file: { path, to } });
  }

  remove(exe: string, path: string): void {
    this.#add("file.delete", { process: this.#process(exe), file: { path } });
  }

  chmod(exe: string, path: string): void {
    this.#add("file.chmod", { process: this.#process(exe), file: { path, mode: 0o755 } });
  }

  read(exe: string, path: string): void {
    this.#add("file.open", { process: this.#process(exe), file: { path, flags: 0 } });
  }

  memfd(exe: string): void {
    this.#add("process.memfd", { process: this.#process(exe), name: "x" });
  }

  setuid(exe: string): void {
    this.#add("process.setuid", { process: this.#process(exe), from: 0, to: 33 });
  }

  login(ok: boolean, remoteIp: string): void {
    this.#add("auth.login", { user: "pi", remoteIp, method: "publickey", ok });
  }

  sudo(): void {
    this.#add("auth.sudo", { user: "pi", command: "ls", ok: true });
  }

  #process(exe: string, parent?: string): Process {
    const pid = this.#pid++;
    const known: Process = { pid, startTicks: pid * 7, ppid: 1, uid: 0, exe, argv: [exe] };
    return parent === undefined ? known : { ...known, parent: { pid: 1, exe: parent } };
  }

  #add<T extends EventType>(type: T, body: EventOf<T>["body"]): void {
    const timeMs = this.#startMs + this.#random.below(59_000);
    this.events.push({ v: 1, device: this.#device, epoch: "synthetic", seq: this.events.length, timeMs, type, body } as SensorEvent);
  }
}

/** Adds what it does in a minute; `minute` counts from the device's first. */
export type Habit = (script: Script, minute: number) => void;

/** How often in a minute, where it is `mean` times on average. */
export function often(mean: number, random: Random): number {
  const limit = Math.exp(-mean);
  let count = 0;
  for (let product = random(); product > limit && count < 1000; count++) product *= random();
  return count;
}

/** A number below `limit`, small ones far more often: what is common is very common. */
export const zipf = (limit: number, random: Random): number => Math.floor(limit ** random()) - 1;

export type SyntheticDevice = {
  readonly name: string;
  readonly profile: string;
  /** Events of the minute that is `at` minutes after the first. To be called once for each minute, in order. */
  minute(at: number): SensorEvent[];
};

export const deviceOf = (name: string, profile: string, habits: readonly Habit[], random: Random): SyntheticDevice => ({
  name,
  profile,
  minute(at) {
    const script = new Script(name, FIRST_MINUTE + at, random);
    for (const habit of habits) habit(script, at);
    return script.events;
  },
});
