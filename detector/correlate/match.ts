// Looks for the chains of a table among what processes did. It knows no chain: `chains.ts` does.
import { isFresh, STEP_MS } from "../freshness.ts";
import type { ChainRule } from "./chain-rules.ts";
import type { Mark, MarkName } from "./marks.ts";
import { lineage, type ProcessNode, type Step, type StepKind } from "./node.ts";
import type { Sighting } from "./sightings.ts";
import { isDeed, kindBit } from "./steps.ts";
import { traitsOf } from "./traits.ts";

/** Longest time from the first to the last step of a chain, where it does not say otherwise. */
export const CHAIN_MS = 30_000;
/** The longest any may say, and how long steps are remembered. */
export const LONG_MS = STEP_MS;
/** Steps remembered for a process: its own and its descendants'. As many of its starts, connections and reads as of its other deeds. */
export const MAX_STEPS = 20;

/** Where and when a step is judged. */
export type Scene = {
  readonly subject: ProcessNode;
  readonly nowMs: number;
  /** What the device remembers for longer; nothing while windows are filled again: it was decided then. */
  readonly marked: (name: MarkName, subject: string) => Mark | undefined;
};

/** One link of a chain: a step of one of these kinds for which `is` holds, given those found before it. */
export type Link = { readonly kinds: readonly StepKind[]; readonly is?: (step: Step, scene: Scene, found: readonly Step[]) => boolean };

/** One way in which a chain comes about. */
export type Way = {
  /** Asked first, of the process below which all happens. */
  readonly of?: (subject: ProcessNode, scene: Scene) => boolean;
  /** In this order of time, below one process. One link alone is looked for only where it happened. */
  readonly links: readonly Link[];
  /** Default CHAIN_MS. */
  readonly withinMs?: number;
  /** What must have happened on the device before, as long ago as its mark is kept. Asked of the first link. */
  readonly after?: (step: Step, scene: Scene) => Mark | undefined;
  /** It counts only where one of these was rare. */
  readonly ifRare?: (steps: readonly Step[]) => readonly Sighting[];
  /** What an operator would call the same thing, where that is not the tree of its processes. */
  readonly group?: (step: Step) => string;
};

export type Found = {
  readonly steps: readonly Step[];
  readonly group?: string | undefined;
  readonly ifRare?: readonly Sighting[] | undefined;
  readonly mark?: Mark | undefined;
};

/** A row of the table: its ways, or for what is no sequence a function of its own. */
export type Chain = {
  readonly rule: ChainRule;
  readonly ways?: readonly Way[];
  readonly find?: (subject: ProcessNode, latest: Step) => Found | undefined;
};

/** A chain that one step completed: on `subject`, by `steps`, oldest first. */
export type Completed = {
  readonly rule: ChainRule;
  readonly subject: ProcessNode;
  readonly steps: readonly Step[];
  /** Where given, it is nothing unless one of these was rare. */
  readonly ifRare: readonly Sighting[] | undefined;
  /** What happened before, as far as the broker keeps it. Such a chain is told, and adds nothing to later scores: after a restart nobody would know of it. */
  readonly mark: Mark | undefined;
  /** What is the same thing; undefined: what happens in the same tree of processes. */
  readonly group: string | undefined;
};

/**
 * Remembers a step with its process and that one's ancestors, and returns the chains it completes: each at most once, on the
 * nearest process. Steps may come late (batches with hits overtake others): they are judged by the time of the event.
 */
export function addStep(step: Step, marked: Scene["marked"], find: ReturnType<typeof finder>): Completed[] {
  const completed: Completed[] = [];
  const nowMs = step.receivedMs;
  for (const subject of lineage(step.node, nowMs)) {
    // Sessions and services hang below these: what one does is no part of another's story.
    if (subject !== step.node && traitsOf(subject.exe).root) break;
    subject.kinds |= kindBit[step.kind];
    if (insert(isDeed(step.kind) ? subject.deeds : subject.steps, step)) find({ subject, nowMs, marked }, step, completed);
  }
  return completed;
}

/** Puts a step in its place by time; what is too much older than the newest, and more than 20 steps, goes. False when that is the step itself. */
function insert(steps: Step[], step: Step): boolean {
  // The same again is no news, and would push out what is.
  if (isDeed(step.kind)) {
    const same = steps.findIndex(
      (one) => one.node === step.node && one.kind === step.kind && (one.kind === "accept" || one.object === step.object),
    );
    if (same >= 0) steps.splice(same, 1);
  }
  let at = steps.length;
  while (at > 0 && isBefore(step, steps[at - 1]!)) at--;
  const newestMs = Math.max(step.timeMs, steps.at(-1)?.timeMs ?? 0);
  if (newestMs - step.timeMs > LONG_MS) return false;
  steps.splice(at, 0, step);
  let old = Math.max(0, steps.length - MAX_STEPS);
  while (newestMs - steps[old]!.timeMs > LONG_MS || !isFresh(steps[old]!.receivedMs, step.receivedMs, STEP_MS)) old++;
  if (old > 0) steps.splice(0, old);
  return at >= old;
}

