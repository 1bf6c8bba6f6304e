// What incidents are told of an event: correlation knows where it stands in the tree, the event what was done and with what.
import { processOf, type SensorEvent } from "@picket/protocol/event";
import { lineage, type ProcessNode, type Step, type StepKind } from "./correlate/node.ts";
import { isRoot } from "./correlate/programs.ts";
import { isStart, stepOf, verbs } from "./correlate/steps.ts";
import type { Arrival } from "./finding.ts";
import { isFresh, STEP_MS } from "./freshness.ts";
import { type About, type Actor, type Deed, handle, type Noted, type Where } from "./incidents/about.ts";
import { deed as wordsOf } from "./sentence.ts";
import { baseName } from "./text.ts";

/** What gives somebody other rights in the middle of a session ends it for a sequence, not for an incident. */
const passed = new Set(["sudo", "su", "doas", "runuser"]);
const isAbove = ({ pid, exe }: ProcessNode): boolean => pid === 1 || pid === 2 || (isRoot(exe) && !passed.has(baseName(exe)));
/** Programs that let somebody in: what hangs below them is the session of the user it runs as. */
const doors = new Set(["sshd", "sshd-session", "login", "dropbear", "telnetd", "in.telnetd"]);

/** How much a deed says, where that is not the usual. */
const weights: { readonly [K in StepKind]?: number } = {
  rename: 3,
  chmod: 3,
  read: 5,
  memfd: 5,
  mount: 5,
  ptrace: 5,
  setuid: 6,
  module: 6,
};
const USUAL = 4;
const OF_ALERT = 7;

/** Without the boot id, which is not known of every process an alert is about. */
const keyOf = ({ pid, startTicks, key }: Pick<ProcessNode, "pid" | "startTicks" | "key">): string =>
  pid > 0 && startTicks ? `${pid}:${startTicks}` : key;

const actorOf = (node: ProcessNode): Actor => ({ key: keyOf(node), pid: node.pid, exe: node.exe, argv: node.argv });

/** The process with what it came from, up to what its session or service hangs below. */
function lineOf(node: ProcessNode, nowMs: number): Pick<Where, "line" | "above"> {
  const line: Actor[] = [];
  for (const one of lineage(node, nowMs)) {
    if (line.length > 0 && isAbove(one)) return { line, above: actorOf(one) };
    line.push(actorOf(one));
  }
  return { line };
}

export const whereOf = (event: SensorEvent, node: ProcessNode | undefined, arrival: Arrival): Where => ({
  device: event.device,
  timeMs: event.timeMs,
  receivedMs: arrival.receivedMs,
  ...(node ? lineOf(node, arrival.receivedMs) : { line: [] }),
});

/** What a step tells. At `nowMs`, which is not before it. */
export function noted(device: string, step: Step, nowMs: number): Noted {
  const { kind, node, timeMs, path, ip } = step;
  const deed = isStart(kind) ? undefined : { by: keyOf(node), verb: verbs[kind], object: step.object, weight: weights[kind] ?? USUAL };
  const gives = [
    ...(path && (kind === "write" || kind === "rename" || kind === "chmod") ? [handle.file(path)] : []),
    ...(ip && isTelling(ip) ? [handle.passing(ip)] : []),
  ];
  return { device, timeMs, receivedMs: nowMs, ...lineOf(node, nowMs), deed, gives };
}

/** An alert about an event, on `node`; without one about the device. `steps` are the links of a sequence, `summary` what a model says of the device. */
export function aboutAlert(
  event: SensorEvent,
  node: ProcessNode | undefined,
  arrival: Arrival,
  more: { readonly steps?: readonly Step[]; readonly summary?: string | undefined } = {},
): About {
  const where = whereOf(event, node, arrival);
  const { steps = [] } = more;
  if (!node) return { ...where, ...ofDevice(event, more.summary), around: () => [] };
  const addresses = [...addressesOf(event), ...steps.map(({ ip }) => ip)].filter(isTelling).map(handle.address);
  const process = node.process ?? processOf(event);
  const own = where.line.slice(0, 1).filter(({ exe }) => isOdd(exe));
  const hash = own.length > 0 && process?.sha256 !== undefined ? [handle.hash(process.sha256)] : [];
  const door = where.above && doors.has(baseName(where.above.exe)) && process?.user !== undefined ? [handle.session(process.user)] : [];
  const files = [...where.line.map(({ exe }) => exe), ...pathsOf(event)].map(handle.file);
  return {
    ...where,
    gives: [...addresses, ...hash, ...own.map(({ exe }) => handle.file(exe))],
    seeks: [...addresses, ...hash, ...files, ...door],
    deed: steps.length > 0 ? undefined : deedOf(event, node, arrival),
    around: () => [
      ...steps.map((step) => evidence(noted(event.device, step, arrival.receivedMs))),
      ...recent(where, node, arrival).map((step) => noted(event.device, step, arrival.receivedMs)),
    ],
  };
}

