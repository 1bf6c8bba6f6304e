// One event with the rules it matched, put beside what came before it: process tree, chains, score.
import type { SensorEvent } from "@picket/protocol/event";
import { processOf } from "@picket/protocol/event";
import type { Arrival, RuleFacts } from "../finding.ts";
import { isFresh } from "../freshness.ts";
import { findChains } from "./chains.ts";
import { busyOf, REFUSED } from "./counted.ts";
import { DeviceMemories, type DeviceMemory } from "./device.ts";
import { type Left, leftBy, leftByLogin, leftByNote } from "./leaves.ts";
import type { Mark, MarkName } from "./marks.ts";
import { addStep, type Completed } from "./match.ts";
import { type ProcessNode, parentOf, type Step } from "./node.ts";
import { isExternal, networkOf } from "./programs.ts";
import { addHit } from "./score.ts";
import type { Sightings } from "./sightings.ts";
import { stepOf } from "./steps.ts";

/** What correlation makes of one event. */
export type Correlated = {
  readonly node: ProcessNode | undefined;
  /** What the event is to a sequence or a story; undefined for most. */
  readonly step: Step | undefined;
  readonly completed: readonly Completed[];
  /** Whether the process' score can have risen. */
  readonly scored: boolean;
};

/** Programs that one process was, of which a connection is remembered. */
const MAX_CONNECTIONS = 8;

/** Whether operators excepted a sequence that an event completed: then it is none. */
export type Excepted = (of: Completed, event: SensorEvent, arrival: Arrival) => boolean;

const none: Correlated = { node: undefined, step: undefined, completed: [], scored: false };

export class Correlation {
  readonly #devices = new DeviceMemories();
  readonly #sightings: Sightings;
  readonly #excepted: Excepted;

  constructor(sightings: Sightings, excepted: Excepted) {
    this.#sightings = sightings;
    this.#excepted = excepted;
  }

  /** Takes in one event. Silent or not, it is remembered alike. */
  take(event: SensorEvent, rules: readonly RuleFacts[], arrival: Arrival): Correlated {
    const memory = this.#devices.of(event.device, arrival.receivedMs);
    const process = processOf(event);
    if (!process) return this.#ofDevice(event, memory, arrival);
    const processes = memory.processes(arrival.boot);
    const node = processes.note(process, arrival, event.type === "process.exec");
    const isNew = this.#sight(event, node, arrival);
    for (const rule of rules) addHit(node, { rule, chain: false, timeMs: event.timeMs, receivedMs: arrival.receivedMs });
    const step = stepOf(event, node, arrival);
    const counted = memory.counts.stepOf(event, node, arrival);
    const completed = step || counted ? this.#complete(event, step, counted, arrival) : [];
    if (event.type === "file.create" && !arrival.silent)
      this.#leave(event, leftByNote(event, node, parentOf(node, arrival.receivedMs)), arrival);
    if (event.type === "process.exit") processes.exited(node);
    return { node, step: step ?? counted, completed, scored: rules.length > 0 || (isNew && node.hits.length > 0) };
  }

  /** What is about no process, and yet part of a chain: logins, and a processor kept busy. */
  #ofDevice(event: SensorEvent, memory: DeviceMemory, arrival: Arrival): Correlated {
    if (event.type === "auth.login") {
      const refused = memory.counts.refused(event, arrival.receivedMs);
      if (!arrival.silent) this.#leave(event, leftByLogin(event, refused, REFUSED, this.#marks(event, arrival)), arrival);
    } else if (event.type === "host.metrics" && !arrival.silent) {
      const completed: Completed[] = [];
      for (const step of busyOf(event, memory.processes(arrival.boot), arrival))
        completed.push(...this.#complete(event, undefined, step, arrival));
      if (completed.length > 0) return { ...none, completed };
    }
    return none;
  }

  #complete(event: SensorEvent, step: Step | undefined, counted: Step | undefined, arrival: Arrival): readonly Completed[] {
    const marked = this.#marks(event, arrival);
    const found = step ? addStep(step, marked, findChains) : [];
    // Known by number: it is a link by itself, and no part of what processes did.
    if (counted) findChains({ subject: counted.node, nowMs: counted.receivedMs, marked }, counted, found);
    const completed = found.filter((one) => !this.#excepted(one, event, arrival));
    for (const { rule, subject, ifRare, mark } of completed) {
      if (!mark) addHit(subject, { rule, chain: true, ifRare, timeMs: event.timeMs, receivedMs: arrival.receivedMs });
    }
    if (step && !arrival.silent) this.#leave(event, leftBy(step, marked), arrival);
    return completed;
  }

  /** While windows are filled again nothing is known of marks, and none is made: the broker's are those of the end. */
  #marks({ device }: SensorEvent, { silent, receivedMs }: Arrival): (name: MarkName, subject: string) => Mark | undefined {
    const { marks } = this.#sightings;
    return silent ? () => undefined : (name, subject) => marks.find(device, name, subject, receivedMs);
  }

  #leave({ device }: SensorEvent, left: readonly Left[], { id, receivedMs }: Arrival): void {
    for (const { name, subject, who } of left) this.#sightings.marks.make(device, name, subject, { receivedMs, eventId: id, who });
  }

  forget(device: string): void {
    this.#devices.forget(device);
  }

  /** Frees what can no longer count. Decides nothing. */
  forgetQuiet(nowMs: number): void {
    this.#devices.forgetQuiet(nowMs);
  }

  /** Counts what may be rare. True when it is a first connection of this process. */
  #sight(event: SensorEvent, node: ProcessNode, arrival: Arrival): boolean {
    const { device } = event;
    const nowMs = arrival.receivedMs;
    if (event.type === "process.exec") {
      // Only as stated: what is known of the parent otherwise may be older than what is read again after a restart.
      const parent = event.body.process.parent?.exe;
      node.order = this.#sightings.note(device, "exec", "all", arrival.silent);
      node.pair = parent === undefined ? undefined : this.#sightings.note(device, "pair", `${parent}\n${node.exe}`, arrival.silent);
      node.execMs = nowMs;
    } else if (event.type === "net.connect") {
      const { proto, dstIp, dstPort } = event.body.net;
      if (!isExternal(proto, dstIp, dstPort)) return false;
      // As stated, for the same reason: which program a process became last may be older too.
      const { exe } = event.body.process;
      const sighting = this.#sightings.note(device, "connect", exe, arrival.silent);
      const far = this.#sightings.note(device, "far", `${networkOf(dstIp)}:${dstPort}`, arrival.silent);
      node.far = far;
      const at = node.connections.findIndex((connection) => connection.exe === exe);
      const known = node.connections[at];
      // Since the last one, not since the first: when a row of windows began may be older than what is read again after a restart.
      if (known && isFresh(known.lastMs, nowMs)) {
        known.lastMs = nowMs;
        return false;
      }
      if (known) node.connections.splice(at, 1);
      const order = this.#sightings.latest(device, "exec", "all");
      node.connections.push({ exe, sighting, order, far, receivedMs: nowMs, lastMs: nowMs });
      if (node.connections.length > MAX_CONNECTIONS) node.connections.shift();
      return true;
    }
    return false;
  }
}
