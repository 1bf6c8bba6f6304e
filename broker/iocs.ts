// Lists of indicators as operators see them.
import { setImmediate } from "node:timers/promises";
import { type IocMet, type IocRow, type IocShown, type IocSource, MAX_INDICATORS, MESH_PREFIX, type StoredIoc } from "@picket/protocol/ioc";
import { recognise } from "@picket/protocol/ioc-value";
import type { Begin, Imports, RefusedRow } from "./ioc/imports.ts";
import { Refused } from "./refused.ts";
import type { Store } from "./store/database.ts";
import { type Search, searchesBySource, unsearched } from "./store/ioc-searches.ts";
import {
  type Generation,
  generationOf,
  isOfMesh,
  listFailures,
  listGenerations,
  listMet,
  metOf,
  pastOf,
  readRows,
  removeSource,
} from "./store/iocs.ts";
import { iocTrust } from "./store/mesh-received.ts";

/** Chunks looked through between two turns of others. */
const PAGE = 8;
const MAX_FOUND = 200;
const MAX_MET = 200;

export type IocsPort = {
  list(): { sources: IocSource[]; indicators: number; most: number };
  begin(of: Begin): Promise<{ import: number }>;
  rows(generation: number, at: number, rows: readonly IocRow[]): Promise<{ given: number; refused: RefusedRow[] }>;
  finish(generation: number): Promise<IocSource>;
  abort(generation: number, why: string): Promise<void>;
  remove(source: string): boolean;
  /** Undefined when there is no such list. */
  rowsOf(source: string, after: number): { indicators: IocShown[]; after?: number } | undefined;
  find(value: string): Promise<{ found: IocShown[]; met: IocMet[] }>;
  met(of: { source?: string | undefined; sinceMs?: number | undefined; limit: number }): IocMet[];
};

type Ports = {
  readonly store: Store;
  readonly imports: Imports;
  readonly loaded: () => ReadonlySet<number>;
  readonly changed: () => void;
};

export function iocLists({ store, imports, loaded, changed }: Ports): IocsPort {
  const list = () => {
    const of = {
      loaded: loaded(),
      failures: new Map(listFailures(store).map((one) => [one.source, one])),
      searches: searchesBySource(store),
    };
    const waiting = new Set(unsearched(store).map(({ source }) => source));
    const sources = listGenerations(store, "on").map((one) => sourceOf(store, one, of, waiting.has(one.source)));
    return { sources, indicators: sources.reduce((sum, { indicators }) => sum + indicators, 0), most: MAX_INDICATORS };
  };
  return {
    list,
    begin: async (of) => {
      if (of.source.toLowerCase().startsWith(MESH_PREFIX))
        throw new Refused("invalid", `Names that begin with "${MESH_PREFIX}" are those of other sites' lists`, "Choose another name");
      return { import: await imports.begin(of) };
    },
    rows: (generation, at, rows) => imports.rows(generation, at, rows),
    finish: async (generation) => {
      await imports.finish(generation);
      const made = list().sources.find((one) => one.generation === generation);
      if (!made)
        throw new Refused(
          "conflict",
          "Another list took the place of this one at the same time",
          "`picket ioc list` shows what is in force",
        );
      return made;
    },
    abort: (generation, why) => imports.abort(generation, why),
    remove: (source) => {
      if (isOfMesh(source))
        throw new Refused(
          "conflict",
          `The list "${source}" is what another site shares`,
          "Part with that site: `picket mesh remove`, or mute it: `picket mesh mute`",
        );
      const removed = store.commitNow(() => removeSource(store, source));
      if (removed) changed();
      return removed;
    },
    rowsOf: (source, after) => {
      const of = generationOf(store, source);
      if (!of) return undefined;
      const indicators = readRows(store, of.generation, after).map((row) => shown(source, row));
      return { indicators, ...(after + 1 < of.chunks ? { after: after + 1 } : {}) };
    },
    find: (value) => find(store, value),
    met: (of) => listMet(store, of),
  };
}

type Facts = {
  readonly loaded: ReadonlySet<number>;
  readonly failures: ReadonlyMap<string, { atMs: number; why: string }>;
  readonly searches: ReadonlyMap<string, Search>;
};

function sourceOf(store: Store, of: Generation, { loaded, failures, searches }: Facts, isWaiting: boolean): IocSource {
  const { source, generation, by, format, indicators, refused, lastS } = of;
  const met = metOf(store, source);
  const failure = failures.get(source);
  const search = searches.get(source);
  const past = isWaiting ? { state: "waiting" as const, read: 0, events: 0, alerts: 0, left: 0 } : search && pastOf(search);
  return {
    ...{ source, generation, importedMs: of.touchedMs, by, format, indicators, refused, active: loaded.has(generation) },
    kind: isOfMesh(source) ? "mesh" : "list",
    ...(isOfMesh(source) ? { trust: iocTrust(store, source.slice(MESH_PREFIX.length)) } : {}),
    byKind: JSON.parse(of.byKind) as IocSource["byKind"],
    ...(lastS === 0 ? {} : { expiresMs: lastS * 1000 }),
    met: { indicators: met.indicators, devices: met.devices, ...(met.lastMs === null ? {} : { lastMs: met.lastMs }) },
    ...(past ? { past } : {}),
    ...(failure ? { failure: { atMs: failure.atMs, why: failure.why } } : {}),
  };
}

const shown = (source: string, { kind, value, confidence, expiresS, label, tags }: StoredIoc): IocShown => ({
  ...{ source, kind, value, confidence, label, tags: [...tags] },
  ...(expiresS === 0 ? {} : { expiresMs: expiresS * 1000 }),
});

/** Looks through all lists, with turns for others between. */
async function find(store: Store, text: string): Promise<{ found: IocShown[]; met: IocMet[] }> {
  const asked = recognise(text);
  if ("why" in asked) throw new Refused("invalid", `This can be on no list: ${asked.why}`);
  const found: IocShown[] = [];
  let looked = 0;
  for (const { source, generation, chunks } of listGenerations(store, "on")) {
    for (let at = 0; at < chunks && found.length < MAX_FOUND; at++) {
      for (const row of readRows(store, generation, at)) if (row.value === asked.value) found.push(shown(source, row));
      if (++looked % PAGE === 0) await setImmediate();
    }
  }
  return { found, met: listMet(store, { value: asked.value, limit: MAX_MET }) };
}
