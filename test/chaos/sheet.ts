// The balance sheet: what was caused against what the site has. Pure: the same diaries and books give the same sheet.
import type { Alert } from "../../protocol/alert.ts";
import { eventId, type SensorEvent } from "../../protocol/event.ts";
import type { LedgerTerms } from "../../protocol/ledger.ts";
import type { Books } from "./books.ts";
import type { Attempt, Run } from "./diary.ts";
import { draftOf, LOCAL_RULE, SITE_RULE } from "./workload.ts";

/** Most events an agent makes of itself between two looks of the diary, a tenth of a second. */
const OWN_AT_KILL = 10;

/** As the site's own ledger has it, but for the last. */
export type Lost = {
  readonly kernel: number;
  readonly shed: number;
  readonly evicted: number;
  /** Lost with a run that did not end in order: within the bound the device gave. */
  readonly power: number;
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

export type Account = { readonly row: Row; readonly differences: readonly Difference[]; readonly note?: string };

export type DeviceFacts = {
  readonly device: string;
  readonly runs: readonly Run[];
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
  // Where rules took too long on a busy machine, the agent says that it has left some out.
  const unruled = new Set(
    events.flatMap(({ type, epoch, body }) => (type === "sensor.state" && body.collector === "rules" ? [epoch] : [])),
  );
  const byEpoch = new Map(runs.map((run) => [run.epoch, run]));
  for (const event of stored.values()) {
    const run = byEpoch.get(event.epoch);
    // The number of an attempt that a kill undid is given to what the next run tells of that kill.
    const isUndone = run?.unsure.has(event.seq) && event.type === "sensor.lost";
    const wrong = judge(device, event, isUndone ? undefined : run?.attempts.get(event.seq), unruled.has(event.epoch));
    if (wrong) differ(event.epoch, event.seq, wrong);
  }
  for (const run of runs)
    for (const seq of run.acknowledged)
      if (!stored.has(keyOf(run.epoch, seq))) differ(run.epoch, seq, "was acknowledged and is not in the log");

  const ledger = books.ledger(device);
  const missing = runs.flatMap((run) => missingOf(run, stored, books.numbered(device, run.epoch)));
  for (const { epoch, next, unsure } of runs) {
    const invented = books.numbered(device, epoch) - Math.max(next, ...unsure) - OWN_AT_KILL;
    if (invented > 0) differences.push({ device, epoch, what: `${invented} numbers are in the ledger that were never given` });
  }
  const shed = runs.reduce((sum, run) => sum + run.shed, 0);
  const unsure = runs.reduce((sum, run) => sum + run.shedUnsure, 0);
  const numbered = explainMissing(missing, ledger);
  const untold = Math.max(0, shed - ledger.shed);
  const invented = Math.max(0, ledger.shed - shed - unsure);
  for (const { epoch, seq } of numbered.unexplained) differ(epoch, seq, "is neither stored nor counted as lost");
  const say = (what: string) => void differences.push({ device, what });
  if (untold > 0) say(`let go of ${untold} events more than the ledger says`);
  if (invented > 0) say(`let go of ${invented} events less than the ledger says`);
  for (const wrong of judgeLedger(ledger, { stored: stored.size, missing: missing.length })) say(wrong);

  const alerts = checkAlerts(facts, [...stored.values()], books.alerts);
  differences.push(...alerts.differences);
  return {
    row: {
      device,
      caused: stored.size + missing.length + Math.max(shed, ledger.shed),
      stored: stored.size,
      lost: { kernel: ledger.kernel, shed: ledger.shed, evicted: numbered.evicted, power: numbered.power },
      unexplained: numbered.unexplained.length + untold,
      duplicates,
      acknowledged: runs.reduce((sum, run) => sum + run.acknowledged.size, 0),
      alerts: { expected: alerts.expected, found: alerts.found },
    },
    differences,
  };
}

const keyOf = (epoch: string, seq: number) => `${epoch}:${seq}`;

/** Why a stored event is not what the device made, or undefined. */
function judge(device: string, event: SensorEvent, attempt: Attempt | undefined, mayLackHits: boolean): string | undefined {
  if (!attempt) return /^(agent|sensor)\./.test(event.type) ? undefined : "is in the log and was never made";
  const draft = draftOf({ device, ...attempt });
  const same = event.type === draft.type && event.timeMs === draft.timeMs && Bun.deepEquals(event.body, draft.body);
  if (!same)
    return `was made as ${JSON.stringify(draft)} and stored as ${JSON.stringify({ type: event.type, timeMs: event.timeMs, body: event.body })}`;
  const hits = event.hits?.map(({ rule }) => rule).join() ?? "";
  const isRight = hits === (attempt.kind === "local" ? LOCAL_RULE : "") || (mayLackHits && hits === "");
  return isRight ? undefined : `has the hits "${hits}", being ${attempt.kind}`;
}

type Missing = { readonly epoch: string; readonly seq: number };

/**
 * Numbers of a run that should be in the log and are not. Those without an attempt are what the agent says of itself; of the last of these, given just
 * before a kill, only the site may know (`numbered`).
 */
function missingOf(run: Run, stored: ReadonlyMap<string, SensorEvent>, numbered: number): Missing[] {
  const missing: Missing[] = [];
  for (let seq = 0; seq < Math.max(run.next, numbered); seq++)
    if (!stored.has(keyOf(run.epoch, seq))) missing.push({ epoch: run.epoch, seq });
  return missing;
}

/** Gives each missing number a reason as far as the ledger has any. */
export function explainMissing(missing: readonly Missing[], ledger: LedgerTerms) {
  const evicted = Math.min(missing.length, ledger.evicted);
  const power = Math.min(missing.length - evicted, ledger.power);
  return { evicted, power, unexplained: missing.slice(evicted + power) };
}

/** What the ledger says that is not so, in words. */
export function judgeLedger(ledger: LedgerTerms, truth: { readonly stored: number; readonly missing: number }): string[] {
  const wrong: string[] = [];
  if (ledger.stored !== truth.stored) wrong.push(`has ${truth.stored} events in the log, and the ledger says ${ledger.stored}`);
  if (ledger.evicted > truth.missing)
    wrong.push(`lost ${truth.missing} numbered events, and the ledger says ${ledger.evicted} were evicted`);
  for (const term of ["unexplained", "waiting", "refused"] as const)
    if (ledger[term] > 0) wrong.push(`has ${ledger[term]} events ${term} by the ledger`);
  return wrong;
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
