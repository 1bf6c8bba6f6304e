// What happened, in plain sentences: who started whom, and what each of them did. Everything in it was chosen by a device: it is cleaned and bounded, and stays text.
import { MAX_SENTENCE, MAX_SENTENCES, type StoryDeed, type StoryProcess } from "@picket/protocol/incident";
import { baseName, clean } from "../text.ts";
import type { Incident } from "./incident.ts";
import { earlier } from "./picture.ts";

/** Things told of one verb, and programs that were run by the way. */
const MAX_OBJECTS = 3;
const MAX_PROGRAMS = 5;
/** Processes between one that was named and one that did something. */
const MAX_LINKS = 4;
const MAX_COMMAND = 100;

/** What a deed weighs at least that an alert rests on. */
const EVIDENCE = 7;

type Sentence = { readonly text: string; readonly timeMs: number; readonly weight: number; readonly aside: boolean };

/**
 * At most `MAX_SENTENCES`, and one more that says how many were left out. Those that say least are. In the order of time;
 * what else was done in the same session or service, by processes no alert leads to, comes last.
 */
export function storyOf(incident: Pick<Incident, "processes" | "deeds">): string[] {
  const all = [...processSentences(incident), ...deviceSentences(incident)];
  const sentences = all.sort((a, b) => Number(a.aside) - Number(b.aside) || a.timeMs - b.timeMs);
  const [first, ...rest] = sentences;
  if (!first) return [];
  // How it began is always told.
  const telling = new Set(rest.toSorted((a, b) => b.weight - a.weight || a.timeMs - b.timeMs).slice(0, MAX_SENTENCES - 1));
  const told = [first, ...rest.filter((one) => telling.has(one))].map(({ text }) => clean(text, MAX_SENTENCE));
  const left = sentences.length - told.length;
  return left > 0 ? [...told, `${left} more step${left === 1 ? " is" : "s are"} left out here; the alerts have them.`] : told;
}

const deviceSentences = ({ deeds }: Pick<Incident, "deeds">): Sentence[] =>
  deeds
    .filter(({ by }) => by === undefined)
    .map(({ object, timeMs, weight }) => ({ text: sentence(object), timeMs, weight, aside: false }));

function processSentences({ processes, deeds }: Pick<Incident, "processes" | "deeds">): Sentence[] {
  const doneBy = Map.groupBy(
    deeds.filter(({ by }) => by !== undefined),
    ({ by }) => by!,
  );
  const startedBy = Map.groupBy(
    [...processes.values()].filter(({ parent }) => parent !== undefined),
    ({ parent }) => parent!,
  );
  const isTold = ({ key, matched }: StoryProcess) => matched.length > 0 || doneBy.has(key);
  const leadsOn = ({ key }: StoryProcess) => startedBy.has(key);
  const named = new Set<string>();
  const sentences: Sentence[] = [];
  const accused = accusedOf(processes, doneBy, startedBy);
  const isAside = ({ key }: StoryProcess) => accused.size > 0 && !accused.has(key);
  for (const process of [...processes.values()].sort((a, b) => Number(isAside(a)) - Number(isAside(b)) || earlier(a, b))) {
    const programs = (startedBy.get(process.key) ?? []).filter((child) => !isTold(child) && !leadsOn(child)).sort(earlier);
    if (!isTold(process) && !(programs.length > 0 && process.parent !== undefined)) continue;
    const done = (doneBy.get(process.key) ?? []).toSorted((a, b) => a.timeMs - b.timeMs);
    const text = began(process, processes, named, done, programs);
    if (text === undefined) continue;
    const weight = Math.max(0, ...done.map((deed) => deed.weight)) + 4 * Math.min(2, process.matched.length);
    const aside = isAside(process);
    sentences.push({ text: sentence(aside ? `Beside it, ${text}` : text), timeMs: process.timeMs, weight, aside });
  }
  return sentences;
}

const makes = new Set(["wrote", "renamed", "made executable"]);
const filesOf = (process: StoryProcess | undefined): string[] => (process ? [process.exe, ...process.argv] : []);

