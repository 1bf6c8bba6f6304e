// The processes of one boot of one device, as its events tell them. Bounded; least recently mentioned go first.
import { type Ancestor, MAX_TEXT, type Process } from "@picket/protocol/event";
import type { Arrival, RuleFacts } from "../finding.ts";
import { isFresh, LINK_MS } from "../freshness.ts";
import type { ProcessNode } from "./node.ts";
import { addHit } from "./score.ts";
import { boundedArgv, processOfAlert } from "./tree.ts";

/** Processes remembered for one boot of one device. */
export const MAX_PROCESSES = 4096;
/**
 * Argument text remembered of one process: the kernel side sends 4 KiB at most, but a forged event may hold 2 MiB of it with its ancestors',
 * and ten thousand of those would be the end of the detector. Enough for argv[0] and argv[1] whole.
 */
const MAX_ARGV = 2 * (MAX_TEXT + 1);
/** Every so many mentions the oldest are looked at, so that a quiet device shrinks. */
const TRIM_EVERY = 64;

export class Processes {
  readonly #boot: string;
  readonly #byKey = new Map<string, ProcessNode>();
  readonly #byPid = new Map<number, ProcessNode>();
  #mentions = 0;

  constructor(boot: string) {
    this.#boot = boot;
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** The node of the process an event is about, with what the event says of it and its ancestors. */
  note(process: Process, arrival: Arrival, isExec: boolean): ProcessNode {
    const nowMs = arrival.receivedMs;
    const node = process.pid > 0 ? this.#own(process, nowMs, isExec) : this.#make(`${this.#boot}:${arrival.id}`, process, nowMs);
    if (isExec || node.process === undefined) {
      node.exe = process.exe;
      node.argv = kept(process.argv);
    }
    const isSmall = !process.ancestors && isShort(process.argv) && isShort(process.parent?.argv ?? []);
    node.process = isSmall ? process : processOfAlert(process, MAX_ARGV);
    node.seenMs = node.processMs = nowMs;
    const parent = process.parent ? this.#mention(process.parent, nowMs) : this.#byPid.get(process.ppid);
    if (parent) this.#link(node, parent, nowMs);
    if (parent && process.ancestors && parent.lineageMs !== nowMs) this.#linkAll(parent, process.ancestors, nowMs);
    if (++this.#mentions % TRIM_EVERY === 0) this.#trim(nowMs);
    return node;
  }

  /** What is known of the process of that pid, where it was mentioned lately as this program. A copy: its key does not depend on how much is known. */
  running(pid: number, exe: string, nowMs: number): ProcessNode {
    const known = this.#byPid.get(pid);
    const key = this.#keyOf(pid, "?");
    return known && known.exe === exe && isFresh(known.seenMs, nowMs) ? { ...known, key } : this.#make(key, { pid, exe }, nowMs);
  }

  /** Its pid may be given to another process from now on. */
  exited(node: ProcessNode): void {
    node.exited = true;
    if (this.#byPid.get(node.pid) === node) this.#byPid.delete(node.pid);
  }

  #own(process: Process, nowMs: number, isExec: boolean): ProcessNode {
    const known = this.#find(process.pid, process.startTicks);
    // Without start ticks a pid alone names the process: a new program after its exit is a new process.
    const reused = known?.exited === true && isExec && process.startTicks === 0;
    if (known && !reused && isFresh(known.seenMs, nowMs)) {
      this.#touch(known, nowMs);
      return known;
    }
    if (known) this.#forget(known);
    const key = this.#keyOf(process.pid, process.startTicks);
    return this.#promote(key, process.pid, process.startTicks, nowMs) ?? this.#keep(this.#make(key, process, nowMs));
  }

  #keyOf(pid: number, startTicks: number | "?"): string {
    return `${this.#boot}:${pid}:${startTicks}`;
  }

  /** The last process of this pid is nearly always the one meant: that saves making a key. */
  #find(pid: number, startTicks: number): ProcessNode | undefined {
    const last = this.#byPid.get(pid);
    return last?.startTicks === startTicks ? last : this.#byKey.get(this.#keyOf(pid, startTicks));
  }

