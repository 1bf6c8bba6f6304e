// Which alerts are one intrusion. What it knows of open incidents the broker keeps with the alerts, in one commit, and gives back: the same log makes the same incidents.
import type { Detection } from "@picket/protocol/alert";
import { type IncidentReport, MAX_INCIDENTS, type OpenIncident } from "@picket/protocol/incident";
import { uuid5 } from "@picket/protocol/uuid5";
import { clean } from "../text.ts";
import { type About, handle, type Noted, type Where } from "./about.ts";
import {
  absorb,
  addDeed,
  addHandles,
  addIfRoom,
  addLine,
  addMatch,
  asOpen,
  boundHandle,
  type HandleIndex,
  handlesOf,
  type Incident,
  isFull,
  isNews,
  isOpen,
  newIncident,
  reopened,
  unlist,
} from "./incident.ts";
import { pictureOf } from "./picture.ts";
import { storyOf } from "./story.ts";

export class Incidents {
  readonly #site: string;
  /** By device: those that may be open, oldest first. */
  readonly #devices = new Map<string, Incident[]>();
  readonly #indexes = new Map<string, HandleIndex>();
  /** Gave way to newer ones before what changed in them was taken. */
  #leaving: Incident[] = [];

  constructor(site: string) {
    this.#site = site;
  }

  /** Takes what the broker kept. Before the first event. */
  seed(open: readonly OpenIncident[]): void {
    for (const one of open) this.#listOf(one.device).push(reopened(one, this.#indexOf(one.device)));
    for (const list of this.#devices.values()) {
      list.sort(older);
      while (list.length > MAX_INCIDENTS) takeQuietest(list);
    }
  }

  /** The incident that an alert which was made or grew belongs to. */
  place(detection: Detection, about: About): string {
    const list = this.#open(about);
    const known = detection.incident === undefined ? undefined : find(list, detection.incident);
    // Over, or let go of: its alert stays in it.
    if (detection.incident !== undefined && !known) return detection.incident;
    const names = handlesOf(about);
    const sharing = this.#sharing(about);
    // The same thing in another session only counts up: the sessions stay apart.
    if (known && names.length > 0 && !sharing.includes(known)) {
      known.seenMs = about.receivedMs;
      known.dirty = true;
      return known.id;
    }
    const seeks = about.seeks.map(boundHandle);
    const found = sharing[0] ?? list.find(({ handles }) => seeks.some((name) => handles.has(name)));
    const incident = this.#oneOf(known ?? found ?? this.#make(detection, about), sharing);
    incident.seenMs = about.receivedMs;
    if (!known) for (const noted of about.around()) take(incident, noted);
    addLine(incident, about);
    addHandles(incident, [...names, ...about.gives.map(boundHandle)]);
    const [actor] = about.line;
    if (actor && detection.rule.id !== SUM) addMatch(incident, actor.key, clean(detection.rule.title, 256));
    if (about.deed) addDeed(incident, about.deed, about.timeMs);
    return incident.id;
  }

