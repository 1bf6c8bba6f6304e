// What came before a list: pages of the stored log, searched for its new indicators beside what happens now, with what is left of the time.
import type { Detection } from "@picket/protocol/alert";
import { BadBatch, decodeBatch } from "@picket/protocol/batch";
import { eventId, processOf, type SensorEvent } from "@picket/protocol/event";
import { type IocData, MAX_FOUND, MAX_FOUND_EVENTS, type PastCommit, type PastFound } from "@picket/protocol/ioc";
import { alertId } from "@picket/protocol/uuid5";
import { unionAttack } from "./alerts.ts";
import { processOfAlert } from "./correlate/tree.ts";
import { findingOf } from "./engines/ioc/engine.ts";
import type { IocIndex } from "./engines/ioc/index.ts";
import { look, lookedAt } from "./engines/ioc/look.ts";
import { type Finding, severityOf } from "./finding.ts";
import { MAX_SUMMARY } from "./sentence.ts";
import { clean } from "./text.ts";

/** It works so long at once, and then leaves the thread alone for so long: at most half of a core, less while something is going on. Milliseconds. */
const TURN_MS = 20;
const REST_MS = 20;
const BUSY_REST_MS = 150;
/** Different alerts of one device in one search; what is more is counted. */
const MAX_OF_DEVICE = 200;
/** A process as an alert of the past shows it, characters of arguments. */
const MAX_ARGV = 500;

type Session = { readonly excepted: (rule: string, event: SensorEvent) => boolean; readonly busy: () => boolean };
type PastData = Extract<IocData, { kind: "past" | "past-page" }>;
type Found = { readonly detection: Detection; readonly group: string; readonly timesMs: number[] };

export class IocsPast {
  readonly #index: IocIndex;
  readonly #site: string;
  readonly #decided: () => void;
  #session: Session | undefined;
  #queue: { readonly data: PastData; readonly bytes: Uint8Array }[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #job = 0;
  /** device -> groups told in this search. */
  readonly #told = new Map<string, Set<string>>();
  #found = new Map<string, Found>();
  #full: PastFound[] = [];
  #events = 0;
  #left = 0;
  #page: PastCommit | undefined;

  constructor(of: { index: IocIndex; site: string; decided: () => void }) {
    this.#index = of.index;
    this.#site = of.site;
    this.#decided = of.decided;
  }

  begin(session: Session): void {
    this.#session = session;
  }

  /** Nothing is searched any more: what was not told comes again. */
  end(): void {
    clearTimeout(this.#timer);
    this.#queue = [];
    this.#page = undefined;
    this.#session = undefined;
  }

  receive(data: PastData, bytes: Uint8Array): void {
    this.#queue.push({ data, bytes });
    this.#timer ??= setTimeout(() => this.#work(), REST_MS);
  }

  get pending(): boolean {
    return this.#page !== undefined;
  }

  take(): PastCommit | undefined {
    const page = this.#page;
    this.#page = undefined;
    return page;
  }

  #work(): void {
    this.#timer = undefined;
    const session = this.#session;
    if (!session) return;
    const endMs = performance.now() + TURN_MS;
    while (performance.now() < endMs) {
      const next = this.#queue.shift();
      if (!next) return;
      if (next.data.kind === "past") this.#search(next.data, next.bytes, session);
      else this.#pageEnds(next.data);
    }
    if (this.#queue.length > 0) this.#timer = setTimeout(() => this.#work(), session.busy() ? BUSY_REST_MS : REST_MS);
  }

  #search({ job, generations, receivedMs }: Extract<PastData, { kind: "past" }>, batch: Uint8Array, session: Session): void {
    if (job !== this.#job) this.#told.clear();
    this.#job = job;
    const asked = { receivedS: Math.floor(receivedMs / 1000), added: new Set(generations) };
    for (const event of eventsOf(batch)) {
      this.#events++;
      if (!lookedAt.has(event.type)) continue;
      for (const found of look(this.#index, event, asked) ?? []) {
        const finding = findingOf(found, event);
        if (!session.excepted(finding.rule.id, event)) this.#note(finding, event);
      }
    }
  }

  #note(finding: Finding, event: SensorEvent): void {
    const { device } = event;
    const group = finding.group!;
    const key = `${device}\n${group}`;
    const told = this.#told.get(device) ?? new Set<string>();
    this.#told.set(device, told);
    const known = this.#found.get(key);
    if (!known && ((!told.has(group) && told.size >= MAX_OF_DEVICE) || this.#found.size + this.#full.length >= MAX_FOUND)) {
      this.#left++;
      return;
    }
    told.add(group);
    if (known && known.timesMs.length < MAX_FOUND_EVENTS) {
      known.timesMs.push(event.timeMs);
      known.detection.events.push(eventId(event));
      return;
    }
    if (known) this.#full.push(known);
    this.#found.set(key, { detection: this.#detection(finding, event), group, timesMs: [event.timeMs] });
  }

  #pageEnds({ job, next }: Extract<PastData, { kind: "past-page" }>): void {
    this.#page = { job, next, events: this.#events, found: [...this.#full, ...this.#found.values()], left: this.#left };
    this.#events = this.#left = 0;
    this.#found = new Map();
    this.#full = [];
    this.#decided();
  }

  #detection({ rule, group, summary }: Finding, event: SensorEvent): Detection {
    const { device, timeMs } = event;
    const process = processOf(event);
    const id = eventId(event);
    return {
      id: alertId({ site: this.#site, rule: rule.id, device, group: group!, anchor: id }),
      ...{ site: this.#site, device, timeMs, severity: severityOf(rule), score: rule.score },
      rule: { id: rule.id, title: rule.title, engine: "ioc", author: rule.author! },
      attack: unionAttack([rule.attack]),
      events: [id],
      ...(process ? { process: processOfAlert(process, MAX_ARGV) } : {}),
      tree: [],
      summary: clean(`${clean(summary, MAX_SUMMARY - 60)}. It was found in the stored log when the list came.`, MAX_SUMMARY),
      ...{ count: 1, firstMs: timeMs, lastMs: timeMs, revision: 0 },
    };
  }
}

/** What cannot be read was refused and counted when it was decided. */
function eventsOf(batch: Uint8Array): readonly SensorEvent[] {
  try {
    return decodeBatch(batch).events;
  } catch (error) {
    if (!(error instanceof BadBatch)) throw error;
    return [];
  }
}
