// One process as correlation knows it.
import type { Process } from "@picket/protocol/event";
import type { RuleFacts } from "../finding.ts";
import { DERIVED_MS, isFresh, LINK_MS, WINDOW_MS } from "../freshness.ts";
import type { Place } from "./places.ts";
import { isRare, type Sighting } from "./sightings.ts";

/** A rule or chain that matched on a process. */
export type ScoredHit = {
  readonly rule: RuleFacts;
  /** True for a chain: it adds the points of a matching sequence. */
  readonly chain: boolean;
  /** Where given, it only counts if one of these was still rare. Asked when it is used: only after the silent re-read is the answer known. */
  readonly ifRare?: readonly Sighting[] | undefined;
  readonly timeMs: number;
  readonly receivedMs: number;
};

/**
 * What a process did that a chain or a story can rest on. shell, exec: it started (a program that somebody may type into; any other). connect: outwards. read: credentials. The rest are
 * deeds: write, rename and delete of files in places that matter (`Place`), chmod to executable, listen on more than loopback, accept, setuid to root, memfd, mount, module, ptrace.
 */
export type StartKind = "shell" | "exec";
export type DeedKind = "write" | "rename" | "delete" | "chmod" | "listen" | "accept" | "setuid" | "memfd" | "mount" | "module" | "ptrace";
/** Known by number only, not by one event: connections at regular times, many hosts tried, many files renamed alike, a processor kept busy. */
export type CountedKind = "beacon" | "scan" | "mass" | "busy";
export type StepKind = StartKind | "connect" | "read" | DeedKind | CountedKind;

/** An event that can be a link of a chain. */
export type Step = {
  readonly kind: StepKind;
  readonly node: ProcessNode;
  /** The parent when it happened. */
  readonly parent: ProcessNode | undefined;
  /** How rare its parent and it were, where it is a start. */
  readonly pair: Sighting | undefined;
  /** Program name then: a later exec changes the process. */
  readonly program: string;
  /** Its executable and arguments then. */
  readonly exe: string;
  readonly argv: readonly string[];
  /** In a container. */
  readonly contained: boolean;
  /** Started, or is, a tool that runs many programs or fetches and runs as its work. */
  readonly noisy: boolean;
  /** Far end of a connection, else "" and 0; of what listens or is connected to, its own port. */
  readonly ip: string;
  readonly port: number;
  /** How rare its far end is, where it is a connection. */
  readonly far: Sighting | undefined;
  /** The file that was written, removed, read..., of a rename its new name; "" where there is none. */
  readonly path: string;
  /** Of a rename the name before, else "". */
  readonly from: string;
  readonly place: Place | undefined;
  /** What was run, reached, read or written, for people. */
  readonly object: string;
  /** How many there were, of what is known by number; else 1. */
  readonly count: number;
  /** When the first of them was received. */
  readonly sinceMs: number;
  readonly timeMs: number;
  readonly seq: number;
  readonly receivedMs: number;
  readonly eventId: string;
};

/** A connection of a process. */
export type Connection = {
  /** The program that made it. */
  readonly exe: string;
  readonly sighting: Sighting | undefined;
  /** How many programs the device had started by then. */
  readonly order: Sighting;
  /** Where to. */
  readonly far: Sighting | undefined;
  readonly receivedMs: number;
  /** When the program connected last. */
  lastMs: number;
};

export type ProcessNode = {
  /** boot:pid:startTicks, or the event's id where the pid is not known. */
  key: string;
  readonly pid: number;
  /** Undefined: known only through a child that did not know it. */
  startTicks: number | undefined;
  exe: string;
  argv: readonly string[];
  /** As its own last event described it. */
  process: Process | undefined;
  /** When that was. */
  processMs: number;
  /** Last mention by any event. Milliseconds of the broker, as all times here but `timeMs`. */
  seenMs: number;
  exited: boolean;
  /** Forgotten for want of room: no longer anyone's parent. */
  gone: boolean;
  /** The first parent stated, and the last one: a process whose parent ends is given another, but came from the first. */
  parent: ProcessNode | undefined;
  parentMs: number;
  adopter: ProcessNode | undefined;
  adopterMs: number;
  /** When its ancestors were last stated in full. */
  lineageMs: number;
  /** Sightings of parent and child, and of any exec on the device, at its last exec. */
  pair: Sighting | undefined;
  order: Sighting | undefined;
  execMs: number;
  /** By each program it was, the first after it had made none for a window. */
  connections: Connection[];
  /** How rare the far end of its last connection is. */
  far: Sighting | undefined;
  /** The file it made last, and when that was received. */
  made: string;
  madeMs: number;
  hits: ScoredHit[];
  /** Bits of the kinds of all steps it ever had (`kindBit`): most chains are ruled out by them alone. */
  kinds: number;
  /** Its own and its descendants' starts, connections and reads, by time. */
  steps: Step[];
  /** Its own and its descendants' other deeds, by time. Apart, so that files written do not push out what was started. */
  deeds: Step[];
};

/** Ancestors looked at, at most. Also what ends a walk in a circle that a device made up. */
export const MAX_HOPS = 8;

/** Whether a hit still counts. */
export const isLive = (hit: ScoredHit, nowMs: number): boolean =>
  isFresh(hit.receivedMs, nowMs, hit.chain ? DERIVED_MS : WINDOW_MS) && anyRare(hit.ifRare);

/** Whether something among them was seen at most six times on the device, and is no habit of the site; true where nothing is asked. */
export const anyRare = (sightings: readonly Sighting[] | undefined): boolean => sightings === undefined || sightings.some(isRare);

/** The parent, as far as recent events tell. */
export function parentOf(node: ProcessNode, nowMs: number): ProcessNode | undefined {
  if (node.parent && isFresh(node.parentMs, nowMs, LINK_MS)) return node.parent.gone ? undefined : node.parent;
  if (node.adopter && isFresh(node.adopterMs, nowMs, LINK_MS)) return node.adopter.gone ? undefined : node.adopter;
  return undefined;
}

/** The node, its parent, and so on: at most `MAX_HOPS` ancestors. */
export function lineage(node: ProcessNode, nowMs: number): ProcessNode[] {
  const nodes = [node];
  for (let at = parentOf(node, nowMs); at && nodes.length <= MAX_HOPS; at = parentOf(at, nowMs)) nodes.push(at);
  return nodes;
}

/** Whether `node` is `ancestor` or came from it. */
export function isWithin(ancestor: ProcessNode, node: ProcessNode, nowMs: number): boolean {
  let at: ProcessNode | undefined = node;
  for (let hops = 0; at && hops <= MAX_HOPS; hops++, at = parentOf(at, nowMs)) if (at === ancestor) return true;
  return false;
}
