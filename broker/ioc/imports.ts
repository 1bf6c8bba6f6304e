// Lists come in pieces and take effect whole: until the last piece is here the list before stays in force, and nothing of a broken import is left.
import { setImmediate } from "node:timers/promises";
import { type IocRow, MAX_INDICATORS, MAX_SOURCES, type StoredIoc, unpackIocs } from "@picket/protocol/ioc";
import { canonical } from "@picket/protocol/ioc-value";
import { Refused } from "../refused.ts";
import type { Store } from "../store/database.ts";
import {
  addChunk,
  dropGeneration,
  type Generation,
  generationOf,
  getGeneration,
  isOfMesh,
  listGenerations,
  noteFailure,
  openGeneration,
  putInForce,
  readChunk,
} from "../store/iocs.ts";
import { KnownIocs } from "./known.ts";

/** Imports at the same time: each remembers the list before it. */
const MAX_OPEN = 4;
/** An import of which nothing more comes is over. */
const STALE_MS = 10 * 60_000;
const PAGE = 8;

export type Begin = {
  readonly source: string;
  readonly format: string;
  readonly by: string;
  readonly confidence: number;
  readonly expiresMs?: number | undefined;
};

export type RefusedRow = { readonly at: number; readonly why: string };

type Open = { readonly source: string; readonly confidence: number; readonly expiresMs: number | undefined; readonly known: KnownIocs };

export type ImportsPorts = {
  readonly store: Store;
  readonly nowMs: () => number;
  /** Other lists are in force now. */
  readonly changed: () => void;
};

export class Imports {
  readonly #ports: ImportsPorts;
  readonly #open = new Map<number, Open>();

  constructor(ports: ImportsPorts) {
    this.#ports = ports;
    const { store, nowMs } = ports;
    // What was open when the broker stopped: its client is told that it is gone.
    store.commitNow(() => {
      for (const { generation, source } of listGenerations(store, "open")) {
        dropGeneration(store, generation);
        if (!isOfMesh(source)) noteFailure(store, source, nowMs(), "the broker was restarted in the middle of it");
      }
    });
  }

