// The score of a process: what matched on it, what it came from, how rare that is, less what time took away. Pure.
import type { Severity } from "@picket/protocol/alert";
import type { RuleFacts } from "../finding.ts";
import { isFresh } from "../freshness.ts";
import { isLive, lineage, type ProcessNode, type ScoredHit } from "./node.ts";
import { devicesOf, ordinalOf, RARE, SITE_HABIT, type Sighting } from "./sightings.ts";

/** Hits remembered for a process, newest kept. */
export const MAX_HITS = 64;
export const ALERT_FROM = 50;

const LINEAGE_PER_HOP = 5;
const LINEAGE_MOST = 20;
const SEQUENCE = 20;
const FIRST_CONNECTION = 15;
/** More for a pair that no other device of the site has. */
const ONLY_HERE = 10;
const DECAY = 10;
const DECAY_MS = 60_000;

export const addHit = (node: ProcessNode, hit: ScoredHit): void => {
  node.hits.push(hit);
  if (node.hits.length > MAX_HITS) node.hits.shift();
};

/** How much of a quiet time of `gapMs` is taken off: nothing in the first minute, then ten points for each full one. */
export const decay = (gapMs: number): number => DECAY * Math.max(0, Math.floor((gapMs - DECAY_MS) / DECAY_MS));

/** Points for a pair of parent and child seen for the `ordinal`-th time on a device. */
export function rarityPoints(ordinal: number): number {
  if (ordinal <= 1) return 25;
  if (ordinal <= 3) return 15;
  return ordinal <= RARE ? 8 : 0;
}

export type Score = {
  readonly points: number;
  /** Different rules and chains that count, oldest first. */
  readonly hits: readonly ScoredHit[];
  /** Whether the first connection of this program is part of it. */
  readonly firstConnection: boolean;
};

const nothing: Score = { points: 0, hits: [], firstConnection: false };

/** What is known beside the process: how many programs a device must have started before rarity says anything, and how many devices of the site report any. */
type Known = { readonly warmUp: number; readonly devices: number };
type At = { readonly timeMs: number; readonly receivedMs: number };

/**
 * The score of a process at `timeMs` of its device. Rarity, lineage and a first connection only add to what matched: alone they are
 * nothing, or everything on a new device would alert. `chain`: one that was found just now, and adds to this score only.
 */
export function scoreOf(node: ProcessNode, at: At, known: Known, chain?: RuleFacts): Score {
  const now: ScoredHit | undefined = chain && { rule: chain, chain: true, timeMs: at.timeMs, receivedMs: at.receivedMs };
  const counted = fold(now ? [...node.hits, now] : node.hits, at);
  if (counted.points <= 0) return nothing;
  const first = isFirstConnection(node, at.receivedMs, known.warmUp);
  const points =
    counted.points +
    lineagePoints(node, at.receivedMs) +
    rarityOf(node, at.receivedMs, known) +
    (counted.hits.some((hit) => hit.chain) ? SEQUENCE : 0) +
    (first ? FIRST_CONNECTION : 0);
  return { points, hits: counted.hits, firstConnection: first };
}

/** Hits in the order they came, each rule once, with what quiet times took. Only what is fresh: a pure function of the last LOOKBACK_MS. */
function fold(of: readonly ScoredHit[], at: At): { points: number; hits: ScoredHit[] } {
  const hits: ScoredHit[] = [];
  let points = 0;
  let lastMs: number | undefined;
  for (const hit of of) {
    if (!isLive(hit, at.receivedMs)) continue;
    if (lastMs !== undefined) points = Math.max(0, points - decay(hit.timeMs - lastMs));
    lastMs = Math.max(lastMs ?? 0, hit.timeMs);
    if (hits.some((before) => before.rule.id === hit.rule.id)) continue;
    hits.push(hit);
    points += hit.rule.score;
  }
  if (lastMs !== undefined) points = Math.max(0, points - decay(at.timeMs - lastMs));
  return { points, hits };
}

/** Five a hop to the farthest ancestor that something matched on. */
function lineagePoints(node: ProcessNode, nowMs: number): number {
  const line = lineage(node, nowMs);
  const hops = line.findLastIndex((ancestor, hop) => hop > 0 && ancestor.hits.some((hit) => isLive(hit, nowMs)));
  return Math.min(LINEAGE_MOST, Math.max(0, hops) * LINEAGE_PER_HOP);
}

function rarityOf(node: ProcessNode, nowMs: number, { warmUp, devices }: Known): number {
  if (!node.pair || !node.order || !isFresh(node.execMs, nowMs) || ordinalOf(node.order) <= warmUp) return 0;
  return pairPoints(ordinalOf(node.pair), devicesOf(node.pair), devices);
}

/** Points for a pair, with what the site knows: a habit of the site is rare nowhere, and what only one device of several does, for the first times, is rarer. */
export function pairPoints(ordinal: number, on: number, devices: number): number {
  if (on >= SITE_HABIT) return 0;
  const points = rarityPoints(ordinal);
  return points >= 15 && on === 1 && devices >= SITE_HABIT ? points + ONLY_HERE : points;
}

const isHabit = (sighting: Sighting | undefined): boolean => sighting !== undefined && devicesOf(sighting) >= SITE_HABIT;

/** Whether this process made the first connection its program ever made on the device, and neither that nor where to is a habit of the site. */
const isFirstConnection = (node: ProcessNode, nowMs: number, warmUp: number): boolean =>
  node.connections.some(
    ({ sighting, far, order, receivedMs }) =>
      sighting !== undefined &&
      isFresh(receivedMs, nowMs) &&
      ordinalOf(order) > warmUp &&
      ordinalOf(sighting) === 1 &&
      !isHabit(sighting) &&
      !isHabit(far),
  );

/** The severity of a process' score: from 50 medium, from 100 high, from 150 critical. */
export function bandOf(points: number): Severity | undefined {
  if (points >= 150) return "critical";
  if (points >= 100) return "high";
  return points >= ALERT_FROM ? "medium" : undefined;
}

/** The score an alert shows: half of the process', at most 100. */
export const alertScore = (points: number): number => Math.min(100, Math.floor(points / 2));
