// Five processes started in under ten seconds by one process.
import { DERIVED_MS, isFresh } from "../freshness.ts";
import { CHAIN_MS, type Found } from "./match.ts";
import { lineage, type ProcessNode, type Step } from "./node.ts";
import { discovery, isInstalledScript, isNoisyTool, isShell } from "./programs.ts";
import { isStart } from "./steps.ts";
import { traitsOf } from "./traits.ts";

const BURST_MS = 10_000;
const BURST = 5;
const LOOKING_AROUND = 4;
const DIFFERENT = 3;

/**
 * Five processes started in under ten seconds by the subject itself. What a service does every day is no burst: a pair of parent and child among them
 * must be rare on the device. Every script starts programs: for a shell, or an installed script, something else must speak against it, a rule that
 * matched near it or programs that look around.
 */
export function findBurst(subject: ProcessNode, latest: Step): Found | undefined {
  if (!isStartBy(subject, latest)) return undefined;
  if (subject.steps.length < BURST || isWorkOfTool(subject, latest.receivedMs)) return undefined;
  const run = startedBy(subject, latest);
  const at = run.indexOf(latest);
  for (let from = Math.max(0, at - BURST + 1); from <= at && from + BURST <= run.length; from++) {
    const five = run.slice(from, from + BURST);
    if (five[BURST - 1]!.timeMs - five[0]!.timeMs < BURST_MS && areDifferent(five))
      return judgeBurst(subject, run, five, latest.receivedMs);
  }
  return undefined;
}

function judgeBurst(subject: ProcessNode, run: readonly Step[], five: readonly Step[], nowMs: number): Found | undefined {
  const looked = new Set(run.map((step) => step.program).filter((program) => discovery.has(program)));
  const isScript = isShell(subject.exe) || isInstalledScript(subject.exe, subject.argv);
  if (isScript && looked.size >= LOOKING_AROUND) return { steps: five };
  if (isScript && !isOdd(subject, five, looked.size > 1, nowMs)) return undefined;
  return { steps: five, ifRare: five.flatMap((step) => step.pair ?? []) };
}

/** The same program again and again is a loop, or a browser with its helpers; commands of a shell are told apart by their words. */
const areDifferent = (five: readonly Step[]): boolean =>
  new Set(five.map(({ exe, program, object }) => (isShell(exe) ? object : program))).size >= DIFFERENT;

const isStartBy = (subject: ProcessNode, step: Step): boolean => isStart(step.kind) && (step.node === subject || step.parent === subject);

/** A tool that runs programs as its work, or below one: a service of systemd is not below such a tool, though systemd is one. */
export const isWorkOfTool = (subject: ProcessNode, nowMs: number): boolean =>
  lineage(subject, nowMs).some((node, hop) => !(hop > 0 && traitsOf(node.exe).root) && isNoisyTool(node.exe, node.argv));

/**
 * Whether a rule matched near a script. One that would not alert by itself counts only for a script that looks around. Chains do not count: what
 * rests on a chain must not make another.
 */
function isOdd(subject: ProcessNode, five: readonly Step[], looks: boolean, nowMs: number): boolean {
  const near = [...lineage(subject, nowMs), ...five.map((step) => step.node)];
  return near.some((node) =>
    node.hits.some(
      (hit) => !hit.chain && !isGuess(hit.rule.id) && (looks || hit.rule.alerts) && isFresh(hit.receivedMs, nowMs, DERIVED_MS),
    ),
  );
}

/** What a model says of a command line is no second sign. */
const isGuess = (rule: string): boolean => rule.startsWith("picket-model-");

/** Starts by the subject and its children, the last of each process: wrappers that become each other are one start. */
function startedBy(subject: ProcessNode, latest: Step): Step[] {
  const run: Step[] = [];
  for (const step of subject.steps) {
    if (!isStartBy(subject, step) || Math.abs(latest.timeMs - step.timeMs) > CHAIN_MS) continue;
    const before = run.findIndex((other) => other.node === step.node);
    if (before >= 0) run.splice(before, 1);
    run.push(step);
  }
  return run;
}
