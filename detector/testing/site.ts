// The feed contract without a network: a log, a cursor, alerts and totals in memory, and a fuse that kills the detector at any step.
import assert from "node:assert/strict";
import type { Detection } from "@picket/protocol/alert";
import { encodeBatch } from "@picket/protocol/batch";
import type { SensorEvent } from "@picket/protocol/event";
import type { HeldException } from "@picket/protocol/exception";
import {
  Commit,
  encodeData,
  encodePiece,
  LOOKBACK_MS,
  REREAD_MS,
  type SampleVerdict,
  type Sighting,
  State,
  type Want,
} from "@picket/protocol/feed";
import { QUIET_MS } from "@picket/protocol/incident";
import { judgeAll } from "../engines/together.ts";
import { threadClocks } from "../feed/meter.ts";
import { FeedSession } from "../feed/session.ts";
import { type FileScanner, Files } from "../files.ts";
import type { Engine } from "../finding.ts";
import type { Pipeline } from "../pipeline.ts";

export type Stored = { readonly offset: number; readonly receivedMs: number; readonly batch: Uint8Array };
/** `held`: what the device has not sent yet. */
export function packed(
  offset: number,
  receivedMs: number,
  boot: string,
  events: readonly SensorEvent[],
  held: readonly SensorEvent[] = [],
): Stored {
  const oldest = Math.min(...[...events, ...held].map(({ seq }) => seq));
  return { offset, receivedMs, batch: encodeBatch({ boot, oldest, events: [...events].sort((a, b) => a.seq - b.seq) }) };
}

/** Exceptions that are made or end where this batch is: nobody knows of them before. */
function* tellExceptions(all: readonly HeldException[], offset: number, told: Set<string>, session: string): Generator<Buffer> {
  for (const { end, ...exception } of all) {
    const now: HeldException = { ...exception, end: end !== null && end <= offset ? end : null };
    const state = `${now.id} ${now.end}`;
    if (now.from > offset || told.has(state)) continue;
    told.add(state);
    yield Buffer.from(JSON.stringify({ kind: "exceptions", session, exceptions: [now] }));
  }
}

const add = (to: Map<string, number>, key: string, count: number): void => void to.set(key, (to.get(key) ?? 0) + count);

export class TestSite {
  readonly log: Stored[] = [];
  cursor = 1;
  refused = 0;
  readonly alerts = new Map<string, { detection: Detection; group: string; storedMs: number }>();
  readonly seen = new Map<string, State["seen"][number]>();
  readonly correlated = new Map<string, NonNullable<Commit["correlated"]>[number]>();
  readonly incidents = new Map<string, NonNullable<Commit["incidents"]>[number]>();
  /** What operators excepted, told before the batches it is for, and how often each was used. */
  readonly exceptions: HeldException[] = [];
  readonly uses = new Map<number, number>();
  /** By rule and hour, and also by device: what matched, and what of it was left out. */
  readonly matched = new Map<string, number>();
  readonly muted = new Map<string, number>();
  /** Bytes of files that devices would send, by hash. */
  readonly samples = new Map<string, Buffer>();
  readonly sightings = new Map<string, Sighting & { judged?: string }>();
  readonly verdicts = new Map<string, SampleVerdict>();
  #sessions = 0;