  /** What is known now of where an alert's event stands, which overtook others: incidents that turn out to be one become one. */
  bridge(where: Where): void {
    const sharing = this.#sharing(where);
    const [first] = sharing;
    if (first) addLine(this.#oneOf(first, sharing), where);
  }

  /** Something a process did that no alert is about: told where its session or service has an open incident. */
  note(noted: Noted): void {
    const [incident] = this.#sharing(noted);
    if (incident) take(incident, noted);
  }

  /** An accepted login from an address that an open incident knows: what is done in that session belongs to it. */
  login(at: Omit<Where, "line">, of: { user: string; ip: string; method: string }): void {
    const from = boundHandle(handle.address(of.ip));
    const incident = this.#open(at).find(({ handles }) => handles.has(from));
    if (!incident) return;
    addHandles(incident, [boundHandle(handle.session(of.user))]);
    addDeed(incident, { verb: "", object: `${of.user} logged in from ${of.ip} (${of.method})`, weight: 8 }, at.timeMs);
  }

  /** Whether a device has any: nearly none has, and then nothing needs to be told. */
  has(device: string): boolean {
    return this.#devices.has(device);
  }

  /** The incident that one has become. */
  resolve({ device, incident }: Pick<Detection, "device" | "incident">): string | undefined {
    return incident === undefined ? undefined : (find(this.#devices.get(device), incident)?.id ?? incident);
  }

  /** Incidents that changed since the last call. */
  take(): IncidentReport[] {
    const reports: IncidentReport[] = [];
    for (const list of [this.#leaving.splice(0), ...this.#devices.values()])
      for (const incident of list) {
        if (!incident.dirty) continue;
        incident.dirty = false;
        reports.push({ open: asOpen(incident), story: storyOf(incident), tree: pictureOf(incident), marks: marksOf(incident) });
      }
    return reports;
  }

  /** Frees what can take in nothing more. Decides nothing. What was not taken yet stays. */
  close(nowMs: number, device: string): void {
    const stays = (incident: Incident) => incident.dirty || isOpen(incident, nowMs);
    const list = this.#devices.get(device);
    for (const incident of list ?? []) if (!stays(incident)) unlist(incident);
    const left = list?.filter(stays);
    if (left?.length) this.#devices.set(device, left);
    else this.#drop(device);
  }

  /** Lets go of all of a device, also what waits to be taken. */
  forget(device: string): void {
    this.#drop(device);
    this.#leaving = this.#leaving.filter((incident) => incident.device !== device);
  }

  #drop(device: string): void {
    this.#devices.delete(device);
    this.#indexes.delete(device);
  }

  #indexOf(device: string): HandleIndex {
    const known = this.#indexes.get(device) ?? new Map();
    this.#indexes.set(device, known);
    return known;
  }

  #listOf(device: string): Incident[] {
    const known = this.#devices.get(device);
    if (known) return known;
    const made: Incident[] = [];
    this.#devices.set(device, made);
    return made;
  }

  #open({ device, receivedMs }: Pick<Where, "device" | "receivedMs">): readonly Incident[] {
    return this.#devices.get(device)?.filter((incident) => isOpen(incident, receivedMs)) ?? [];
  }

  /** The open incidents that know a process of the line, oldest first. */
  #sharing({ device, line, receivedMs }: Where): readonly Incident[] {
    const index = this.#indexes.get(device);
    if (!index) return none;
    let found: Incident[] | undefined;
    for (const name of handlesOf({ line }))
      for (const incident of index.get(name) ?? none) {
        if (!isOpen(incident, receivedMs) || found?.includes(incident)) continue;
        if (found) found.push(incident);
        else found = [incident];
      }
    return found ? found.sort(older) : none;
  }

  #make(detection: Detection, { device, receivedMs }: About): Incident {
    const list = this.#listOf(device);
    const made = newIncident(uuid5(this.#site, "incident", device, detection.id), device, receivedMs, this.#indexOf(device));
    list.push(made);
    list.sort(older);
    if (list.length > MAX_INCIDENTS) this.#leaving.push(takeQuietest(list, made)!);
    return made;
  }

  /** Makes incidents of one process tree one: the oldest stays. */
  #oneOf(incident: Incident, others: readonly Incident[]): Incident {
    const all = [...new Set([incident, ...others])].sort(older);
    const [first, ...rest] = all;
    if (rest.length === 0) return incident;
    const list = this.#listOf(incident.device);
    for (const other of rest) {
      absorb(first!, other);
      unlist(other);
      list.splice(list.indexOf(other), 1);
    }
    return first!;
  }
}

function take(incident: Incident, noted: Noted): void {
  const { deed, gives } = noted;
  // A build in the session of an intruder must not be told program by program.
  if (isFull(incident) && !(deed && isNews(incident, deed))) return;
  addLine(incident, noted);
  addIfRoom(incident, [...handlesOf(noted), ...gives.map(boundHandle)]);
  if (deed) addDeed(incident, deed, noted.timeMs);
}

const none: readonly Incident[] = [];

/** The rule of a score names no one thing that a process did. */
const SUM = "picket-process-score";

/** Oldest first; the id makes it total. */
const older = (a: Incident, b: Incident): number => a.beganMs - b.beganMs || (a.id < b.id ? -1 : 1);

const find = (list: readonly Incident[] | undefined, id: string): Incident | undefined =>
  list?.find((incident) => incident.id === id || incident.merged.includes(id));

function takeQuietest(list: Incident[], but?: Incident): Incident | undefined {
  const quietest = (a: Incident, b: Incident) => a.seenMs - b.seenMs || (a.id < b.id ? -1 : 1);
  const [spare] = list.filter((incident) => incident !== but).sort(quietest);
  if (!spare) return undefined;
  unlist(spare);
  list.splice(list.indexOf(spare), 1);
  return spare;
}

/** Addresses and hashes: what an incident of another device would not share by chance. */
const marksOf = ({ handles }: Incident): string[] => [...handles].filter((name) => /^[ah] /.test(name)).slice(-32);
