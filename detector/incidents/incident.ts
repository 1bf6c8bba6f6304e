// One incident that may still take in alerts. Pure: what is added to it, and what must give way where there is too much.
import {
  LONGEST_MS,
  MAX_DEEDS,
  MAX_HANDLES,
  MAX_MERGED,
  MAX_PROCESSES,
  type OpenIncident,
  QUIET_MS,
  type StoryDeed,
  type StoryProcess,
} from "@picket/protocol/incident";
import { isFresh } from "../freshness.ts";
import { clean, shortKey } from "../text.ts";
import { type Actor, type Deed, handle, type Where } from "./about.ts";

const MAX_HANDLE = 200;
const MAX_EXE = 300;
const MAX_ARGV = 160;
const MAX_OBJECT = 160;
const MAX_TITLES = 8;

export type Incident = {
  readonly id: string;
  readonly device: string;
  beganMs: number;
  seenMs: number;
  /** In the order they came. Changed by `hold` and `letGo` only, which keep `index` true. */
  readonly handles: Set<string>;
  readonly index: HandleIndex;
  readonly processes: Map<string, StoryProcess>;
  deeds: StoryDeed[];
  readonly merged: string[];
  dirty: boolean;
};

/** Which incidents of a device have a handle: every event asks, and nearly none finds one. */
export type HandleIndex = Map<string, Set<Incident>>;

export const newIncident = (id: string, device: string, nowMs: number, index: HandleIndex): Incident => ({
  ...{ id, device, beganMs: nowMs, seenMs: nowMs, handles: new Set(), index, processes: new Map(), deeds: [], merged: [], dirty: false },
});

export function reopened(of: OpenIncident, index: HandleIndex): Incident {
  const incident: Incident = {
    ...of,
    handles: new Set(),
    index,
    processes: new Map(of.processes.map((process) => [process.key, process])),
    deeds: [...of.deeds],
    merged: [...of.merged],
    dirty: false,
  };
  for (const name of of.handles) hold(incident, name);
  return incident;
}

/** No event finds it any more. */
export function unlist(incident: Incident): void {
  for (const name of incident.handles) unindex(incident, name);
}

function hold(incident: Incident, name: string): void {
  incident.handles.add(name);
  const having = incident.index.get(name);
  if (having) having.add(incident);
  else incident.index.set(name, new Set([incident]));
}

function letGo(incident: Incident, name: string): void {
  incident.handles.delete(name);
  unindex(incident, name);
}

function unindex(incident: Incident, name: string): void {
  const having = incident.index.get(name);
  having?.delete(incident);
  if (having?.size === 0) incident.index.delete(name);
}

export const asOpen = ({ id, device, beganMs, seenMs, handles, processes, deeds, merged }: Incident): OpenIncident => ({
  ...{ id, device, beganMs, seenMs },
  handles: [...handles],
  processes: [...processes.values()],
  deeds: [...deeds],
  merged: [...merged],
});

/** Whether an alert received at `nowMs` can still belong to it. A clock set back ends it. */
export const isOpen = ({ beganMs, seenMs }: Incident, nowMs: number): boolean =>
  isFresh(seenMs, nowMs, QUIET_MS) && isFresh(beganMs, nowMs, LONGEST_MS);

/** As a handle is kept and compared. */
export const boundHandle = (name: string): string => {
  const kind = name.slice(0, 2);
  return `${kind}${shortKey(clean(name.slice(2), 4096), MAX_HANDLE - 2)}`;
};

/** Of too many go those that no alert named for longest. */
export function addHandles(incident: Incident, names: Iterable<string>): void {
  for (const name of names) {
    // Again, so that it is the newest.
    incident.handles.delete(name);
    hold(incident, name);
    if (incident.handles.size > MAX_HANDLES) letGo(incident, incident.handles.values().next().value!);
  }
  incident.dirty = true;
}

/** The same for what no alert is about: it takes only room that is free. */
export function addIfRoom(incident: Incident, names: Iterable<string>): void {
  for (const name of names) {
    if (incident.handles.size >= MAX_HANDLES / 2 || incident.handles.has(name)) continue;
    hold(incident, name);
    incident.dirty = true;
  }
}

export const handlesOf = ({ line }: Pick<Where, "line">): string[] => line.map(({ key }) => processHandle(key));

/** The same few processes are asked for with every event. */
const processHandles = new Map<string, string>();
const MAX_KNOWN = 8192;

function processHandle(key: string): string {
  const known = processHandles.get(key);
  if (known !== undefined) return known;
  const made = boundHandle(handle.process(key));
  if (processHandles.size >= MAX_KNOWN) processHandles.clear();
  processHandles.set(key, made);
  return made;
}