  /**
   * Runs one detector over the log. `step` is asked before each delivery, each commit and each acknowledgement; false kills the detector
   * there. Resolves true when everything was decided and acknowledged.
   */
  async run(pipeline: Pipeline, step: () => boolean, engines: readonly Engine[] = [], scanner?: FileScanner): Promise<boolean> {
    const session = `s${++this.#sessions}`;
    let credits = 0;
    let alive = true;
    const wants = (want: Want) => {
      if ("credits" in want) credits += want.credits;
    };
    const files = new Files({ site: "lab", decided: () => feed.decided() });
    const feed: FeedSession = new FeedSession({
      files,
      pipeline,
      judge: (batch) => judgeAll(engines, batch, (_, error) => assert.fail(String(error))),
      want: wants,
      commit: async (payload) => {
        await Promise.resolve();
        if (alive && step()) {
          this.#apply(payload, session);
          if (step()) return;
        }
        alive = false;
        throw new Error("killed");
      },
      lane: 0,
      turnMs: () => 100,
      clocks: threadClocks,
      spent: () => false,
      later: queueMicrotask,
      cut: (error) => {
        throw error;
      },
      log: () => {},
    });
    feed.hello();
    feed.scan(scanner);
    for (const part of this.#state(session)) feed.receive(Buffer.from(JSON.stringify(State.parse(part))));
    const sinceMs = this.#cursorMs() - REREAD_MS;
    const told = new Set<string>();
    for (const { offset, receivedMs, batch } of this.log.filter((row) => row.receivedMs >= sinceMs || row.offset >= this.cursor)) {
      while (alive && credits === 0) await Promise.resolve();
      alive &&= step();
      if (!alive) return false;
      credits--;
      for (const message of tellExceptions(this.exceptions, offset, told, session)) feed.receive(message);
      feed.receive(encodeData({ kind: "batch", session, offset, receivedMs }, batch));
      // Sometimes the acknowledgement comes before the next batch, sometimes after.
      if (offset % 3 === 0) for (let turn = 0; turn < 8; turn++) await Promise.resolve();
    }
    const end = this.log.at(-1)!.offset + 1;
    const settle = async (done: () => boolean) => {
      for (let turn = 0; alive && !done() && turn < 10_000; turn++) await Promise.resolve();
      return alive && done();
    };
    if (!(await settle(() => feed.committed === end))) return false;
    while (scanner) {
      const work = this.#fileWork(scanner.pack);
      if (!work) break;
      alive &&= step();
      if (!alive) return false;
      for (const message of work.messages(session)) feed.receive(message);
      if (!(await settle(work.done))) return false;
    }
    return alive;
  }

  /** What the broker would send next: news of a bad file first, then a file without a verdict. */
  #fileWork(pack: string): { messages: (session: string) => Buffer[]; done: () => boolean } | undefined {
    const bad = [...this.sightings.values()].filter((seen) => {
      const verdict = this.verdicts.get(seen.sha256);
      return verdict && verdict.matches.length > 0 && seen.judged !== verdict.pack;
    });
    const [first] = bad;
    if (first) {
      const verdict = this.verdicts.get(first.sha256)!;
      const { judged: _, ...sighting } = first;
      const news = { kind: "verdict", verdict, sightings: [sighting] };
      return {
        messages: (session) => [Buffer.from(JSON.stringify({ ...news, session }))],
        done: () => this.sightings.get(`${first.device} ${first.sha256}`)!.judged === verdict.pack,
      };
    }
    for (const { sha256 } of this.sightings.values()) {
      const bytes = this.samples.get(sha256);
      if (!bytes || this.verdicts.get(sha256)?.pack === pack) continue;
      const half = Math.ceil(bytes.length / 2);
      return {
        messages: (session) =>
          [0, half].map((offset) =>
            encodePiece({ kind: "sample", session, sha256, size: bytes.length, offset }, bytes.subarray(offset, offset + half)),
          ),
        done: () => this.verdicts.get(sha256)?.pack === pack,
      };
    }
    return undefined;
  }

