// One session of the feed, from "hello" to its end: state, silent re-read, live, commits. It keeps nothing that the next session needs.
import { decodeBatch } from "@picket/protocol/batch";
import { isCanary } from "@picket/protocol/canary";
import { eventId } from "@picket/protocol/event";
import { type Data, decodeData, MAX_CANARIES, type State, type Want } from "@picket/protocol/feed";
import type { FileScanner, Files } from "../files.ts";
import type { Arrival, EventBatch, Findings } from "../finding.ts";
import type { Pipeline } from "../pipeline.ts";
import { encodeCommit } from "./commit.ts";

/** Batches granted at once: what may wait here, at most about one MiB each. */
export const CREDITS = 32;
const GRANT_FROM = 8;
/** Decisions that may wait for the commit in flight. One more batch always fits: it grows at most MAX_GROUPS alerts and sees 1,001 things. */
const MAX_ALERTS = 700;
const MAX_SEEN = 3500;
/** One more batch has 500 at most, and a commit takes 2,000. */
const MAX_SIGHTINGS = 1500;
/** Judging goes on this long before the connection has its turn again: a batch made to be slow must not look like a dead detector to the broker. */
const TURN_MS = 100;

export type SessionPorts = {
  readonly pipeline: Pipeline;
  /** What engines that take their time say of a batch; undefined when nothing. Never rejects. */
  readonly files: Files;
  readonly judge: (batch: EventBatch) => Promise<Findings> | undefined;
  readonly want: (want: Want) => void;
  /** Resolves when the broker has it on disk. */
  readonly commit: (payload: string) => Promise<void>;
  /** Goes on after the connection had its turn. */
  readonly later: (work: () => void) => void;
  /** Ends the connection: what the broker sends cannot be followed. */
  readonly cut: (error: unknown) => void;
  /** A line for the log: what is odd, and when the detector has caught up. */
  readonly log: (level: "info" | "warn" | "error", message: string, details?: Record<string, unknown>) => void;
};

/** A batch that is being judged, from event `at` on. */
type Work = {
  readonly offset: number;
  readonly silent: boolean;
  readonly decoded: ReturnType<typeof decodeBatch>;
  readonly arrivals: readonly Arrival[];
  /** Undefined while the engines think. */
  findings: Findings | undefined;
  at: number;
};

type FileData = Extract<Data, { news: unknown } | { piece: unknown }>;

const nothing: Findings = new Map();

export class FeedSession {
  readonly #ports: SessionPorts;
  readonly #waiting: Uint8Array[] = [];
  /** Undefined until the first part of the state has come. */
  #id: string | undefined;
  #cursor = 0;
  #ready = false;
  #scan: { readonly scanner: FileScanner | undefined } | undefined;
  #next = 0;
  #committed = 0;
  #read = 0;
  #refused = 0;
  #owed = 0;
  /** Devices whose canary came through since the last commit. */
  readonly #canaries = new Map<string, number>();
  #committing = false;
  #failed = false;
  #current: Work | undefined;
  #pausing = false;

  constructor(ports: SessionPorts) {
    this.#ports = ports;
  }

  /** Begins. The broker answers with its state. */
  hello(): void {
    this.#ports.want({ kind: "hello", credits: CREDITS });
  }

  /** Whether the state has come: the broker accepted this session. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Batches decided and acknowledged by the broker, as the offset that comes next. */
  get committed(): number {
    return this.#committed;
  }

  /** Takes a `feed/data` payload. Throws when it is none, or the order is wrong: the session is over then. */
  receive(payload: Uint8Array): void {
    if (!this.#ready) {
      const data = decodeData(payload);
      // A batch of the session before this one can still be on its way.
      if ("state" in data) this.#state(data.state);
      return;
    }
    this.#waiting.push(payload);
    this.#work();
  }

