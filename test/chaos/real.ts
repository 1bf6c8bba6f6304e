// The account of the real agent: what it numbered, and whether it saw what was done before its eyes.
import { eventId, type SensorEvent } from "../../protocol/event.ts";
import type { Books } from "./books.ts";
import type { Deed, Deeds } from "./deeds.ts";
import type { End } from "./programs.ts";
import { type Account, type Difference, explainMissing, judgeLedger } from "./sheet.ts";
import { SITE_MARK, SITE_RULE } from "./workload.ts";

export type RealFacts = {
  readonly device: string;
  readonly deeds: Pick<Deeds, "done" | "connections" | "port">;
  /** What waits in its buffer, as "epoch:seq". */
  readonly held: ReadonlySet<string>;
  readonly ends: readonly End[];
  /** When the machine started, by its clock: what turns times of events into those of deeds. */
  readonly bootedMs: number;
};

/** What the agent says after a kill. A look may come between the time a kill is noted and the kill, and clocks are read in steps. */
const BLIND = /^nothing was seen for [\d.]+ s, (\S+) to (\S+): the agent was (?:killed|stopped)/;
const KILL_MS = 200;

/**
 * Numbers may be missing only as far as they are counted as lost. A deed may be unseen when the agent was killed before it told anything later, or as far as the agent
 * says that it did not see or keep all.
 */
export function accountReal(facts: RealFacts, books: Books): Account {
  const { device, ends } = facts;
  const { done, connections, port } = facts.deeds;
  const differences: Difference[] = [];
  const events = books.events.get(device) ?? [];
  const stored = new Map(events.map((event) => [eventId(event), event]));
  const duplicates = events.length - stored.size;
  if (duplicates > 0) differences.push({ device, what: `${duplicates} events are in the log twice` });

  const missing: Pick<SensorEvent, "epoch" | "seq">[] = [];
  for (const [epoch, of] of Map.groupBy(stored.values(), (event) => event.epoch)) {
    const have = new Set(of.map(({ seq }) => seq));
    for (let seq = 0; seq < Math.max(...have); seq++)
      if (!have.has(seq) && !facts.held.has(`${epoch}:${seq}`)) missing.push({ epoch, seq });
  }
  const told = books.ledger(device);
  // What it still had when it was stopped may wait.
  const ledger = { ...told, waiting: Math.max(0, told.waiting - facts.held.size) };
  const { evicted, power, unexplained } = explainMissing(missing, ledger);
  for (const what of judgeLedger(ledger, { stored: stored.size, missing: missing.length })) differences.push({ device, what });
  for (const { epoch, seq } of unexplained) differences.push({ device, epoch, seq, what: "is neither stored nor counted as lost" });

  const seen = countBy([...stored.values()].flatMap((event) => (event.type === "process.exec" ? [event.body.process.exe] : [])));
  const unseen = done.filter(({ exe }) => !seen.has(exe));
  const unread = ends.map((end) => unreadBefore(end, done, seen));
  const blind = [...stored.values()].flatMap((event) => {
    const [, from, to] = (event.type === "sensor.state" && event.body.collector === "sensor" && BLIND.exec(event.body.why)) || [];
    return from && to ? [{ fromMs: Date.parse(from) - facts.bootedMs, toMs: Date.parse(to) - facts.bootedMs }] : [];
  });
  for (const { atMs } of ends)
    if (!blind.some(({ fromMs, toMs }) => fromMs - KILL_MS <= atMs && atMs <= toMs + KILL_MS))
      differences.push({ device, what: `ended at ${atMs} ms since boot, and does not say that it was blind then` });
  const isLate = (atMs: number) => unread.some(({ fromMs, toMs }) => atMs > fromMs && atMs <= toMs);
  const connected = [...stored.values()].filter((event) => event.type === "net.connect" && event.body.net.dstPort === port).length;
  const unconnected = connections.length - connected;
  const allowed = ledger.kernel + ledger.shed + ledger.evicted + ledger.power;
  const early = unseen.filter(({ atMs }) => !isLate(atMs));
  const earlyConnections = unconnected - connections.filter(isLate).length;
  if (early.length + Math.max(0, earlyConnections) > allowed)
    differences.push({
      device,
      what: `${early.length} programs (${early[0]?.exe}) and ${Math.max(0, earlyConnections)} connections were not seen; counted as lost are ${allowed}`,
    });
  for (const { exe } of done)
    if ((seen.get(exe) ?? 0) > 1) differences.push({ device, what: `${exe} ran once and is told ${seen.get(exe)} times` });
  if (unconnected < 0) differences.push({ device, what: `${connections.length} connections were made and ${connected} are told` });

  const alerts = books.alerts.filter((alert) => alert.device === device && alert.rule.id === SITE_RULE);
  const alerted = countBy(alerts.map(({ process }) => process?.exe ?? ""));
  const marks = done.filter(({ exe }) => exe.startsWith(SITE_MARK) && seen.has(exe));
  for (const { exe } of marks)
    if (alerted.get(exe) !== 1) differences.push({ device, what: `${exe} is in the log and has ${alerted.get(exe) ?? 0} alerts` });
  return {
    row: {
      device,
      caused: stored.size + missing.length + ledger.shed + ledger.kernel,
      stored: stored.size,
      lost: { kernel: ledger.kernel, shed: ledger.shed, evicted, power },
      unexplained: unexplained.length,
      duplicates,
      acknowledged: 0,
      alerts: { expected: marks.length, found: marks.filter(({ exe }) => alerted.has(exe)).length },
    },
    differences,
    note: `${device}: ${done.length} programs were run before its eyes and ${done.length - unseen.length} are told (${unseen.length - early.length} were not read before a kill, for at most ${Math.max(0, ...unread.filter(({ fromMs }) => fromMs > 0).map(({ fromMs, toMs }) => toMs - fromMs))} ms); of ${connections.length} connections ${connected}; blind for ${(blind.reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0) / 1000).toFixed(1)} s after ${ends.length} kills, as it says`,
  };
}

/**
 * From the last deed that was told until the kill: what a stalled agent had not read from the kernel by then went with it. Nothing that was told may lie in
 * between, or it would be lost some other way.
 */
function unreadBefore(end: End, done: readonly Deed[], seen: ReadonlyMap<string, number>): { fromMs: number; toMs: number } {
  const told = done.findLast(({ exe, atMs }) => atMs <= end.atMs && seen.has(exe));
  return { fromMs: told?.atMs ?? 0, toMs: end.atMs };
}

function countBy(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