  #cursorMs(): number {
    return this.log.find((row) => row.offset >= this.cursor)?.receivedMs ?? this.log.at(-1)!.receivedMs;
  }

  *#state(session: string): Generator<State> {
    const sinceMs = this.#cursorMs() - LOOKBACK_MS;
    const open = [...this.alerts.values()]
      .filter(({ storedMs }) => storedMs >= sinceMs)
      .map(({ detection, group }) => ({ detection, group }));
    const seen = [...this.seen.values()];
    const part = { kind: "state", session, cursor: this.cursor } as const;
    const half = Math.ceil(seen.length / 2);
    yield { ...part, open, seen: seen.slice(0, half), last: false };
    const incidents = [...this.incidents.values()]
      .map(({ open }) => open)
      .filter(({ seenMs }) => Math.abs(this.#cursorMs() - seenMs) <= QUIET_MS);
    const correlated = [...this.correlated.values()];
    yield { ...part, open: [], seen: seen.slice(half), incidents, correlated, last: true };
  }

  #apply(payload: string, session: string): void {
    const commit = Commit.parse(JSON.parse(payload));
    if (commit.session !== session || commit.next < this.cursor) throw new Error("refused");
    const storedMs = this.log.find((row) => row.offset >= commit.next - 1)!.receivedMs;
    for (const { detection, group } of commit.alerts) {
      const before = this.alerts.get(detection.id);
      if (!before || before.detection.revision < detection.revision) this.alerts.set(detection.id, { detection, group, storedMs });
    }
    for (const report of commit.incidents ?? []) {
      const { id, merged } = report.open;
      this.incidents.set(id, report);
      for (const gone of merged) this.incidents.delete(gone);
      for (const { detection } of this.alerts.values()) if (merged.includes(detection.incident ?? "")) detection.incident = id;
    }
    for (const row of commit.correlated ?? []) {
      const key = JSON.stringify([row.device, row.rule, row.group]);
      if (row.body === "") this.correlated.delete(key);
      else this.correlated.set(key, row);
    }
    for (const seen of commit.seen) {
      const key = JSON.stringify([seen.device, seen.kind, seen.key]);
      this.seen.set(key, { ...seen, count: Math.max(seen.count, this.seen.get(key)?.count ?? 0) });
    }
    for (const sighting of commit.sightings ?? []) {
      const key = `${sighting.device} ${sighting.sha256}`;
      if (!this.sightings.has(key)) this.sightings.set(key, sighting);
    }
    for (const verdict of commit.verdicts ?? []) this.verdicts.set(verdict.sha256, verdict);
    for (const { device, sha256, pack } of commit.judged ?? []) this.sightings.get(`${device} ${sha256}`)!.judged = pack;
    for (const { id, count } of commit.excepted ?? []) this.uses.set(id, count + (this.uses.get(id) ?? 0));
    for (const { rule, hourMs, count } of commit.matched ?? []) add(this.matched, `${rule} ${hourMs}`, count);
    for (const { rule, hourMs, device, count } of commit.muted ?? []) add(this.muted, `${rule} ${hourMs} ${device}`, count);
    this.cursor = Math.max(this.cursor, commit.next);
    this.refused += commit.refused;
  }

  /** What must not depend on kills. */
  outcome(): unknown {
    const alerts = [...this.alerts.values()].map(({ detection, group }) => {
      const { tree: _tree, summary: _summary, process: _process, attack, ...rest } = detection;
      return { ...rest, attack: { techniques: attack.techniques.toSorted(), tactics: attack.tactics.toSorted() }, group };
    });
    return {
      alerts: alerts.sort((a, b) => (a.id < b.id ? -1 : 1)),
      incidents: [...this.incidents.values()]
        .map(({ open, marks }) => ({
          ...open,
          handles: open.handles.toSorted(),
          processes: open.processes.length,
          marks: marks.toSorted(),
        }))
        .sort((a, b) => (a.id < b.id ? -1 : 1)),
      seen: [...this.seen.values()].map((seen) => JSON.stringify(seen)).sort(),
      // Without their number, which counts on after a restart from what is left.
      correlated: [...this.correlated.values()].map(({ n: _, ...row }) => JSON.stringify(row)).sort(),
      uses: [...this.uses].sort(),
      matched: [...this.matched].sort(),
      muted: [...this.muted].sort(),
      cursor: this.cursor,
      refused: this.refused,
    };
  }
}