  /** Files can be judged from now on; with undefined, that they will not be. Asks for them as soon as the broker has accepted this session. */
  scan(scanner: FileScanner | undefined): void {
    this.#scan = { scanner };
    if (this.#ready) this.#askForFiles();
  }

  /** Goes on: a scan is over. */
  decided(): void {
    this.#resume();
  }

  #state(part: State): void {
    if (this.#id === undefined) {
      this.#id = part.session;
      this.#cursor = this.#next = this.#committed = part.cursor;
    }
    if (part.session !== this.#id) return;
    this.#ports.pipeline.seed({ open: part.open, seen: part.seen });
    this.#ready = part.last;
    if (this.#ready) this.#askForFiles();
  }

  #askForFiles(): void {
    if (!this.#scan) return;
    const { scanner } = this.#scan;
    this.#ports.files.use(scanner);
    this.#ports.want({ kind: "scan", session: this.#id!, ...(scanner ? { pack: scanner.pack } : {}) });
  }

  #work(): void {
    if (this.#pausing) return;
    const endMs = performance.now() + TURN_MS;
    while (!this.#failed && (this.#current || this.#waiting.length > 0)) {
      const { alerts, seen } = this.#ports.pipeline.pending;
      const { sightings } = this.#ports.files.pending;
      if (!this.#current && (alerts > MAX_ALERTS || seen > MAX_SEEN || sightings > MAX_SIGHTINGS)) break;
      this.#current ??= this.#open(this.#waiting.shift()!);
      if (this.#current && !this.#current.findings) break;
      if (this.#current) this.#judge(this.#current, endMs);
      if (performance.now() < endMs) continue;
      this.#pausing = true;
      this.#ports.later(() => {
        this.#pausing = false;
        this.#resume();
      });
      break;
    }
    this.#commit();
  }

  /** Undefined when there is nothing to judge in it. */
  #open(payload: Uint8Array): Work | undefined {
    const data = decodeData(payload);
    if ("state" in data) throw new Error("the broker sent its state twice");
    if (!("header" in data)) return this.#file(data);
    const { session, offset, receivedMs } = data.header;
    if (session !== this.#id) return undefined;
    this.#grant();
    const silent = offset < this.#cursor;
    if (!silent && offset < this.#next) return undefined;
    const decoded = this.#decode(data.batch, offset, silent);
    if (decoded) return this.#ask({ offset, receivedMs, silent, decoded });
    if (!silent) this.#next = offset + 1;
    return undefined;
  }

  #file(data: FileData): undefined {
    if ("news" in data) {
      if (data.news.session === this.#id) this.#ports.files.news(data.news);
    } else if (data.piece.session === this.#id) this.#ports.files.piece(data.piece, data.bytes);
  }

  #ask(of: Pick<Work, "offset" | "silent" | "decoded"> & { receivedMs: number }): Work {
    const { offset, silent, decoded, receivedMs } = of;
    const { events, header } = decoded;
    const arrivals = events.map((event) => ({ id: eventId(event), boot: header.boot, receivedMs, silent }));
    const answer = this.#ports.judge({ events, arrivals });
    const work: Work = { offset, silent, decoded, arrivals, findings: answer ? undefined : nothing, at: 0 };
    answer?.then((findings) => {
      work.findings = findings;
      this.#resume();
    });
    return work;
  }

  /** Until the batch or the time is over. */
  #judge(work: Work, endMs: number): void {
    const { decoded, silent } = work;
    const { events } = decoded;
    while (work.at < events.length) {
      const arrival = work.arrivals[work.at]!;
      const findings = work.findings!.get(work.at);
      const event = events[work.at++]!;
      try {
        this.#ports.files.see(event, arrival);
        if (!silent && event.type === "process.exec" && isCanary(event.body.process.argv))
          this.#canaries.set(event.device, arrival.receivedMs);
        this.#ports.pipeline.handle(event, arrival, findings);
      } catch (error) {
        // One event must not stop the log for ever: the same batch would come again.
        this.#ports.log("error", "an event could not be judged", { event: arrival.id, error: String(error) });
        if (!silent) this.#refused++;
      }
      if (work.at % 16 === 0 && performance.now() >= endMs) break;
    }
    if (work.at < events.length) return;
    this.#current = undefined;
    if (silent) return;
    this.#next = work.offset + 1;
    this.#read += events.length;
    this.#refused += decoded.refused;
  }

  /** The broker checked the header when it stored the batch, not the lines. */
  #decode(batch: Uint8Array, offset: number, silent: boolean): ReturnType<typeof decodeBatch> | undefined {
    try {
      return decodeBatch(batch);
    } catch (error) {
      if (!silent) this.#refused++;
      this.#ports.log("warn", "a batch could not be read", { offset, error: error instanceof Error ? error.message : String(error) });
      return undefined;
    }
  }

  #grant(): void {
    if (++this.#owed < GRANT_FROM) return;
    this.#ports.want({ kind: "more", session: this.#id!, credits: this.#owed });
    this.#owed = 0;
  }

  /** At most one commit is in flight: what is decided meanwhile goes with the next. Nothing of a batch is told before all of it is judged. */
  #commit(): void {
    if (this.#current || this.#committing || this.#failed) return;
    if (this.#next === this.#committed && this.#ports.files.pending.decisions === 0) return;
    this.#committing = true;
    const next = this.#next;
    const { alerts, seen } = this.#ports.pipeline.take();
    const { alerts: ofFiles, ...files } = this.#ports.files.take();
    const canaries = [...this.#canaries].slice(0, MAX_CANARIES).map(([device, receivedMs]) => ({ device, receivedMs }));
    for (const { device } of canaries) this.#canaries.delete(device);
    const decided = { alerts: [...alerts, ...ofFiles], seen, ...files, ...(canaries.length > 0 ? { canaries } : {}) };
    const payload = encodeCommit({ session: this.#id!, next, ...decided, read: this.#read, refused: this.#refused });
    this.#read = this.#refused = 0;
    this.#ports.commit(payload).then(
      () => {
        this.#committing = false;
        this.#committed = next;
        this.#resume();
      },
      // The connection is over, or the broker refused it. The next session begins at the broker's cursor.
      () => {
        this.#failed = true;
      },
    );
  }

  #resume(): void {
    try {
      this.#work();
    } catch (error) {
      this.#failed = true;
      this.#ports.log("error", "the feed cannot be followed", { error: String(error) });
      this.#ports.cut(error);
    }
  }
}
