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

type Sentence = { readonly text: string; readonly timeMs: number; readonly weight: number };

/** At most `MAX_SENTENCES`, in the order of time, and one more that says how many were left out. Those that say least are. */
export function storyOf(incident: Pick<Incident, "processes" | "deeds">): string[] {
  const sentences = [...processSentences(incident), ...deviceSentences(incident)].sort((a, b) => a.timeMs - b.timeMs);
  const [first, ...rest] = sentences;
  if (!first) return [];
  // How it began is always told.
  const telling = new Set(rest.toSorted((a, b) => b.weight - a.weight || a.timeMs - b.timeMs).slice(0, MAX_SENTENCES - 1));
  const told = [first, ...rest.filter((one) => telling.has(one))].map(({ text }) => clean(text, MAX_SENTENCE));
  const left = sentences.length - told.length;
  return left > 0 ? [...told, `${left} more step${left === 1 ? " is" : "s are"} left out here; the alerts have them.`] : told;
}

const deviceSentences = ({ deeds }: Pick<Incident, "deeds">): Sentence[] =>
  deeds.filter(({ by }) => by === undefined).map(({ object, timeMs, weight }) => ({ text: sentence(object), timeMs, weight }));

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
  for (const process of [...processes.values()].sort(earlier)) {
    const programs = (startedBy.get(process.key) ?? []).filter((child) => !isTold(child) && !leadsOn(child)).sort(earlier);
    if (!isTold(process) && !(programs.length > 0 && process.parent !== undefined)) continue;
    const did = phrases(
      (doneBy.get(process.key) ?? []).toSorted((a, b) => a.timeMs - b.timeMs),
      programs,
    );
    const text = began(process, processes, named, did);
    if (text === undefined) continue;
    const weight = Math.max(0, ...(doneBy.get(process.key) ?? []).map((deed) => deed.weight)) + 4 * Math.min(2, process.matched.length);
    sentences.push({ text: sentence(text), timeMs: process.timeMs, weight });
  }
  return sentences;
}

/** "cron (pid 812) started sh (pid 813), which started curl (pid 814), which wrote /tmp/x": from the last one that was named. */
function began(process: StoryProcess, processes: Incident["processes"], named: Set<string>, did: readonly string[]): string | undefined {
  const line = [process];
  while (line.length <= MAX_LINKS && !named.has(line[0]!.key)) {
    const parent = line[0]!.parent === undefined ? undefined : processes.get(line[0]!.parent);
    if (!parent || line.includes(parent)) break;
    line.unshift(parent);
  }
  if (line.length === 1 && did.length === 0) return undefined;
  const [first, ...rest] = line.map((one) => nameOf(one, named));
  const started = rest.map((name, at) => (at === 0 ? ` started ${name}` : `, which started ${name}`)).join("");
  if (did.length === 0) return `${first}${started}`;
  return rest.length > 0 ? `${first}${started}, which ${listed(did)}` : `${first} ${listed(did)}`;
}

/** With its pid, and where an alert is about it with its command, the first time; then as short as it goes. */
function nameOf({ key, pid, exe, argv, matched }: StoryProcess, named: Set<string>): string {
  const name = /^(?:\/usr)?(?:\/local)?\/s?bin\/[^/]+$/.test(exe) || !exe.startsWith("/") ? baseName(exe) || "a process" : exe;
  if (named.has(key)) return name;
  named.add(key);
  const command = matched.length > 0 && argv.length > 1 ? `"${clean(argv.join(" "), MAX_COMMAND)}"` : "";
  const details = [pid > 0 ? `pid ${pid}` : "", command].filter(Boolean).join(", ");
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
