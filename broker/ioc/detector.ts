// What the detector is given of lists: which there are, their chunks as they lie, and pages of the past to be searched for what is new.
import { CHUNKS_AT_ONCE, type IocData, type IocWant, type PastCommit } from "@picket/protocol/ioc";
import type { Link } from "../peer.ts";
import type { Store } from "../store/database.ts";
import { advanceSearch, beginSearch, decidedTo, runningSearch, type Told, unsearched } from "../store/ioc-searches.ts";
import { iocManifest, readChunk } from "../store/iocs.ts";
import { readBatches } from "../store/log.ts";

/** Batches of one page: what is found in them is told in one commit, and then comes the next. */
const PAGE = 32;
const PAGE_BYTES = 4 << 20;

type Session = {
  readonly id: string;
  readonly link: Link;
  /** Lists it matches with; undefined until it said so. */
  loaded: ReadonlySet<number> | undefined;
  /** A page is on its way, or being searched. */
  searching: boolean;
};

export type IocDetectorPorts = {
  readonly store: Store;
  readonly nowMs: () => number;
  readonly report: (error: unknown) => void;
};

export class IocDetector {
  readonly #ports: IocDetectorPorts;
  #session: Session | undefined;

  constructor(ports: IocDetectorPorts) {
    this.#ports = ports;
  }

  /** Lists the detector matches with. */
  get loaded(): ReadonlySet<number> {
    return this.#session?.loaded ?? new Set();
  }

  /** A detector reads from its cursor. What lists there are it was told with the state. */
  begin(of: { id: string; link: Link }): void {
    this.#session = { ...of, loaded: undefined, searching: false };
  }

  closed(): void {
    this.#session = undefined;
  }

  want({ chunks, loaded }: IocWant): void {
    const session = this.#session;
    if (!session) return;
    if (chunks) this.#sendChunks(session, chunks).catch((error: unknown) => this.#fail(session, error));
    if (!loaded) return;
    session.loaded = new Set(loaded);
    this.wake();
  }

  /** Other lists are in force. */
  changed(): void {
    const session = this.#session;
    if (!session) return;
    this.#send(session, { kind: "iocs", session: session.id, sources: iocManifest(this.#ports.store) }).catch((error: unknown) =>
      this.#fail(session, error),
    );
  }

  /** In the transaction that stores what a detector decided. */
  committed(past: PastCommit): readonly Told[] {
    const told = advanceSearch(this.#ports.store, past, this.#ports.nowMs());
    if (this.#session) this.#session.searching = false;
    return told ?? [];
  }

  /** Goes on with the search of the past, if there is one and more of it may be read. */
  wake(): void {
    const session = this.#session;
    if (!session?.loaded || session.searching) return;
    const { store, nowMs } = this.#ports;
    const { loaded } = session;
    if (unsearched(store).length > 0) {
      const inForce = new Set(iocManifest(store).map(({ generation }) => generation));
      store.commitNow(() => beginSearch(store, loaded, inForce, nowMs()));
    }
    const search = runningSearch(store);
    if (!search) return;
    const to = Math.min(search.end, decidedTo(store));
    if (to <= search.cursor) return;
    session.searching = true;
    this.#sendPage(session, { ...search, to }).catch((error: unknown) => this.#fail(session, error));
  }

  async #sendChunks(session: Session, { generation, at }: NonNullable<IocWant["chunks"]>): Promise<void> {
    for (let chunk = at; chunk < at + CHUNKS_AT_ONCE && this.#session === session; chunk++) {
      const rows = readChunk(this.#ports.store, generation, chunk);
      // The list was replaced meanwhile: what is there now was told.
      if (!rows) return;
      await this.#send(session, { kind: "ioc", session: session.id, generation, at: chunk }, rows);
    }
  }

  async #sendPage(
    session: Session,
    { job, generations, cursor, to }: { job: number; generations: string; cursor: number; to: number },
  ): Promise<void> {
    const rows = readBatches(this.#ports.store, cursor, PAGE).filter(({ offset }) => offset < to);
    const ids = JSON.parse(generations) as number[];
    let next = rows.length < PAGE ? to : rows.at(-1)!.offset + 1;
    let bytes = 0;
    for (const { offset, receivedMs, batch } of rows) {
      if (this.#session !== session) return;
      if (bytes > PAGE_BYTES) {
        next = offset;
        break;
      }
      bytes += batch.length;
      await this.#send(session, { kind: "past", session: session.id, job, generations: ids, receivedMs }, batch);
    }
    await this.#send(session, { kind: "past-page", session: session.id, job, next });
  }

  async #send(session: Session, header: IocData, bytes: Uint8Array = new Uint8Array()): Promise<void> {
    await session.link.send("data", Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), bytes]));
  }

  #fail(session: Session, error: unknown): void {
    this.#ports.report(error);
    session.link.close("the feed failed");
  }
}
