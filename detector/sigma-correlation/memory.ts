// All that correlations remember, bounded: what was touched the longest ago goes first. The broker keeps it, as of each commit.
import type { Correlated } from "@picket/protocol/feed";
import type { Correlation } from "@picket/rules/correlation/correlation";
import { AWAY_MS, decodeWindow, encodeWindow, newWindow, sizeOf, type Window } from "./part.ts";

/** Entries kept of one device and correlation, of one device, and in all; a group counts as four more. */
export const MAX_OF_RULE = 4000;
export const MAX_OF_DEVICE = 10_000;
export const MAX_IN_ALL = 100_000;
/** Ids written with a window: what an alert shows. */
const KEPT_IDS = 100;

/** A correlation and its mark: what is kept under another mark was kept for another meaning. */
export type Active = { readonly of: Correlation; readonly mark: string };

export type Part = {
  readonly active: Active;
  readonly group: Group;
  readonly device: string;
  readonly window: Window;
  /** When it was last touched: in the order of the log, and by the broker's time. */
  n: number;
  touchedMs: number;
  size: number;
};

export type Group = { readonly active: Active; readonly key: string; readonly parts: Map<string, Part> };

/** Parts in the order in which they were touched, and what they hold in all. */
class Shelf {
  readonly parts = new Set<Part>();
  size = 0;

  touch(part: Part, size: number): void {
    this.parts.delete(part);
    this.parts.add(part);
    this.size += size - part.size;
  }

  remove(part: Part): void {
    if (this.parts.delete(part)) this.size -= part.size;
  }
}

export class Memory {
  readonly #groups = new Map<string, Group>();
  readonly #all = new Shelf();
  readonly #devices = new Map<string, { all: Shelf; rules: Map<string, Shelf> }>();
  /** What the broker was not told of; undefined: that it is gone. */
  readonly #changed = new Map<string, { readonly part: Part; gone: boolean }>();
  #changedSize = 0;
  #n = 0;
  /** Parts that had to go before their time, by device. */
  readonly #evicted = new Map<string, number>();

  /** What the broker kept. Rows of correlations that are no more, or mean something else now, are let go. */
  seed(rows: readonly Correlated[], activeOf: (rule: string) => Active | undefined): void {
    for (const row of rows.toSorted((a, b) => a.n - b.n)) {
      const active = activeOf(row.rule);
      const window = active && row.body.startsWith(active.mark) ? windowOf(row, active.mark.length) : undefined;
      this.#n = Math.max(this.#n, row.n);
      const group = this.#groupOf(active ?? { of: { id: row.rule } as Correlation, mark: "" }, row.group);
      const part: Part = {
        active: group.active,
        group,
        device: row.device,
        window: window ?? newWindow(),
        n: row.n,
        touchedMs: row.receivedMs,
        size: 0,
      };
      group.parts.set(part.device, part);
      this.#shelve(part);
      if (!window) this.#drop(part);
    }
  }

  find(active: Active, key: string): Group | undefined {
    return this.#groups.get(nameOf(active, key));
  }

  /** The group's part of a device; one that is over is empty again. `nowMs`: the broker's time. */
  open(active: Active, key: string, device: string, nowMs: number): Part {
    const known = this.#groups.get(nameOf(active, key));
    for (const part of known?.parts.values() ?? []) if (isIdle(part, nowMs)) this.#drop(part);
    const group = known && known.parts.size > 0 ? known : this.#groupOf(active, key);
    const mine = group.parts.get(device);
    if (mine) return mine;
    const part: Part = { active, group, device, window: newWindow(), n: 0, touchedMs: nowMs, size: 0 };
    group.parts.set(device, part);
    return part;
  }

  /** To be called when a part was changed. What is too much goes. */
  touch(part: Part, nowMs: number): void {
    part.n = ++this.#n;
    part.touchedMs = nowMs;
    this.#shelve(part);
    this.#note(part, false);
    const of = this.#devices.get(part.device)!;
    this.#evict(of.rules.get(part.active.of.id)!, MAX_OF_RULE, part);
    this.#evict(of.all, MAX_OF_DEVICE, part);
    this.#evict(this.#all, MAX_IN_ALL, part);
  }

  drop(part: Part): void {
    this.#drop(part);
  }

