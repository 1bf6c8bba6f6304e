// The lists of indicators of the site, as the broker hands them over: kept from one connection to the next, given whole to the engine, and never half.
import type { SensorEvent } from "@picket/protocol/event";
import { CHUNKS_AT_ONCE, type IocData, type IocManifest, type IocWant, type PastCommit, unpackIocs } from "@picket/protocol/ioc";
import { IocIndex } from "./engines/ioc/index.ts";
import { Segment } from "./engines/ioc/segment.ts";
import { IocsPast } from "./iocs-past.ts";
import type { Log } from "./log.ts";

/** What one connection has to do with lists. */
export type IocLink = {
  /** A session was accepted: these lists are in force. */
  begin(of: IocSession): void;
  /** Whether events may be judged: all lists are here that were in force when the session began. */
  isReady(): boolean;
  receive(data: IocData, bytes: Uint8Array): void;
  /** Whether there is something of the past for a commit. */
  readonly pending: boolean;
  take(): PastCommit | undefined;
  end(): void;
};

export type IocSession = {
  readonly id: string;
  readonly manifest: IocManifest;
  /** Whether an operator excepted what a rule says of an event. */
  readonly excepted: (rule: string, event: SensorEvent) => boolean;
  /** Whether what happens now waits to be judged. */
  readonly busy: () => boolean;
};

export type IocLinkPorts = {
  readonly want: (want: IocWant) => void;
  /** Sessions may go on: lists are here, or something is for a commit. */
  readonly decided: () => void;
};

type Loading = { readonly segment: Segment; readonly chunks: number; at: number };

export class Iocs {
  readonly index = new IocIndex();
  readonly #site: string;
  readonly #log: Log;
  #manifest: IocManifest = [];
  readonly #segments = new Map<number, Segment>();
  #loading: Loading | undefined;

  constructor(of: { site: string; log: Log }) {
    this.#site = of.site;
    this.#log = of.log;
  }

  /** For one connection. Of several the last one is told of. */
  connect(ports: IocLinkPorts): IocLink {
    const past = new IocsPast({ index: this.index, site: this.#site, decided: ports.decided });
    let session: IocSession | undefined;
    let isReady = false;
    const ask = () => this.#ask((want) => ports.want({ kind: "iocs", session: session!.id, ...want }));
    const progress = () => {
      if (!ask() || isReady) return;
      isReady = true;
      ports.decided();
    };
    return {
      begin: (of) => {
        session = of;
        past.begin(of);
        this.#follow(of.manifest);
        progress();
      },
      isReady: () => isReady,
      receive: (data, bytes) => {
        if (data.session !== session?.id) return;
        if (data.kind === "iocs") {
          this.#follow(data.sources);
          progress();
        } else if (data.kind === "ioc") {
          if (this.#take(data, bytes)) progress();
        } else past.receive(data, bytes);
      },
      get pending() {
        return past.pending;
      },
      take: () => past.take(),
      end: () => past.end(),
    };
  }

  /** Lists that are gone no longer match; one that was replaced does until the other is here. */
  #follow(manifest: IocManifest): void {
    this.#manifest = manifest;
    const inForce = new Set(manifest.map(({ generation }) => generation));
    if (this.#loading && !inForce.has(this.#loading.segment.generation)) this.#loading = undefined;
    this.#use();
  }

  #use(): void {
    const wanted = new Map(this.#manifest.map(({ source, generation }) => [source, generation]));
    for (const [generation, { source }] of this.#segments) {
      const now = wanted.get(source);
      if (now === undefined || (now !== generation && this.#segments.has(now))) this.#segments.delete(generation);
    }
    this.index.use([...this.#segments.values()]);
  }

  /** Asks for what is missing. True when nothing is: then the broker is told so. */
  #ask(want: (of: Pick<IocWant, "chunks" | "loaded">) => void): boolean {
    const next = this.#loading ? undefined : this.#manifest.find(({ generation }) => !this.#segments.has(generation));
    if (next) this.#loading = { segment: new Segment(next), chunks: next.chunks, at: 0 };
    const loading = this.#loading;
    if (!loading) {
      want({ loaded: [...this.#segments.keys()] });
      return true;
    }
    want({ chunks: { generation: loading.segment.generation, at: loading.at } });
    return false;
  }

  /** Takes a chunk. True when more has to be asked for, or all is here. */
  #take({ generation, at }: Extract<IocData, { kind: "ioc" }>, bytes: Uint8Array): boolean {
    const loading = this.#loading;
    // Of a list that was replaced meanwhile, or asked for on an earlier connection.
    if (loading?.segment.generation !== generation || at !== loading.at) return false;
    const { segment } = loading;
    try {
      for (const ioc of unpackIocs(bytes)) segment.add(ioc);
    } catch (error) {
      this.#log("error", "a part of a list of indicators cannot be read and is left out", {
        source: segment.source,
        at,
        error: String(error),
      });
    }
    loading.at++;
    if (loading.at < loading.chunks) return loading.at % CHUNKS_AT_ONCE === 0;
    segment.seal();
    this.#segments.set(generation, segment);
    this.#loading = undefined;
    this.#use();
    this.#log("info", "a list of indicators is in force", { source: segment.source, indicators: segment.size });
    return true;
  }
}