  /** Begins a list, to be put in the place of the one of that name. Throws `Refused`. */
  async begin(of: Begin & { stamp?: string }): Promise<number> {
    const { store, nowMs } = this.#ports;
    const { source, by, format, confidence, expiresMs, stamp } = of;
    const before = generationOf(store, source);
    if (this.#open.size >= MAX_OPEN)
      throw new Refused("conflict", `${MAX_OPEN} lists are being imported already`, "Wait until they are done");
    // Other sites have as many places of their own: they can fill nobody else's.
    const ofMesh = isOfMesh(source);
    if (!before && listGenerations(store, "on").filter((one) => isOfMesh(one.source) === ofMesh).length >= MAX_SOURCES)
      throw new Refused("conflict", `There are ${MAX_SOURCES} lists already`, "Remove one: picket ioc remove NAME");
    const { generation } = store.commitNow(() =>
      openGeneration(store, { source, by, format, nowMs: nowMs(), ...(stamp === undefined ? {} : { stamp }) }),
    );
    this.#open.set(generation, { source, confidence, expiresMs, known: new KnownIocs(0) });
    try {
      this.#open.set(generation, { source, confidence, expiresMs, known: await this.#knownOf(before, nowMs()) });
    } catch (error) {
      this.#open.delete(generation);
      throw error;
    }
    return generation;
  }

  /** Takes rows, of which `at` came before; the same call again changes nothing. Returns those that cannot be used. Throws `Refused`. */
  async rows(generation: number, at: number, rows: readonly IocRow[]): Promise<{ given: number; refused: RefusedRow[] }> {
    const { store, nowMs } = this.#ports;
    const open = this.#find(generation);
    const refused: RefusedRow[] = [];
    const taken: StoredIoc[] = [];
    let fresh = 0;
    for (const [index, row] of rows.entries()) {
      const ioc = this.#read(row, generation, open);
      if ("why" in ioc) refused.push({ at: index, why: ioc.why });
      else {
        taken.push(ioc);
        if (ioc.added === generation) fresh++;
      }
    }
    const total = listGenerations(store, "on").reduce((sum, one) => sum + (one.source === open.source ? 0 : one.indicators), 0);
    return store.commitSoon(() => {
      const row = getGeneration(store, generation);
      if (row?.state !== "open") throw gone(generation);
      if (row.given === at + rows.length) return { given: row.given, refused };
      if (row.given !== at) throw new Refused("conflict", `${row.given} rows of this import are here, not ${at}`, "Go on from there");
      if (total + row.indicators + taken.length > MAX_INDICATORS)
        throw new Refused(
          "conflict",
          `With this list there would be more than ${MAX_INDICATORS} indicators`,
          "Remove a list, or take out what is old",
        );
      addChunk(store, row, taken, { refused: refused.length, fresh, nowMs: nowMs() });
      return { given: row.given + rows.length, refused };
    });
  }

  /** Puts the list in force, all of it at once; on disk when it resolves. Throws `Refused` when nothing of it can be used. */
  async finish(generation: number, searchFromMs = 0): Promise<void> {
    const { store } = this.#ports;
    const { source } = this.#find(generation);
    await store.commitSoon(() => {
      const row = getGeneration(store, generation);
      if (row?.state !== "open") throw gone(generation);
      if (row.indicators === 0)
        throw new Refused(
          "invalid",
          `Nothing in this list can be used: "${source}" stays as it was`,
          `To be without it: picket ioc remove "${source}"`,
        );
      putInForce(store, row, searchFromMs);
    });
    this.#open.delete(generation);
    this.#ports.changed();
  }

  /** Forgets what came of a list. `why` is remembered. */
  async abort(generation: number, why: string): Promise<void> {
    const { store, nowMs } = this.#ports;
    const { source } = this.#find(generation);
    this.#open.delete(generation);
    await store.commitSoon(() => {
      dropGeneration(store, generation);
      noteFailure(store, source, nowMs(), why);
    });
  }

  /** Ends imports of which nothing more came. */
  async sweep(): Promise<void> {
    const { store, nowMs } = this.#ports;
    for (const { generation, touchedMs } of listGenerations(store, "open"))
      if (this.#open.has(generation) && nowMs() - touchedMs > STALE_MS) await this.abort(generation, "it stopped in the middle");
  }

  #find(generation: number): Open {
    const open = this.#open.get(generation);
    if (!open) throw gone(generation);
    return open;
  }

  #read(row: IocRow, generation: number, { confidence, expiresMs, known }: Open): StoredIoc | { why: string } {
    const ioc = canonical(row.kind, row.value);
    if ("why" in ioc) return ioc;
    const untilMs = row.expiresMs ?? expiresMs;
    if (untilMs !== undefined && untilMs <= this.#ports.nowMs())
      return { why: `it expired on ${new Date(untilMs).toISOString().slice(0, 10)}` };
    return {
      ...ioc,
      confidence: row.confidence ?? confidence,
      expiresS: untilMs === undefined ? 0 : Math.ceil(untilMs / 1000),
      label: row.label ?? row.tags?.join(", ").slice(0, 200) ?? "",
      tags: row.tags ?? [],
      added: known.addedOf(ioc) ?? generation,
    };
  }

  /** What a list has now and what still holds of it. Others have their turn meanwhile. */
  async #knownOf(before: Generation | undefined, nowMs: number): Promise<KnownIocs> {
    const known = new KnownIocs(before?.indicators ?? 0);
    for (let at = 0; before && at < before.chunks; at++) {
      const chunk = readChunk(this.#ports.store, before.generation, at);
      for (const ioc of chunk ? unpackIocs(chunk) : []) if (ioc.expiresS === 0 || ioc.expiresS * 1000 > nowMs) known.add(ioc, ioc.added);
      if (at % PAGE === PAGE - 1) await setImmediate();
    }
    return known;
  }
}

const gone = (generation: number) =>
  new Refused(
    "not-found",
    `There is no import ${generation} that is under way`,
    "It was finished, given up, or the broker was restarted: import the list again",
  );