/** The processes that alerts are about or rest on, all those started, and who made the files they are or work on. */
function accusedOf(
  processes: Incident["processes"],
  doneBy: ReadonlyMap<string, readonly StoryDeed[]>,
  startedBy: ReadonlyMap<string, readonly StoryProcess[]>,
): Set<string> {
  const isEvidence = ({ key, matched }: StoryProcess) => matched.length > 0 || doneBy.get(key)?.some(({ weight }) => weight >= EVIDENCE);
  const accused = new Set<string>();
  const open = [...processes.values()].filter(isEvidence);
  for (let process = open.pop(); process; process = open.pop()) {
    // A device may state parents in a circle.
    if (accused.has(process.key)) continue;
    accused.add(process.key);
    open.push(...(startedBy.get(process.key) ?? []));
  }
  const files = new Set([...accused].flatMap((key) => filesOf(processes.get(key))));
  const makers = [...processes.keys()].filter((key) => doneBy.get(key)?.some(({ verb, object }) => makes.has(verb) && files.has(object)));
  return new Set([...accused, ...makers]);
}

/** "cron (pid 812) started sh (pid 813), which started curl (pid 814), which wrote /tmp/x": from the last one that was named. */
function began(
  process: StoryProcess,
  processes: Incident["processes"],
  named: Set<string>,
  done: readonly StoryDeed[],
  programs: readonly StoryProcess[],
): string | undefined {
  const did = phrases(done, programs);
  const line = [process];
  while (line.length <= MAX_LINKS && !named.has(line[0]!.key)) {
    const parent = line[0]!.parent === undefined ? undefined : processes.get(line[0]!.parent);
    if (!parent || line.includes(parent)) break;
    line.unshift(parent);
  }
  if (line.length === 1 && did.length === 0) return undefined;
  const [first, ...rest] = line.map((one) => nameOf(one, named, one === process ? done : []));
  const started = rest.map((name, at) => (at === 0 ? ` started ${name}` : `, which started ${name}`)).join("");
  if (did.length === 0) return `${first}${started}`;
  return rest.length > 0 ? `${first}${started}, which ${listed(did)}` : `${first} ${listed(did)}`;
}

/**
 * With its pid, and where an alert is about it with its command, the first time; then as short as it goes.
 * A command that names what was done says nothing that the deed does not.
 */
function nameOf({ key, pid, exe, argv, matched }: StoryProcess, named: Set<string>, done: readonly StoryDeed[]): string {
  const short = baseName(exe) || "a process";
  if (named.has(key)) return short;
  const isUsual = /^(?:\/usr)?(?:\/local)?\/s?bin\/[^/]+$/.test(exe) || !exe.startsWith("/") || named.has(exe);
  named.add(key).add(exe);
  const isSaid = argv.some((arg) => done.some(({ object }) => object === arg));
  const command = matched.length > 0 && argv.length > 1 && !isSaid ? `"${clean(argv.join(" "), MAX_COMMAND)}"` : "";
  const details = [pid > 0 ? `pid ${pid}` : "", command].filter(Boolean).join(", ");
  const name = isUsual ? short : exe;
  return details ? `${name} (${details})` : name;
}

/** "connected to 203.0.113.9:80, wrote /tmp/x and /tmp/y", "ran id and uname": each verb where it was first done. */
function phrases(deeds: readonly StoryDeed[], programs: readonly StoryProcess[]): string[] {
  const objects = Map.groupBy(deeds, ({ verb }) => verb);
  const told = [...objects].map(
    ([verb, of]) =>
      `${verb}${verb ? " " : ""}${some(
        of.map(({ object }) => object),
        MAX_OBJECTS,
      )}`,
  );
  const names = [...new Set(programs.map(({ exe }) => baseName(exe) || "a process"))];
  return names.length > 0 ? [...told, `ran ${some(names, MAX_PROGRAMS)}`] : told;
}

function some(of: readonly string[], most: number): string {
  const left = of.length - most;
  return left > 0 ? `${of.slice(0, most).join(", ")} and ${left} more` : listed(of);
}

const listed = (of: readonly string[]): string => (of.length < 2 ? (of[0] ?? "") : `${of.slice(0, -1).join(", ")} and ${of.at(-1)}`);

const sentence = (text: string): string => (/[.!?…]$/.test(text) ? text : `${text}.`);
