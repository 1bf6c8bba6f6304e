// Three sequences of events that mean more than their parts. Pure: steps in, what they complete out.
import type { RuleFacts } from "../finding.ts";
import { DERIVED_MS, isFresh, STEP_MS } from "../freshness.ts";
import { baseName } from "../text.ts";
import { isWithin, lineage, type ProcessNode, type Step } from "./node.ts";
import { discovery, isInterpreter, isNoisyTool, isRoot, isShell, isUsualPort } from "./programs.ts";
import type { Sighting } from "./sightings.ts";
import { isDeed } from "./steps.ts";

/** Longest time from the first to the last step of a chain. */
export const CHAIN_MS = 30_000;
/** Steps remembered for a process: its own and its descendants'. */
export const MAX_STEPS = 20;
const BURST_MS = 10_000;
const BURST = 5;
const LOOKING_AROUND = 4;

const chain = (id: string, title: string, score: number, tactics: string[], techniques: string[]): RuleFacts => ({
  id,
  title,
  level: "high",
  attack: { tactics, techniques },
  score,
  alerts: true,
});

export const reverseShell = chain(
  "picket-chain-reverse-shell",
  "Reverse shell: a shell over the network",
  90,
  ["execution", "command-and-control"],
  ["T1059", "T1071"],
);
export const credentialAccess = chain(
  "picket-chain-credential-access",
  "Credentials read, then a program started",
  75,
  ["credential-access", "execution"],
  ["T1003", "T1059"],
);
export const burst = chain("picket-chain-burst", "Burst of program starts", 60, ["execution", "discovery"], ["T1059", "T1082"]);
export const chains: readonly RuleFacts[] = [reverseShell, credentialAccess, burst];

/** A chain that one step completed: on `subject`, by `steps`, oldest first. */
export type Completed = {
  readonly rule: RuleFacts;
  readonly subject: ProcessNode;
  readonly steps: readonly Step[];
  /** Where given, it is nothing unless one of these was rare. */
  readonly ifRare: readonly Sighting[] | undefined;
};

/**
 * Remembers a step with its process and that one's ancestors, and returns the chains it completes: each at most once, on the
 * nearest process. Steps may come late (batches with hits overtake others): they are judged by the time of the event.
 */
export function addStep(step: Step): Completed[] {
  const completed: Completed[] = [];
  for (const subject of lineage(step.node, step.receivedMs)) {
    // Sessions and services hang below these: what one does is no part of another's story.
    if (subject !== step.node && isRoot(subject.exe)) break;
    if (!insert(isDeed(step.kind) ? subject.deeds : subject.steps, step) || isDeed(step.kind)) continue;
    for (const [rule, find] of patterns) {
      if (completed.some((done) => done.rule === rule)) continue;
      const found = find(subject, step);
      if (found) completed.push({ rule, subject, ...found });
    }
  }
  return completed;
}

/** Puts a step in its place by time; what is more than 30 s older than the newest, and more than 20 steps, goes. False when that is the step itself. */
function insert(steps: Step[], step: Step): boolean {
  let at = steps.length;
  while (at > 0 && isBefore(step, steps[at - 1]!)) at--;
  const newestMs = Math.max(step.timeMs, steps.at(-1)?.timeMs ?? 0);
  if (newestMs - step.timeMs > CHAIN_MS) return false;
  steps.splice(at, 0, step);
  let old = Math.max(0, steps.length - MAX_STEPS);
  while (newestMs - steps[old]!.timeMs > CHAIN_MS || !isFresh(steps[old]!.receivedMs, step.receivedMs, STEP_MS)) old++;
  if (old > 0) steps.splice(0, old);
  return at >= old;
}

const isBefore = (a: Step, b: Step): boolean => a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.seq < b.seq);

type Found = Pick<Completed, "steps" | "ifRare">;
type Find = (subject: ProcessNode, latest: Step) => Found | undefined;
const found = (steps: readonly Step[], ifRare?: readonly Sighting[]): Found => ({ steps, ifRare });

/** The subject is a shell; it or a descendant connects out; then a shell is started by the one that connected. */
const findReverseShell: Find = (subject, latest) => {
  const { steps } = subject;
  if (latest.kind !== "shell" && latest.kind !== "connect") return undefined;
  const first = steps.find((step) => step.kind === "shell" && step.node === subject);
  if (!first) return undefined;
  for (let j = steps.indexOf(first) + 1; j < steps.length; j++) {
    const connection = steps[j]!;
    if (connection.kind !== "connect") continue;
    for (let k = j + 1; k < steps.length; k++) {
      const shell = steps[k]!;
      if (shell.kind !== "shell" || !(latest === first || latest === connection || latest === shell)) continue;
      if (isLed(connection, shell, latest.receivedMs)) return found([first, connection, shell]);
    }
  }
  return undefined;
};

