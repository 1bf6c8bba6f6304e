// The detector's reading of the log: state first, then batches as far as it granted credits, and its decisions back in one transaction each.
import { Commit, encodeData, encodePiece, LOOKBACK_MS, type SampleVerdict, type Seen, type State, Want } from "@picket/protocol/feed";
import type { Changes } from "../changes.ts";
import type { Link } from "../peer.ts";
import { growingAlerts, upsertAlert } from "../store/alerts.ts";
import type { Store } from "../store/database.ts";
import { advanceCursor, detectorState, readSeen, saveSeen, trimSeen } from "../store/detector.ts";
import { saveCanaries } from "../store/devices.ts";
import { nextOffset, offsetSince, readBatches, receivedAt } from "../store/log.ts";
import { markJudged, nextNews, nextToScan, sampleLeft, saveSightings, saveVerdicts, setSamplePack, tryToScan } from "../store/samples.ts";

/** Rows read from the log at once: the event loop is not held longer than that. */
const PAGE = 16;
/** Bytes of one part of the state, well below the topic's limit. */
const STATE_BYTES = 512 << 10;
const MAX_OPEN = 2000;
/** Bytes of a sample in one message: batches go between them. */
const PIECE_BYTES = 256 << 10;

export type FeedPorts = {
  readonly store: Store;
  readonly changes: Changes;
  readonly nowMs: () => number;
  readonly newSession: () => string;
  readonly files: {
    /** Bytes of a file in the spool; undefined when it is not there. */
    read(sha256: string, offset: number, max: number): Promise<Buffer | undefined>;
    /** Other files may be wanted now. */
    changed(): void;
  };
  /** Called in the transaction that stores these verdicts. */
  readonly judged?: (verdicts: readonly SampleVerdict[], nowMs: number) => void;
  /** Faults of ours, such as a log that cannot be read. */
  readonly report: (error: unknown) => void;
};

/** A message of the detector that is refused. Its connection is cut without PUBACK; it begins again with "hello". */
export class FeedRefused extends Error {
  override name = "FeedRefused";
}

type Session = {
  readonly id: string;
  readonly link: Link;
  /** The rules by which this detector scans files, if it does. */
  pack: string | undefined;
  offset: number;
  credits: number;
  started: boolean;
  sending: boolean;
  /** The file whose verdict is awaited, or whose alerts, from so many devices: one at a time. */
  file: { readonly sha256: string; left: number } | undefined;
};

export class Feed {
  readonly #ports: FeedPorts;
  #session: Session | undefined;

  constructor(ports: FeedPorts) {
    this.#ports = ports;
  }

  get connected(): boolean {
    return this.#session !== undefined;
  }

  /** For how long the oldest batch has waited that the detector has not decided; 0 when there is none. Milliseconds. */
  behindMs(): number {
    const { store, nowMs } = this.#ports;
    const waitingSinceMs = receivedAt(store, detectorState(store).cursor);
    return waitingSinceMs === undefined ? 0 : Math.max(0, nowMs() - waitingSinceMs);
  }

  /** `feed/want`. A hello replaces whatever session there was: one detector at a time. Throws `FeedRefused`. */
  want(link: Link, payload: Uint8Array): void {
    const want = parse(Want, payload);
    if (want.kind === "hello") {
      this.#begin(link, want.credits);
      return;
    }
    const session = this.#session;
    // Credits for a session that is over are no error: they crossed with its end.
    if (session?.link !== link || session.id !== want.session) return;
    if (want.kind === "more") {
      session.credits += want.credits;
      this.#start(session);
      return;
    }
    session.pack = want.pack;
    const { store, files } = this.#ports;
    store.commitNow(() => setSamplePack(store, want.pack));
    files.changed();
    this.wakeFiles();
  }