  /** Everything that is there, touched the longest ago first. */
  parts(): Part[] {
    return [...this.#all.parts];
  }

  /** Lets go of what is over. */
  sweep(nowMs: number): void {
    for (const part of this.#all.parts) if (isIdle(part, nowMs) && !part.window.tally) this.#drop(part);
  }

  /** As if it had never heard of a device, and without telling the broker so: another reading has it. */
  forget(device: string): void {
    for (const part of this.#devices.get(device)?.all.parts ?? []) this.#remove(part);
    this.#devices.delete(device);
    for (const [key, { part }] of this.#changed) if (part.device === device) this.#changed.delete(key);
    this.#evicted.delete(device);
  }

  /** What waits to be told, in entries. */
  get pending(): number {
    return this.#changed.size === 0 ? 0 : this.#changedSize;
  }

  /** What changed since the last call. */
  take(): Correlated[] {
    const rows = [...this.#changed.values()].map(({ part, gone }): Correlated => {
      const { device, active, group, n, touchedMs, window } = part;
      const body = gone ? "" : active.mark + encodeWindow(window, device, KEPT_IDS);
      return { device, rule: active.of.id, group: group.key, n, receivedMs: touchedMs, body };
    });
    this.#changed.clear();
    this.#changedSize = 0;
    return rows;
  }

  /** Devices of which something had to go before its time, and how many parts, since the last call. */
  takeEvicted(): ReadonlyMap<string, number> {
    const taken = new Map(this.#evicted);
    this.#evicted.clear();
    return taken;
  }

  noteEvicted(device: string): void {
    this.#evicted.set(device, (this.#evicted.get(device) ?? 0) + 1);
  }

  get size(): number {
    return this.#all.size;
  }

  #groupOf(active: Active, key: string): Group {
    const name = nameOf(active, key);
    let group = this.#groups.get(name);
    if (!group) {
      group = { active, key, parts: new Map() };
      this.#groups.set(name, group);
    }
    return group;
  }

  #shelve(part: Part): void {
    const size = sizeOf(part.window);
    const of = this.#devices.get(part.device) ?? { all: new Shelf(), rules: new Map<string, Shelf>() };
    this.#devices.set(part.device, of);
    const ofRule = of.rules.get(part.active.of.id) ?? new Shelf();
    of.rules.set(part.active.of.id, ofRule);
    for (const shelf of [this.#all, of.all, ofRule]) shelf.touch(part, size);
    part.size = size;
  }

  #evict(shelf: Shelf, most: number, spared: Part): void {
    if (shelf.size <= most) return;
    // Some at once: the start of a set of which one after another was taken is long to find.
    const left = most - (most >> 4);
    for (const part of shelf.parts) {
      if (shelf.size <= left) return;
      if (part === spared) continue;
      this.noteEvicted(part.device);
      this.#drop(part);
    }
  }

  #drop(part: Part): void {
    this.#remove(part);
    part.n = ++this.#n;
    this.#note(part, true);
  }

  #remove(part: Part): void {
    part.group.parts.delete(part.device);
    if (part.group.parts.size === 0) this.#groups.delete(nameOf(part.active, part.group.key));
    const of = this.#devices.get(part.device);
    const ofRule = of?.rules.get(part.active.of.id);
    for (const shelf of [this.#all, of?.all, ofRule]) shelf?.remove(part);
    if (ofRule?.parts.size === 0) of!.rules.delete(part.active.of.id);
    if (of?.all.parts.size === 0) this.#devices.delete(part.device);
  }

  #note(part: Part, gone: boolean): void {
    const key = `${part.device}\n${nameOf(part.active, part.group.key)}`;
    const before = this.#changed.get(key);
    if (!before) this.#changedSize += part.size;
    this.#changed.set(key, { part, gone });
  }
}

const nameOf = ({ of }: Active, key: string): string => `${of.id}\n${key}`;

/** Whether nothing can be joined with it any more. */
const isIdle = ({ active, touchedMs }: Part, nowMs: number): boolean => Math.abs(nowMs - touchedMs) > (active.of.timespanMs ?? 0) + AWAY_MS;

function windowOf({ body, device }: Correlated, from: number): Window | undefined {
  try {
    return decodeWindow(body.slice(from), device);
  } catch {
    return undefined;
  }
}