const isBefore = (a: Step, b: Step): boolean => a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.seq < b.seq);

type Row = {
  readonly chain: Chain;
  readonly way: Way | undefined;
  readonly isAlone: boolean;
  readonly hasDeeds: boolean;
  readonly needs: readonly number[];
};

const bitsOf = (kinds: readonly StepKind[]): number => kinds.reduce((bits, kind) => bits | kindBit[kind], 0);
const rowOf = (chain: Chain, way: Way | undefined): Row => ({
  chain,
  way,
  isAlone: way?.links.length === 1,
  hasDeeds: way?.links.some(({ kinds }) => kinds.some(isDeed)) ?? false,
  needs: way?.links.map(({ kinds }) => bitsOf(kinds)) ?? [],
});

/** Finds the chains of a table that a step completes below one process. */
export function finder(table: readonly Chain[]) {
  const rows = table.flatMap((chain) => (chain.ways ?? [undefined]).map((way) => rowOf(chain, way)));
  const byKind = new Map(
    (Object.keys(kindBit) as StepKind[]).map((kind) => [
      kind,
      rows.filter(({ way, needs }) => !way || needs.some((bits) => bits & kindBit[kind])),
    ]),
  );
  return (scene: Scene, latest: Step, completed: Completed[]): void => {
    const { subject } = scene;
    let together: readonly Step[] | undefined;
    const all = () => {
      together ??= inOrder(subject.steps, subject.deeds);
      return together;
    };
    for (const row of byKind.get(latest.kind)!) {
      if (row.isAlone ? latest.node !== subject : !hasAll(subject.kinds, row.needs)) continue;
      const { chain, way } = row;
      const found = !way
        ? chain.find?.(subject, latest)
        : row.isAlone
          ? findAlone(way, scene, latest)
          : findWay(row, way, scene, latest, all);
      if (!found || completed.some((done) => done.rule === chain.rule)) continue;
      const { steps, ifRare, mark, group } = found;
      completed.push({ rule: chain.rule, subject, steps, ifRare, mark, group });
    }
  };
}

function hasAll(kinds: number, needs: readonly number[]): boolean {
  for (const bits of needs) if ((kinds & bits) === 0) return false;
  return true;
}

function findAlone(way: Way, scene: Scene, latest: Step): Found | undefined {
  // What is remembered first: mostly nothing, and that is soon known.
  const mark = way.after?.(latest, scene);
  if (way.after && !mark) return undefined;
  const { is } = way.links[0]!;
  if (is && !is(latest, scene, [])) return undefined;
  return { steps: [latest], mark, ifRare: way.ifRare?.([latest]), group: way.group?.(latest) };
}

function findWay({ hasDeeds }: Row, way: Way, scene: Scene, latest: Step, all: () => readonly Step[]): Found | undefined {
  if (way.of && !way.of(scene.subject, scene)) return undefined;
  return walk(way, scene, latest, hasDeeds ? all() : scene.subject.steps, []);
}

/** Two lists, each in order, as one. */
function inOrder(steps: readonly Step[], deeds: readonly Step[]): readonly Step[] {
  if (deeds.length === 0) return steps;
  if (steps.length === 0) return deeds;
  const all: Step[] = [];
  let next = 0;
  for (const step of steps) {
    while (next < deeds.length && isBefore(deeds[next]!, step)) all.push(deeds[next++]!);
    all.push(step);
  }
  while (next < deeds.length) all.push(deeds[next++]!);
  return all;
}

/** The first sequence, by the places of its steps, that holds the latest one. */
function walk(way: Way, scene: Scene, latest: Step, all: readonly Step[], found: Step[], from = 0, mark?: Mark): Found | undefined {
  const link = way.links[found.length];
  if (!link) return found.includes(latest) ? { steps: [...found], mark, ifRare: way.ifRare?.(found) } : undefined;
  const withinMs = way.withinMs ?? CHAIN_MS;
  for (let at = from; at < all.length; at++) {
    const step = all[at]!;
    if (!link.kinds.includes(step.kind)) continue;
    if (found.length > 0 && step.timeMs - found[0]!.timeMs > withinMs) return undefined;
    // What is left comes after it: without the latest step nothing new is found.
    if (isBefore(latest, step) && !found.includes(latest)) return undefined;
    if (Math.abs(latest.timeMs - step.timeMs) > withinMs || !isFresh(step.receivedMs, scene.nowMs, STEP_MS)) continue;
    if (link.is && !link.is(step, scene, found)) continue;
    const own = found.length === 0 && way.after ? way.after(step, scene) : mark;
    if (way.after && !own) continue;
    found.push(step);
    const whole = walk(way, scene, latest, all, found, at + 1, own);
    if (whole) return whole;
    found.pop();
  }
  return undefined;
}
