// The balance sheet: what was caused against what the site has. Pure: the same diaries and books give the same sheet.
import type { Alert } from "../../protocol/alert.ts";
import { eventId, type SensorEvent } from "../../protocol/event.ts";
import type { Books } from "./books.ts";
import type { Attempt, Run } from "./diary.ts";
import type { End } from "./programs.ts";
import { draftOf, LOCAL_RULE, SITE_RULE } from "./workload.ts";

/** What a kill may take: what was in memory for at most a second, and some time for a busy machine to do what was due. */
const AT_KILL_MS = 1500;

export type Lost = {
  /** Let go of by the agent before they had a number, as the device said. */
  readonly shed: number;
  /** Evicted from the buffer, as the device said. */
  readonly evicted: number;
  /** Found missing by the broker, which nobody had told. */
  readonly holes: number;
  /** In memory when the process was killed. */
  readonly atKill: number;
};

export type Row = {
  readonly device: string;
  readonly caused: number;
  readonly stored: number;
  readonly lost: Lost;
  readonly unexplained: number;
  readonly duplicates: number;
  readonly acknowledged: number;
  readonly alerts: { readonly expected: number; readonly found: number };
};

/** Something that does not balance. `seq` is undefined where it is about no event. */
export type Difference = { readonly device: string; readonly epoch?: string; readonly seq?: number; readonly what: string };

export type Account = { readonly row: Row; readonly differences: readonly Difference[] };

export type DeviceFacts = {
  readonly device: string;
  readonly runs: readonly Run[];
  /** When the process it runs in ended. */
  readonly ends: readonly End[];
  /** Whether a clock jumped: then what would be one alert may be several, and only its events are counted. */
  readonly jumped: boolean;
};

/** The account of one simulated device. */
export function account(facts: DeviceFacts, books: Books): Account {
  const { device, runs } = facts;
  const events = books.events.get(device) ?? [];
  const differences: Difference[] = [];
  const differ = (epoch: string, seq: number, what: string) => void differences.push({ device, epoch, seq, what });

  const stored = new Map<string, SensorEvent>();
  let duplicates = 0;
  for (const event of events) {
    const key = keyOf(event.epoch, event.seq);
    if (stored.has(key)) {
      duplicates++;
      differ(event.epoch, event.seq, "is in the log twice");
    } else stored.set(key, event);
  }
  const byEpoch = new Map(runs.map((run) => [run.epoch, run]));
  for (const event of stored.values()) {
    const wrong = judge(device, event, byEpoch.get(event.epoch)?.attempts.get(event.seq));
    if (wrong) differ(event.epoch, event.seq, wrong);
  }
  for (const run of runs)
    for (const seq of run.acknowledged)
      if (!stored.has(keyOf(run.epoch, seq))) differ(run.epoch, seq, "was acknowledged and is not in the log");

  const said = saidLost(events);
  const missing = runs.flatMap((run) => missingOf(run, stored, facts.ends));
  const shed = runs.flatMap((run) => run.shed.map((atMs) => isAtKill(atMs, run, facts.ends)));
  const lost = explain({ missing, shed, said, holes: books.coverage(device).unexplained });
  for (const { epoch, seq } of lost.unexplained) differ(epoch, seq, "is neither stored nor counted as lost");
  if (lost.shedUnexplained > 0) differences.push({ device, what: `let go of ${lost.shedUnexplained} events more than it said` });
  if (lost.overcounted > 0) differences.push({ device, what: `counted ${lost.overcounted} events as lost that are not` });

  const alerts = checkAlerts(facts, [...stored.values()], books.alerts);
  differences.push(...alerts.differences);
  return {
    row: {
      device,
      caused: stored.size + missing.length + shed.length,
      stored: stored.size,
      lost: lost.by,
      unexplained: lost.unexplained.length + lost.shedUnexplained,
      duplicates,
      acknowledged: runs.reduce((sum, run) => sum + run.acknowledged.size, 0),
      alerts: { expected: alerts.expected, found: alerts.found },
    },
    differences,
  };
}

const keyOf = (epoch: string, seq: number) => `${epoch}:${seq}`;

/** Why a stored event is not what the device made, or undefined. */
export function judge(device: string, event: SensorEvent, attempt: Attempt | undefined): string | undefined {
  if (!attempt) return /^(agent|sensor)\./.test(event.type) ? undefined : "is in the log and was never made";
  const draft = draftOf({ device, ...attempt });
  const same = event.type === draft.type && event.timeMs === draft.timeMs && Bun.deepEquals(event.body, draft.body);
  if (!same)
    return `was made as ${JSON.stringify(draft)} and stored as ${JSON.stringify({ type: event.type, timeMs: event.timeMs, body: event.body })}`;
  const hits = event.hits?.map(({ rule }) => rule).join() ?? "";
  return hits === (attempt.kind === "local" ? LOCAL_RULE : "") ? undefined : `has the hits "${hits}", being ${attempt.kind}`;
}