  /** Moves it to the young end, once for all that was received together. */
  #touch(node: ProcessNode, nowMs: number): void {
    if (node.seenMs === nowMs) return;
    node.seenMs = nowMs;
    this.#byKey.delete(node.key);
    this.#byKey.set(node.key, node);
  }

  /** A process known through its child. */
  #mention(ancestor: Ancestor, nowMs: number): ProcessNode {
    const { pid, startTicks } = ancestor;
    const known = pid <= 0 ? undefined : startTicks === undefined ? this.#byPid.get(pid) : this.#find(pid, startTicks);
    if (known && isFresh(known.seenMs, nowMs)) {
      this.#touch(known, nowMs);
      if (known.process === undefined && known.argv.length === 0 && ancestor.argv) known.argv = kept(ancestor.argv);
      return known;
    }
    if (known) this.#forget(known);
    const key = this.#keyOf(pid, startTicks ?? "?");
    if (pid <= 0) return this.#make(key, ancestor, nowMs);
    const promoted = startTicks === undefined ? undefined : this.#promote(key, pid, startTicks, nowMs);
    return promoted ?? this.#keep(this.#make(key, ancestor, nowMs));
  }

  /** A process so far known by its pid alone gets its full name, and keeps its children. */
  #promote(key: string, pid: number, startTicks: number, nowMs: number): ProcessNode | undefined {
    const stub = this.#byPid.get(pid);
    if (!stub || stub.startTicks !== undefined || !isFresh(stub.seenMs, nowMs)) return undefined;
    this.#byKey.delete(stub.key);
    stub.key = key;
    stub.startTicks = startTicks;
    stub.seenMs = nowMs;
    this.#byKey.set(key, stub);
    return stub;
  }

  #keep(node: ProcessNode): ProcessNode {
    this.#byKey.set(node.key, node);
    this.#byPid.set(node.pid, node);
    if (this.#byKey.size > MAX_PROCESSES) this.#forget(this.#byKey.values().next().value!);
    return node;
  }

  #linkAll(parent: ProcessNode, ancestors: readonly Ancestor[], nowMs: number): void {
    let child = parent;
    for (const ancestor of ancestors) {
      if (child.lineageMs === nowMs) return;
      child.lineageMs = nowMs;
      const next = this.#mention(ancestor, nowMs);
      this.#link(child, next, nowMs);
      child = next;
    }
  }

  #link(child: ProcessNode, parent: ProcessNode, nowMs: number): void {
    if (child === parent) return;
    if (child.parent && !isFresh(child.parentMs, nowMs, LINK_MS)) {
      child.parent = child.adopter;
      child.parentMs = child.adopterMs;
      child.adopter = undefined;
    }
    if (child.parent === parent || !child.parent || child.parent.gone || !isFresh(child.parentMs, nowMs, LINK_MS)) {
      child.parent = parent;
      child.parentMs = nowMs;
    } else {
      child.adopter = parent;
      child.adopterMs = nowMs;
    }
  }

  #make(
    key: string,
    of: { pid: number; startTicks?: number | undefined; exe: string; argv?: readonly string[] | undefined },
    nowMs: number,
  ): ProcessNode {
    return {
      key,
      pid: of.pid,
      startTicks: of.startTicks,
      exe: of.exe,
      argv: kept(of.argv ?? []),
      process: undefined,
      processMs: 0,
      seenMs: nowMs,
      exited: false,
      gone: false,
      parent: undefined,
      parentMs: 0,
      adopter: undefined,
      adopterMs: 0,
      lineageMs: -1,
      pair: undefined,
      order: undefined,
      execMs: 0,
      connections: [],
      far: undefined,
      made: "",
      madeMs: 0,
      hits: [],
      kinds: 0,
      steps: [],
      deeds: [],
    };
  }

  #trim(nowMs: number): void {
    for (const node of this.#byKey.values()) {
      if (isFresh(node.seenMs, nowMs)) return;
      this.#forget(node);
    }
  }

  /** A forgotten node holds on to nothing, so that a chain of dead parents cannot stay in memory. */
  #forget(node: ProcessNode): void {
    if (this.#byKey.get(node.key) === node) this.#byKey.delete(node.key);
    if (this.#byPid.get(node.pid) === node) this.#byPid.delete(node.pid);
    node.gone = true;
    node.parent = undefined;
    node.adopter = undefined;
    node.hits = [];
    node.steps = [];
    node.deeds = [];
  }
}

function isShort(argv: readonly string[]): boolean {
  let length = 0;
  for (const arg of argv) length += arg.length;
  return length <= MAX_ARGV;
}

/** A process as one event describes it with its ancestors, known to nobody else. */
export function aloneOf(process: Process, rules: readonly RuleFacts[], event: { readonly timeMs: number }, arrival: Arrival): ProcessNode {
  const node = new Processes(arrival.boot).note(process, arrival, true);
  for (const rule of rules) addHit(node, { rule, chain: false, timeMs: event.timeMs, receivedMs: arrival.receivedMs });
  return node;
}

const kept = (argv: readonly string[]): readonly string[] => (isShort(argv) ? argv : boundedArgv(argv, MAX_ARGV));