/** A process and all it came from. */
export function addLine(incident: Incident, { line, above, timeMs }: Omit<Where, "receivedMs" | "device">): void {
  const all = above ? [...line, above] : line;
  for (const [at, actor] of all.entries()) addProcess(incident, actor, all[at + 1]?.key, timeMs);
}

function addProcess(incident: Incident, actor: Actor, parent: string | undefined, timeMs: number): void {
  const known = incident.processes.get(actor.key);
  if (known) {
    const exe = clean(actor.exe, MAX_EXE);
    const isNews = (known.parent === undefined && parent !== undefined) || known.exe !== exe || timeMs < known.timeMs;
    if (!isNews) return;
    incident.processes.set(actor.key, {
      ...known,
      ...(known.exe === exe ? {} : { exe, argv: shortArgv(actor.argv) }),
      ...(known.parent === undefined && parent !== undefined ? { parent } : {}),
      timeMs: Math.min(known.timeMs, timeMs),
    });
    incident.dirty = true;
    return;
  }
  if (isFull(incident) && !makeRoom(incident)) return;
  incident.processes.set(actor.key, {
    key: actor.key,
    ...(parent === undefined ? {} : { parent }),
    pid: actor.pid,
    exe: clean(actor.exe, MAX_EXE),
    argv: shortArgv(actor.argv),
    matched: [],
    timeMs,
  });
  incident.dirty = true;
}

/** Whether a process that did nothing worth telling has no room any more. */
export const isFull = ({ processes }: Incident): boolean => processes.size >= MAX_PROCESSES;

/** Lets the latest process go that did nothing worth telling and started nobody. */
function makeRoom({ processes, deeds }: Incident): boolean {
  const needed = new Set(deeds.map(({ by }) => by));
  for (const { parent } of processes.values()) needed.add(parent);
  const spare = [...processes.values()].findLast(({ key, matched }) => matched.length === 0 && !needed.has(key));
  return spare !== undefined && processes.delete(spare.key);
}

export function addMatch(incident: Incident, key: string, title: string): void {
  const known = incident.processes.get(key);
  if (!known || known.matched.length >= MAX_TITLES || known.matched.includes(title)) return;
  incident.processes.set(key, { ...known, matched: [...known.matched, title] });
  incident.dirty = true;
}

/** Whether there is room for a deed, or a lighter one that would give way. */
export const isNews = ({ deeds }: Incident, { weight }: Deed): boolean =>
  deeds.length < MAX_DEEDS || deeds.some((one) => one.weight < weight);

/** Each deed once. Of too many the lightest goes, the latest of them. */
export function addDeed(incident: Incident, { by, verb, object: what, weight }: Deed, timeMs: number): void {
  const deed: StoryDeed = {
    ...(by === undefined ? {} : { by }),
    verb,
    object: clean(what, MAX_OBJECT),
    timeMs,
    weight,
  };
  const { deeds } = incident;
  const at = deeds.findIndex((one) => one.by === deed.by && one.verb === deed.verb && one.object === deed.object);
  if (at >= 0) {
    const known = deeds[at]!;
    if (known.weight >= deed.weight) return;
    deeds[at] = { ...known, weight: deed.weight };
  } else if (deeds.length < MAX_DEEDS) deeds.push(deed);
  else {
    let lightest = 0;
    for (const [index, one] of deeds.entries()) if (one.weight <= deeds[lightest]!.weight) lightest = index;
    if (deeds[lightest]!.weight >= deed.weight) return;
    deeds.splice(lightest, 1);
    deeds.push(deed);
  }
  incident.dirty = true;
}

/** `other` was the same intrusion. */
export function absorb(incident: Incident, other: Incident): void {
  incident.beganMs = Math.min(incident.beganMs, other.beganMs);
  incident.seenMs = Math.max(incident.seenMs, other.seenMs);
  addHandles(incident, other.handles);
  for (const process of other.processes.values()) {
    const { key, parent, timeMs, matched } = process;
    addProcess(incident, process, parent, timeMs);
    for (const title of matched) addMatch(incident, key, title);
  }
  for (const deed of other.deeds) addDeed(incident, deed, deed.timeMs);
  incident.merged.push(other.id, ...other.merged);
  incident.merged.splice(0, incident.merged.length - MAX_MERGED);
  incident.dirty = true;
}

function shortArgv(argv: readonly string[]): string[] {
  const kept: string[] = [];
  let left = MAX_ARGV;
  for (const arg of argv) {
    if (left <= 0 || kept.length >= 16) break;
    kept.push(clean(arg, left));
    left -= arg.length + 1;
  }
  return kept;
}
