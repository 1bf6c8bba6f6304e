// Steps that one event does not make: connections at regular times, many hosts tried, many files renamed alike, a processor kept busy, logins refused.
import type { EventOf, SensorEvent } from "@picket/protocol/event";
import type { Arrival } from "../finding.ts";
import { isFresh, STEP_MS } from "../freshness.ts";
import { baseName } from "../text.ts";
import type { ProcessNode, Step } from "./node.ts";
import type { Processes } from "./processes.ts";
import { isExternal, isNoisyTool } from "./programs.ts";
import { step } from "./steps.ts";
import { type Counted, different, isRegular, Tally } from "./tallies.ts";
import { oddSuffix, scriptOf } from "./tools.ts";

/** Connections of one program to one address that are called regular. */
export const BEATS = 4;
const BEATS_MS = 600_000;
/** Connections looked back on: whether a program called before something was written. */
const MAX_BEATS = 32;
/** Hosts that one process tries on one of these ports. */
export const HOSTS = 10;
export const scanPorts: ReadonlySet<number> = new Set([22, 23, 2222, 2323, 5555, 7547, 37_215, 52_869]);
/** Files that one process gives one suffix. */
export const FILES = 10;
/** Logins refused from one address. */
export const REFUSED = 8;
/** Share of one core. */
export const BUSY = 0.8;

/** What is counted of one device. */
export class Counts {
  readonly #beats = new Tally(BEATS_MS, MAX_BEATS);
  readonly #hosts = new Tally(STEP_MS, 64);
  readonly #files = new Tally(STEP_MS, 64);
  readonly #refused = new Tally(STEP_MS, 64);

  /** The step that the number of such events makes, or undefined for most. */
  stepOf(event: SensorEvent, node: ProcessNode, arrival: Arrival): Step | undefined {
    switch (event.type) {
      case "net.connect":
        return this.#ofConnection(event, node, arrival);
      case "file.create":
        node.made = event.body.file.path;
        node.madeMs = arrival.receivedMs;
        return undefined;
      case "file.delete": {
        // Written anew under a longer name, and the old one removed.
        const { path } = event.body.file;
        return isFresh(node.madeMs, arrival.receivedMs, STEP_MS) && node.made.startsWith(`${path}.`)
          ? this.#ofRename(path, node.made, event, node, arrival)
          : undefined;
      }
      case "file.rename":
        return this.#ofRename(event.body.file.path, event.body.file.to, event, node, arrival);
      default:
        return undefined;
    }
  }

  /** How many logins from its address were refused just before, this one included where it was. */
  refused({ body, timeMs }: EventOf<"auth.login">, receivedMs: number): number {
    if (body.remoteIp === undefined || body.ok) return 0;
    return this.#refused.add(body.remoteIp, { of: body.user, timeMs, receivedMs }).length;
  }

  #ofConnection(event: EventOf<"net.connect">, node: ProcessNode, arrival: Arrival): Step | undefined {
    const { proto, dstIp, dstPort } = event.body.net;
    if (!isExternal(proto, dstIp, dstPort)) return undefined;
    const { exe, argv } = event.body.process;
    const one: Counted = { of: dstIp, timeMs: event.timeMs, receivedMs: arrival.receivedMs };
    if (scanPorts.has(dstPort)) {
      const hosts = this.#hosts.add(`${node.key}\n${dstPort}`, one);
      const count = hosts.length < HOSTS ? 0 : different(hosts);
      if (count >= HOSTS) return step("scan", event, node, arrival, { object: `${count} hosts on port ${dstPort}`, port: dstPort, count });
    }
    // By program, not by process: what is started again for each call is the same thing.
    const beats = this.#beats.add(`${scriptOf(exe, argv) ?? exe}\n${dstIp}\n${dstPort}`, one);
    if (!isRegular(beats, BEATS)) return undefined;
    const everyS = Math.round((beats.at(-1)!.timeMs - beats.at(-BEATS)!.timeMs) / (BEATS - 1) / 1000);
    const object = `${dstIp}, every ${everyS} s`;
    return step("beacon", event, node, arrival, { object, ip: dstIp, port: dstPort, count: BEATS, sinceMs: beats[0]!.receivedMs });
  }

  #ofRename(from: string, to: string, event: SensorEvent, node: ProcessNode, arrival: Arrival): Step | undefined {
    const suffix = oddSuffix(from, to);
    if (suffix === undefined || isNoisyTool(node.exe, node.argv)) return undefined;
    const one: Counted = { of: from, timeMs: event.timeMs, receivedMs: arrival.receivedMs };
    const files = this.#files.add(`${node.key}\n${suffix}`, one);
    const count = files.length < FILES ? 0 : different(files);
    return count < FILES ? undefined : step("mass", event, node, arrival, { object: `${count} files to .${suffix}`, count });
  }
}

/** Processes that keep a core busy. */
export const busyOf = (event: EventOf<"host.metrics">, processes: Processes, arrival: Arrival): Step[] =>
  event.body.topProcesses
    .filter(({ cpu }) => cpu >= BUSY)
    .map(({ pid, exe, cpu }) => {
      const node = processes.running(pid, exe, arrival.receivedMs);
      return step("busy", event, node, arrival, { object: `${Math.round(cpu * 100)} % of a core`, path: `${pid}:${baseName(exe)}` });
    });