type Missing = { readonly epoch: string; readonly seq: number; readonly atKill: boolean };

/** Numbers of a run that are not in the log. Those without an attempt are what the agent says of itself, made at about the time of their neighbours. */
function missingOf(run: Run, stored: ReadonlyMap<string, SensorEvent>, ends: readonly End[]): Missing[] {
  const last = Math.max(-1, ...run.attempts.keys());
  const missing: Missing[] = [];
  let atMs = run.startedMs;
  for (let seq = 0; seq <= last; seq++) {
    atMs = run.attempts.get(seq)?.atMs ?? atMs;
    if (!stored.has(keyOf(run.epoch, seq))) missing.push({ epoch: run.epoch, seq, atKill: isAtKill(atMs, run, ends) });
  }
  return missing;
}

function isAtKill(atMs: number, run: Run, ends: readonly End[]): boolean {
  const end = ends.find((one) => one.atMs >= run.startedMs);
  return end !== undefined && atMs >= end.atMs - AT_KILL_MS;
}

/** What the device said it lost, in events that are in the log. */
function saidLost(events: readonly SensorEvent[]): { shed: number; buffer: number } {
  const said = { shed: 0, buffer: 0 };
  for (const { type, body } of events) if (type === "sensor.lost" && body.where !== "kernel") said[body.where] += body.count;
  return said;
}

/** Gives each missing event a reason, as far as there are any: what the device said, what the broker found, what a kill may take. */
function explain(of: { missing: readonly Missing[]; shed: readonly boolean[]; said: { shed: number; buffer: number }; holes: number }) {
  const late = of.missing.filter(({ atKill }) => atKill);
  const early = of.missing.filter(({ atKill }) => !atKill);
  const evictedEarly = Math.min(early.length, of.said.buffer);
  const holesEarly = Math.min(early.length - evictedEarly, of.holes);
  const evictedLate = Math.min(late.length, of.said.buffer - evictedEarly);
  const shedAtKill = Math.min(Math.max(0, of.shed.length - of.said.shed), of.shed.filter(Boolean).length);
  return {
    by: {
      shed: Math.min(of.said.shed, of.shed.length),
      evicted: evictedEarly + evictedLate,
      holes: holesEarly,
      atKill: late.length - evictedLate + shedAtKill,
    },
    unexplained: early.slice(evictedEarly + holesEarly),
    shedUnexplained: Math.max(0, of.shed.length - of.said.shed - shedAtKill),
    overcounted: Math.max(0, of.said.buffer - of.missing.length) + Math.max(0, of.said.shed - of.shed.length),
  };
}

/** Each event that should alert is in one alert of its rule and program, and counted once. */
function checkAlerts(facts: DeviceFacts, stored: readonly SensorEvent[], all: readonly Alert[]) {
  const differences: Difference[] = [];
  let expected = 0;
  let found = 0;
  for (const [kind, rule] of [
    ["site", SITE_RULE],
    ["local", LOCAL_RULE],
  ] as const) {
    const marks = stored.filter(({ type, epoch, seq }) => type === "process.exec" && kindOf(facts, epoch, seq) === kind);
    const programs = Map.groupBy(marks, exeOf);
    const alerts = Map.groupBy(
      all.filter((alert) => alert.device === facts.device && alert.rule.id === rule),
      (alert) => alert.process?.exe,
    );
    expected += programs.size;
    for (const [exe, events] of programs) {
      const of = alerts.get(exe) ?? [];
      found += of.length > 0 ? 1 : 0;
      const differ = (what: string, event = events[0]!) =>
        differences.push({ device: facts.device, epoch: event.epoch, seq: event.seq, what });
      if (of.length === 0) differ(`made no alert (${exe})`);
      if (of.length > 1 && !facts.jumped) differ(`made ${of.length} alerts instead of one (${exe})`);
      const count = of.reduce((sum, alert) => sum + alert.count, 0);
      if (of.length > 0 && count !== events.length) differ(`is one of ${events.length} events, and their alerts count ${count} (${exe})`);
      const named = of.flatMap((alert) => alert.events);
      for (const event of events) {
        const times = named.filter((id) => id === eventId(event)).length;
        if (of.length > 0 && times !== 1) differ(`is named ${times} times in the alerts about ${exe}`, event);
      }
    }
    for (const exe of alerts.keys())
      if (!programs.has(exe ?? "")) differences.push({ device: facts.device, what: `has an alert about ${exe}, which never ran` });
  }
  return { expected, found, differences };
}

const exeOf = (event: SensorEvent) => (event.type === "process.exec" ? event.body.process.exe : "");
const kindOf = (facts: DeviceFacts, epoch: string, seq: number) => facts.runs.find((run) => run.epoch === epoch)?.attempts.get(seq)?.kind;