/** A link of the sequence that an alert is about. */
const evidence = (step: Noted): Noted => (step.deed ? { ...step, deed: { ...step.deed, weight: OF_ALERT } } : step);

/** What its session or service did in the last minutes, each step once. */
function recent({ line }: Where, node: ProcessNode, { receivedMs }: Arrival): Step[] {
  const steps = new Map<string, Step>();
  for (const one of lineage(node, receivedMs).slice(0, line.length))
    for (const step of [...one.steps, ...one.deeds]) if (isFresh(step.receivedMs, receivedMs, STEP_MS)) steps.set(step.eventId, step);
  return [...steps.values()].sort((a, b) => a.timeMs - b.timeMs || a.seq - b.seq);
}

function deedOf(event: SensorEvent, node: ProcessNode, arrival: Arrival): Deed | undefined {
  if (event.type === "process.exec" || event.type === "process.exit") return undefined;
  const step = stepOf(event, node, arrival);
  const what = step ? { verb: verbs[step.kind], object: step.object } : { verb: "", object: wordsOf(event) };
  return { by: keyOf(node), ...what, weight: OF_ALERT };
}

/** What is about no process is told apart, and found by what it names. */
function ofDevice(event: SensorEvent, summary: string | undefined): Pick<About, "gives" | "seeks" | "deed"> {
  const deed = { verb: "", object: summary ?? capital(wordsOf(event)), weight: OF_ALERT };
  // A finding about the device as a whole rests on no one event.
  if (summary !== undefined) return { gives: [], seeks: [], deed };
  const gives = namesOf(event);
  const users = event.type === "auth.sudo" ? [handle.session(event.body.user)] : [];
  const passing = addressesOf(event).filter(isTelling).map(handle.passing);
  const accepted = event.type === "auth.login" && event.body.ok ? [handle.session(event.body.user)] : [];
  return { gives: [...gives, ...accepted], seeks: [...gives, ...users, ...passing], deed };
}

function namesOf(event: SensorEvent): string[] {
  const user = event.type === "auth.login" || event.type === "auth.sudo" ? [handle.user(event.body.user)] : [];
  return [...addressesOf(event).filter(isTelling).map(handle.address), ...user, ...pathsOf(event).map(handle.file)];
}

/** A verdict about a file. `process` ran it or made it known. */
export function aboutFile(of: {
  readonly device: string;
  readonly timeMs: number;
  readonly receivedMs: number;
  readonly path: string;
  readonly sha256: string;
  readonly process?:
    | { readonly pid: number; readonly startTicks: number; readonly exe: string; readonly argv: readonly string[] }
    | undefined;
  readonly title: string;
}): About {
  const { device, timeMs, receivedMs, path, sha256, process, title } = of;
  const line = process && process.pid > 0 ? [{ ...process, key: `${process.pid}:${process.startTicks}` }] : [];
  const names = [handle.hash(sha256), handle.file(path)];
  const deed = { verb: "", object: `${path} matches ${title}`, weight: OF_ALERT };
  return { device, timeMs, receivedMs, line, gives: names, seeks: names, deed, around: () => [] };
}

function addressesOf({ body }: SensorEvent): string[] {
  if ("net" in body) return "dstIp" in body.net ? [body.net.dstIp] : "srcIp" in body.net ? [body.net.srcIp] : [];
  return "remoteIp" in body && body.remoteIp !== undefined ? [body.remoteIp] : [];
}

const pathsOf = ({ body }: SensorEvent): string[] => ("file" in body ? [body.file.path, ...("to" in body.file ? [body.file.to] : [])] : []);

/** Everybody talks to himself. */
const isTelling = (ip: string): boolean => ip !== "" && !/^(?:127\.|0\.0\.0\.0$|::1?$|::ffff:127\.)/.test(ip);

/** No program of the system: what lies there tells one intruder from the other. */
const isOdd = (exe: string): boolean => !/^\/(?:usr|bin|sbin|lib|lib64|opt|snap|nix)\//.test(exe) && exe.startsWith("/");

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
