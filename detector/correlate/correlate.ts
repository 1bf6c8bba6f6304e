// One event with the rules it matched, put beside what came before it: process tree, chains, score.
import type { SensorEvent } from "@picket/protocol/event";
import { processOf } from "@picket/protocol/event";
import type { Arrival, RuleFacts } from "../finding.ts";
import { isFresh } from "../freshness.ts";
import { addStep, type Completed } from "./chains.ts";
import { DeviceMemories } from "./device.ts";
import type { ProcessNode } from "./node.ts";
import { addHit } from "./score.ts";
import type { Sightings } from "./sightings.ts";
import { stepOf } from "./steps.ts";

/** What correlation makes of one event. */
export type Correlated = {
  readonly node: ProcessNode | undefined;
  readonly completed: readonly Completed[];
  /** Whether the process' score can have risen. */
  readonly scored: boolean;
};

/** Programs that one process was, of which a connection is remembered. */
const MAX_CONNECTIONS = 8;

/** Whether operators excepted a sequence that an event completed: then it is none. */
export type Excepted = (of: Completed, event: SensorEvent, arrival: Arrival) => boolean;

const none: Correlated = { node: undefined, completed: [], scored: false };

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
    if (!process) return none;
    const processes = memory.processes(arrival.boot);
    const node = processes.note(process, arrival, event.type === "process.exec");
    const isNew = this.#sight(event, node, arrival);
    for (const rule of rules) addHit(node, { rule, chain: false, timeMs: event.timeMs, receivedMs: arrival.receivedMs });
    const step = stepOf(event, node, arrival);
    const completed = step ? addStep(step).filter((one) => !this.#excepted(one, event, arrival)) : [];
    for (const { rule, subject, ifRare } of completed) {
      addHit(subject, { rule, chain: true, ifRare, timeMs: event.timeMs, receivedMs: arrival.receivedMs });
    }
    if (event.type === "process.exit") processes.exited(node);
    return { node, completed, scored: rules.length > 0 || (isNew && node.hits.length > 0) };
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
    } else if (event.type === "net.connect" && stepOf(event, node, arrival)) {
      // As stated, for the same reason: which program a process became last may be older too.
      const { exe } = event.body.process;
      const sighting = this.#sightings.note(device, "connect", exe, arrival.silent);
      const known = node.connections.findIndex((connection) => connection.exe === exe);
      if (known >= 0 && isFresh(node.connections[known]!.receivedMs, nowMs)) return false;
      if (known >= 0) node.connections.splice(known, 1);
      node.connections.push({ exe, sighting, order: this.#sightings.latest(device, "exec", "all"), receivedMs: nowMs });
      if (node.connections.length > MAX_CONNECTIONS) node.connections.shift();
      return true;
    }
    return false;
  }
}