  /** `feed/commit`: on disk, all of it, when this resolves. Throws `FeedRefused` for a session that is over. */
  async commit(link: Link, payload: Uint8Array): Promise<void> {
    const commit = parse(Commit, payload);
    const { store } = this.#ports;
    const told = await store.commitSoon(() => {
      // Looked at inside the transaction: a new session may have begun since this message arrived.
      if (this.#session?.link !== link || this.#session.id !== commit.session)
        throw new FeedRefused("this session is over: say hello again");
      const { cursor } = detectorState(store);
      if (commit.next < cursor || commit.next > nextOffset(store))
        throw new FeedRefused(`commit up to ${commit.next}, but the cursor is ${cursor} and the log ends at ${nextOffset(store)}`);
      const nowMs = this.#ports.nowMs();
      const alerts = commit.alerts.map(({ detection, group }) => ({
        id: detection.id,
        change: upsertAlert(store, detection, group, nowMs),
      }));
      saveSeen(store, commit.seen, commit.next);
      saveCanaries(store, commit.canaries ?? []);
      saveSightings(store, commit.sightings ?? [], nowMs);
      saveVerdicts(store, commit.verdicts ?? []);
      this.#ports.judged?.(commit.verdicts ?? [], nowMs);
      markJudged(store, commit.judged ?? []);
      advanceCursor(store, commit);
      return alerts;
    });
    for (const { id, change } of told)
      if (change !== "unchanged") this.#ports.changes.tell({ kind: "alert", id, created: change === "created" });
    if (commit.sightings?.length) this.#ports.files.changed();
    this.#fileDone(commit);
    this.wakeFiles();
  }

  /** A file is here to be scanned. */
  wakeFiles(): void {
    const session = this.#session;
    if (session) this.#sendFile(session).catch((error: unknown) => this.#fail(session, error));
  }

  /** New batches are on disk. */
  wake(): void {
    if (this.#session) this.#start(this.#session);
  }

  closed(link: Link): void {
    if (this.#session?.link === link) this.#session = undefined;
  }

  #begin(link: Link, credits: number): void {
    const { store, nowMs } = this.#ports;
    if (this.#session && this.#session.link !== link) this.#session.link.close("another detector said hello");
    trimSeen(store);
    const { cursor } = detectorState(store);
    const cursorMs = receivedAt(store, cursor) ?? nowMs();
    const offset = Math.min(cursor, offsetSince(store, cursorMs - LOOKBACK_MS));
    const session: Session = {
      id: this.#ports.newSession(),
      link,
      pack: undefined,
      offset,
      credits,
      started: false,
      sending: false,
      file: undefined,
    };
    this.#session = session;
    this.#sendState(session, cursor, cursorMs)
      .then(() => {
        session.started = true;
        this.#start(session);
        this.wakeFiles();
      })
      .catch((error: unknown) => this.#fail(session, error));
  }

  #start(session: Session): void {
    this.#pump(session).catch((error: unknown) => this.#fail(session, error));
  }

  #fail(session: Session, error: unknown): void {
    this.#ports.report(error);
    session.link.close("the feed failed");
  }

  async #sendState(session: Session, cursor: number, cursorMs: number): Promise<void> {
    for (const part of stateParts(this.#ports.store, session.id, cursor, cursorMs)) {
      if (this.#session !== session) return;
      await session.link.send("data", JSON.stringify(part));
    }
  }

  #fileDone({ verdicts, judged }: Commit): void {
    const session = this.#session;
    if (!session?.file) return;
    const { sha256 } = session.file;
    if (verdicts?.some((verdict) => verdict.sha256 === sha256)) session.file.left = 0;
    session.file.left -= judged?.filter((one) => one.sha256 === sha256).length ?? 0;
    if (session.file.left <= 0) session.file = undefined;
  }

  /** One file at a time: news of a bad one before one to be scanned. The answer to it, in a commit, asks for the next. */
  async #sendFile(session: Session): Promise<void> {
    const { store } = this.#ports;
    const { pack } = session;
    while (pack !== undefined && session.started && this.#session === session && session.file === undefined) {
      const news = nextNews(store);
      if (news) {
        session.file = { sha256: news.verdict.sha256, left: news.sightings.length };
        await session.link.send("data", JSON.stringify({ kind: "verdict", session: session.id, ...news }));
        return;
      }
      const sample = nextToScan(store);
      if (!sample) return;
      session.file = { sha256: sample.sha256, left: 1 };
      if (!(await store.commitSoon(() => tryToScan(store, sample.sha256, pack)))) session.file = undefined;
      else if (!(await this.#sendBytes(session, sample))) {
        session.file = undefined;
        await store.commitSoon(() => sampleLeft(store, sample.sha256));
        this.#ports.files.changed();
      }
    }
  }

  /** False when the file is not what the database says. */
  async #sendBytes(session: Session, { sha256, size }: { sha256: string; size: number }): Promise<boolean> {
    for (let offset = 0; offset < size && this.#session === session; ) {
      const bytes = await this.#ports.files.read(sha256, offset, Math.min(PIECE_BYTES, size - offset));
      if (!bytes?.length) return false;
      await session.link.send("data", encodePiece({ kind: "sample", session: session.id, sha256, size, offset }, bytes));
      offset += bytes.length;
    }
    return true;
  }

  /** Sends what is granted and there. One pump a session: `send` waits for the socket, which is the back-pressure under the credits. */
  async #pump(session: Session): Promise<void> {
    if (session.sending || !session.started) return;
    session.sending = true;
    try {
      while (this.#session === session && session.credits > 0) {
        const rows = readBatches(this.#ports.store, session.offset, Math.min(PAGE, session.credits));
        if (rows.length === 0) return;
        for (const { offset, receivedMs, batch } of rows) {
          if (this.#session !== session) return;
          session.credits--;
          session.offset = offset + 1;
          await session.link.send("data", encodeData({ kind: "batch", session: session.id, offset, receivedMs }, batch));
        }
      }
    } finally {
      session.sending = false;
    }
  }
}

/** The state in parts of bounded size, the last one marked. */
function* stateParts(store: Store, session: string, cursor: number, cursorMs: number): Generator<State> {
  const part = (): State => ({ kind: "state", session, cursor, open: [], seen: [], last: false });
  let current = part();
  let bytes = 0;
  function* room(size: number): Generator<State> {
    if (bytes > 0 && bytes + size > STATE_BYTES) {
      yield current;
      current = part();
      bytes = 0;
    }
    bytes += size;
  }
  for (const open of growingAlerts(store, cursorMs - LOOKBACK_MS, MAX_OPEN)) {
    yield* room(JSON.stringify(open).length);
    current.open.push(open);
  }
  let after: Seen | undefined;
  for (let page = readSeen(store, after, 1000); page.length > 0; page = readSeen(store, after, 1000)) {
    for (const seen of page) {
      // 5,000 at most in a part: the smallest entries would otherwise be more.
      yield* room(Math.max(JSON.stringify(seen).length, Math.ceil(STATE_BYTES / 5000)));
      current.seen.push(seen);
    }
    after = page.at(-1);
  }
  yield { ...current, last: true };
}

function parse<T>(
  type: { safeParse(json: unknown): { success: true; data: T } | { success: false; error: Error } },
  payload: Uint8Array,
): T {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(payload).toString());
  } catch {
    throw new FeedRefused("not JSON");
  }
  const parsed = type.safeParse(json);
  if (!parsed.success) throw new FeedRefused(parsed.error.message.slice(0, 300));
  return parsed.data;
}
