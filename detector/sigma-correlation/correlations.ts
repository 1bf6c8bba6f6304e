// Sigma's correlation rules over the stream of events, in the order in which their devices numbered them. No clock but the log's.
//
// Unlike everything else here, a window may be longer than what a restarted detector reads again. So nothing is rebuilt from that: what a
// commit decided is written with it (`Correlated`), and given back with the cursor. What lies before the cursor is never counted again.
import type { SensorEvent } from "@picket/protocol/event";
import type { Correlated } from "@picket/protocol/feed";
import { type Correlation, isClosed } from "@picket/rules/correlation/correlation";
import type { RuleFacts } from "../finding.ts";
import { WINDOW_MS } from "../freshness.ts";
import { judge, judgeTally } from "./judge.ts";
import { type Active, type Group, Memory, type Part } from "./memory.ts";
import { type Entry, isSequence, put, type Tally, tell } from "./part.ts";
import { countedOf, keyOf, type Said, shownOf, valuesOf } from "./values.ts";
import { foundWords, tallyWords } from "./words.ts";

/** How long after its time a window is judged that has to be over: events may be on their way. Milliseconds of the broker. */
const LATE_MS = 60_000;
/** How often what is over is looked for. Milliseconds of the broker. */
const SWEEP_MS = 60_000;
/** What one event may set off: correlations refer to correlations. */
const MAX_SAID = 64;

/** When an event is counted. `remember`: another reading decides what it means. */
export type At = { readonly id: string; readonly receivedMs: number; readonly remember: boolean };

/** A correlation that came true. */
export type Fired = {
  readonly of: Correlation;
  /** Whose alert it is: of the device whose event made it so, and for as long as that one grows. */
  readonly device: string;
  readonly group: string;
  readonly eventId: string;
  readonly timeMs: number;
  readonly receivedMs: number;
  readonly before: { readonly eventIds: readonly string[]; readonly firstMs: number };
  readonly summary: () => string;
};

/** Whether the alert of a correlation and group on this device would grow now. */
export type IsOpen = (of: Correlation, device: string, group: string, at: { timeMs: number; receivedMs: number }) => boolean;

/** Rules and correlations that said something of one event, in turn, and what came true. */
type Out = { readonly said: Said[]; readonly fired: Fired[] };

type Use = { readonly active: Active; readonly index: number };

const none: readonly Fired[] = Object.freeze([]);
/** Ids given with an alert, the deciding one not counted. */
const MAX_BEFORE = 99;

export class SigmaCorrelations {
  readonly #active = new Map<string, Active>();
  readonly #uses = new Map<string, Use[]>();
  readonly #titles: ReadonlyMap<string, string>;
  readonly #memory = new Memory();
  readonly #isOpen: IsOpen;
  #seeds: Correlated[] = [];
  #sweptMs: number | undefined;

  constructor(correlations: readonly Correlation[], rules: readonly RuleFacts[], isOpen: IsOpen) {
    this.#isOpen = isOpen;
    this.#titles = new Map([...rules, ...correlations].map(({ id, title }) => [id, title]));
    for (const of of correlations) {
      const { type, rules, groupBy, timespanMs, bounds, fields } = of;
      const active = { of, mark: `${Bun.hash(JSON.stringify([type, rules, groupBy, timespanMs, bounds, fields])).toString(36)}:` };
      this.#active.set(of.id, active);
      for (const [index, rule] of rules.entries()) {
        const uses = this.#uses.get(rule);
        if (uses) uses.push({ active, index });
        else this.#uses.set(rule, [{ active, index }]);
      }
    }
  }

  /** What the broker kept, in as many calls as it takes; before the first event. */
  seed(rows: readonly Correlated[]): void {
    this.#seeds.push(...rows);
  }

