// Indicators of other sites as lists of their own, one for each site: they count like any other list, and say where they come from.
import { setImmediate } from "node:timers/promises";
import { type IocRow, MAX_LABEL, MAX_ROWS, MESH_PREFIX } from "@picket/protocol/ioc";
import type { IndicatorKind } from "@picket/protocol/ioc-value";
import type { Ioc } from "@picket/protocol/mesh";
import { Refused } from "../refused.ts";
import type { Store } from "../store/database.ts";
import { generationOf, isOfMesh, listGenerations, removeSource } from "../store/iocs.ts";
import { iocOrigins, iocsOf } from "../store/mesh-received.ts";
import type { Imports } from "./imports.ts";

/** Of a mesh that trickles, the stored log is searched at most so often. */
const SEARCH_EVERY_MS = 10 * 60_000;
/** What is new of other sites may take this share of the broker's time: each list is made anew as a whole, and a peer decides how often. */
const SHARE = 0.05;
const LONGEST_PAUSE_MS = 60_000;
const kinds: Readonly<Record<Ioc["kind"], IndicatorKind>> = { ip: "address", domain: "domain", url: "url", sha256: "sha256" };

type Ports = {
  readonly store: Store;
  readonly imports: Imports;
  readonly nowMs: () => number;
  /** A list is gone. */
  readonly changed: () => void;
  readonly report: (error: unknown) => void;
};

export class MeshLists {
  readonly #ports: Ports;
  /** What could not be made a list, by origin: not tried again until it is something else. */
  readonly #refused = new Map<string, string>();
  #following = false;
  #notBeforeMs = 0;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  /** Makes the lists of other sites say what those share now, or a little later when that took long. */
  async follow(): Promise<void> {
    const { nowMs } = this.#ports;
    const beganMs = nowMs();
    // A clock that was set back must not end it.
    if (this.#following || (beganMs < this.#notBeforeMs && this.#notBeforeMs - beganMs <= LONGEST_PAUSE_MS)) return;
    this.#following = true;
    try {
      await this.#follow();
    } finally {
      this.#following = false;
      this.#notBeforeMs = nowMs() + Math.min(LONGEST_PAUSE_MS, (nowMs() - beganMs) / SHARE);
    }
  }

  async #follow(): Promise<void> {
    const { store, nowMs, changed, report } = this.#ports;
    const origins = iocOrigins(store, nowMs());
    const names = new Set(origins.map(({ origin }) => MESH_PREFIX + origin));
    const over = listGenerations(store, "on").filter(({ source }) => isOfMesh(source) && !names.has(source));
    if (over.length > 0) {
      store.commitNow(() => {
        for (const { source } of over) removeSource(store, source);
      });
      changed();
    }
    for (const { origin, stamp } of origins) {
      if (generationOf(store, MESH_PREFIX + origin)?.stamp === stamp || this.#refused.get(origin) === stamp) continue;
      try {
        await this.#take(origin, stamp);
      } catch (error) {
        if (error instanceof Refused) this.#refused.set(origin, stamp);
        else report(error);
      }
    }
  }

  async #take(origin: string, stamp: string): Promise<void> {
    const { store, imports, nowMs } = this.#ports;
    const source = MESH_PREFIX + origin;
    const isFirst = generationOf(store, source) === undefined;
    const generation = await imports.begin({ source, format: "mesh", by: "mesh", confidence: 50, stamp });
    try {
      const read = (from: number) => iocsOf(store, origin, from, MAX_ROWS, nowMs());
      let given = 0;
      for (let page = read(0); page.length > 0; page = read(given)) {
        await imports.rows(generation, given, page.map(rowOf));
        given += page.length;
        await setImmediate();
      }
      await imports.finish(generation, isFirst ? 0 : nowMs() + SEARCH_EVERY_MS);
    } catch (error) {
      await imports.abort(generation, error instanceof Error ? error.message : String(error));
      throw error;
    }
  }
}

const rowOf = ({ kind, value, confidence, expiresMs, source }: Ioc): IocRow => ({
  ...{ kind: kinds[kind], value, confidence, expiresMs },
  label: source.slice(0, MAX_LABEL),
});