/**
 * Whether a shell was started by what connected. Where it was only started beside it, the port decides: `curl` and then `sh`
 * is what every installer does, `nc` to an odd port and then `sh` is not. Package tools run `sh -c` after every download.
 */
function isLed(connection: Step, shell: Step, nowMs: number): boolean {
  if (connection.noisy) return false;
  return isWithin(connection.node, shell.node, nowMs) || !isUsualPort(connection.port);
}

/** The subject read credentials, or is the shell or script whose child did; then something is started below it. */
const findCredentialAccess: Find = (subject, latest) => {
  if (latest.kind === "connect") return undefined;
  const { steps } = subject;
  for (let i = 0; i < steps.length; i++) {
    const read = steps[i]!;
    if (read.kind !== "read") continue;
    const own = read.node === subject || (read.parent === subject && (isShell(subject.exe) || isInterpreter(baseName(subject.exe))));
    if (!own) continue;
    for (let j = i + 1; j < steps.length; j++) {
      const run = steps[j]!;
      if ((run.kind === "exec" || run.kind === "shell") && (latest === read || latest === run)) return found([read, run]);
    }
  }
  return undefined;
};

/**
 * Five processes started in under ten seconds by the subject itself. What a service does every day is no burst: a pair of parent and child among them
 * must be rare on the device. Every shell script starts programs: for a shell something else must speak against it, a rule that
 * matched near it or programs that look around.
 */
const findBurst: Find = (subject, latest) => {
  if (!isStartBy(subject, latest)) return undefined;
  if (subject.steps.length < BURST || !mayBurst(subject, latest.receivedMs)) return undefined;
  const run = startedBy(subject);
  const at = run.indexOf(latest);
  for (let from = Math.max(0, at - BURST + 1); from <= at && from + BURST <= run.length; from++) {
    const five = run.slice(from, from + BURST);
    if (five[BURST - 1]!.timeMs - five[0]!.timeMs < BURST_MS) return judgeBurst(subject, run, five, latest.receivedMs);
  }
  return undefined;
};

function judgeBurst(subject: ProcessNode, run: readonly Step[], five: readonly Step[], nowMs: number): Found | undefined {
  const looked = new Set(run.map((step) => step.program).filter((program) => discovery.has(program)));
  if (isShell(subject.exe) && looked.size >= LOOKING_AROUND) return found(five);
  if (isShell(subject.exe) && !isOdd(subject, five, nowMs)) return undefined;
  return found(
    five,
    five.flatMap((step) => step.pair ?? []),
  );
}

const isStartBy = (subject: ProcessNode, step: Step): boolean =>
  (step.kind === "exec" || step.kind === "shell") && (step.node === subject || step.parent === subject);

/** Not a tool that runs programs as its work, nor below one: a service of systemd is not such a tool, though systemd is. */
const mayBurst = (subject: ProcessNode, nowMs: number): boolean =>
  lineage(subject, nowMs).every((node, hop) => (hop > 0 && isRoot(node.exe)) || !isNoisyTool(node.exe, node.argv));

/** Whether a rule matched near a shell. Chains do not count: what rests on a chain must not make another. */
function isOdd(subject: ProcessNode, five: readonly Step[], nowMs: number): boolean {
  const near = [...lineage(subject, nowMs), ...five.map((step) => step.node)];
  return near.some((node) => node.hits.some((hit) => !hit.chain && isFresh(hit.receivedMs, nowMs, DERIVED_MS)));
}

/** Starts by the subject and its children, the last of each process: wrappers that become each other are one start. */
function startedBy(subject: ProcessNode): Step[] {
  const run: Step[] = [];
  for (const step of subject.steps) {
    if (!isStartBy(subject, step)) continue;
    const before = run.findIndex((other) => other.node === step.node);
    if (before >= 0) run.splice(before, 1);
    run.push(step);
  }
  return run;
}

const patterns: readonly (readonly [RuleFacts, Find])[] = [
  [reverseShell, findReverseShell],
  [credentialAccess, findCredentialAccess],
  [burst, findBurst],
];