  /** Takes in an event with the rules it matched, and returns what came true by it. */
  take(event: SensorEvent, rules: readonly RuleFacts[], at: At): readonly Fired[] {
    if (rules.length === 0 || this.#uses.size === 0) return none;
    let out: Out | undefined;
    for (const { id } of rules) {
      if (!this.#uses.has(id)) continue;
      out ??= { said: [], fired: [] };
      out.said.push({ rule: id, event });
    }
    return out ? this.#countAll(out, at) : none;
  }

  #countAll(out: Out, at: At): readonly Fired[] {
    this.#settle();
    const counted = new Set<Active>();
    for (let next = 0; next < out.said.length && next < MAX_SAID; next++) {
      const said = out.said[next]!;
      for (const use of this.#uses.get(said.rule) ?? []) {
        // However many of its rules an event matches: it is one event.
        if (!isSequence(use.active.of) && counted.has(use.active)) continue;
        counted.add(use.active);
        if (isClosed(use.active.of)) this.#tell(use, said, at, out);
        else this.#count(use, said, at, out);
      }
    }
    return out.fired;
  }

  /** Windows that are over by the broker's time, and came true. */
  over(nowMs: number): readonly Fired[] {
    if (this.#uses.size === 0 || (this.#sweptMs !== undefined && Math.abs(nowMs - this.#sweptMs) < SWEEP_MS)) return none;
    this.#sweptMs = nowMs;
    this.#settle();
    const fired = this.#end((group) => isOver(group, nowMs));
    this.#memory.sweep(nowMs);
    return fired;
  }

  /** Windows that are judged when they are over, at the end of a recording: nothing follows any more. */
  end(): readonly Fired[] {
    this.#settle();
    return this.#end(() => true);
  }

  /** As if it had never heard of a device: another reading has it, with what the broker kept. */
  forget(device: string): void {
    this.#settle();
    this.#memory.forget(device);
  }

  /** What waits to be kept by the broker, in entries. */
  get pending(): number {
    return this.#memory.pending;
  }

  /** What changed since the last call, for the broker to keep. */
  changes(): Correlated[] {
    return this.#memory.take();
  }

  /** How often something of a device had to go before its time, since the last call. */
  takeEvicted(): ReadonlyMap<string, number> {
    return this.#memory.takeEvicted();
  }

  /** Entries that are remembered. */
  get size(): number {
    return this.#memory.size;
  }

  #settle(): void {
    if (this.#seeds.length === 0) return;
    const rows = this.#seeds;
    this.#seeds = [];
    this.#memory.seed(rows, (rule) => this.#active.get(rule));
  }

  #count({ active, index }: Use, said: Said, at: At, out: Out): void {
    const { of } = active;
    const values = valuesOf(of.groupBy, said);
    const entry = values && entryOf(of, index, said, at);
    if (!entry) return;
    const part = this.#memory.open(active, keyOf(values), said.event.device, at.receivedMs);
    if (at.remember && part.window.entries.some(({ id, what }) => id === entry.id && what === entry.what)) return;
    const placed = put(part.window, of, entry, at.receivedMs);
    this.#memory.touch(part, at.receivedMs);
    if (at.remember || !placed) return;
    const found = judge(of, entriesOf(part.group), placed);
    if (!found) return;
    if (this.#uses.has(of.id)) {
      const group = new Map(of.groupBy.map(({ name }, at) => [name, values[at]!]));
      out.said.push({ rule: of.id, event: said.event, group });
    }
    const device = of.alerts ? this.#alertDevice(part, entry) : undefined;
    if (device === undefined) return;
    out.fired.push({
      ...{ of, device, group: part.group.key, eventId: entry.id, timeMs: entry.timeMs, receivedMs: at.receivedMs },
      before: before(found.entries, entry),
      summary: () => foundWords(of, found, shownOf(values), this.#titleOf),
    });
  }

  /** The device whose alert grows or is made; undefined while the same was told already and its alert grows no more. */
  #alertDevice(part: Part, { timeMs, receivedMs }: Entry): string | undefined {
    const { active, group } = part;
    let last: Part | undefined;
    for (const one of group.parts.values())
      if (one.window.firedMs !== undefined && (last === undefined || one.window.firedMs > last.window.firedMs!)) last = one;
    if (last && this.#isOpen(active.of, last.device, group.key, { timeMs, receivedMs })) return last.device;
    if (last && Math.abs(timeMs - last.window.firedMs!) <= active.of.timespanMs) return undefined;
    if (last && last !== part) {
      last.window.firedMs = undefined;
      this.#memory.touch(last, last.touchedMs);
    }
    part.window.firedMs = timeMs;
    return part.device;
  }

  /** Counts an event in a window that is judged when it is over. */
  #tell({ active, index }: Use, said: Said, at: At, out: Out): void {
    // What was counted cannot be told from what was not: of another reading's events nothing is remembered here.
    if (at.remember) return;
    const { of } = active;
    const values = valuesOf(of.groupBy, said);
    const entry = values && entryOf(of, index, said, at);
    if (!entry) return;
    const key = keyOf(values);
    const group = this.#memory.find(active, key);
    if (group && (isOver(group, at.receivedMs) || entry.timeMs - startOf(group) >= of.timespanMs))
      out.fired.push(...this.#judgeTallies(group));
    const part = this.#memory.open(active, key, said.event.device, at.receivedMs);
    part.window.tally ??= {
      ...{ startMs: entry.timeMs, receivedMs: at.receivedMs, count: 0, sum: 0 },
      ...{ values: new Map(), ids: [], shown: shownOf(values) },
    };
    if (!tell(part.window.tally, entry)) this.#memory.noteEvicted(part.device);
    this.#memory.touch(part, at.receivedMs);
  }

  #end(isDue: (group: Group) => boolean): Fired[] {
    const due = new Set(this.#memory.parts().flatMap(({ window, group }) => (window.tally && isDue(group) ? [group] : [])));
    return [...due].flatMap((group) => this.#judgeTallies(group));
  }

  /** Judges a window that is over, and forgets it. */
  #judgeTallies({ active: { of }, key, parts }: Group): Fired[] {
    const told = [...parts.values()].flatMap(({ device, window: { tally } }) => (tally ? [{ device, tally }] : []));
    told.sort((a, b) => a.tally.startMs - b.tally.startMs || (a.device < b.device ? -1 : 1));
    for (const part of [...parts.values()]) this.#memory.drop(part);
    const tallies = told.map(({ tally }) => tally);
    const found = judgeTally(of, tallies);
    const [first] = told;
    if (!found || !first || !of.alerts) return [];
    const { startMs, receivedMs } = first.tally;
    const [eventId, ...others] = tallies.flatMap(({ ids }) => ids);
    // Each window is an alert of its own.
    const group = `${startMs} ${key}`;
    return [
      {
        ...{ of, device: first.device, group, eventId: eventId!, timeMs: startMs, receivedMs },
        before: { eventIds: others.slice(0, MAX_BEFORE), firstMs: startMs },
        summary: () => tallyWords(of, { tallies, value: found.value, what: found.of }, this.#titleOf),
      },
    ];
  }

  readonly #titleOf = (rule: string): string => this.#titles.get(rule) ?? rule;
}

function entryOf(of: Correlation, index: number, said: Said, { id, receivedMs }: At): Entry | undefined {
  const entry = { timeMs: said.event.timeMs, receivedMs, id, what: "", count: 1, sum: 0 };
  if (isSequence(of)) return { ...entry, what: String(index) };
  if (of.fields.length === 0) return entry;
  const values = valuesOf(of.fields, said);
  if (!values) return undefined;
  if (of.type === "value_count" || of.type === "value_percentile") return { ...entry, what: countedOf(values) };
  const sum = values[0]!.trim() === "" ? Number.NaN : Number(values[0]);
  return Number.isFinite(sum) ? { ...entry, sum } : undefined;
}

/** All of a group, rising by time; of the same time those of one device stay together, in its order. */
function entriesOf({ parts }: Group): readonly Entry[] {
  const all = [...parts.values()];
  if (all.length === 1) return all[0]!.window.entries;
  all.sort((a, b) => (a.device < b.device ? -1 : 1));
  return all.flatMap(({ window }) => window.entries).sort((a, b) => a.timeMs - b.timeMs);
}

/** An alert grows for some minutes from its time: one that began an hour ago would not. */
function before(entries: readonly Entry[], decides: Entry): Fired["before"] {
  const eventIds = entries.flatMap(({ id }) => (id === "" || id === decides.id ? [] : [id]));
  const startMs = entries[0]!.timeMs;
  return { eventIds: eventIds.slice(-MAX_BEFORE), firstMs: decides.timeMs - startMs <= WINDOW_MS / 2 ? startMs : decides.timeMs };
}

const talliesOf = ({ parts }: Group): Tally[] => [...parts.values()].flatMap(({ window: { tally } }) => (tally ? [tally] : []));

const startOf = (group: Group): number => Math.min(...talliesOf(group).map(({ startMs }) => startMs));

/** Whether so much time of the broker went by that the window must be over. */
const isOver = (group: Group, nowMs: number): boolean =>
  talliesOf(group).some(({ receivedMs }) => Math.abs(nowMs - receivedMs) > group.active.of.timespanMs + LATE_MS);
