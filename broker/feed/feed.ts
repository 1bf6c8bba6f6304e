// The detector's reading of the log: state first, then batches as far as it granted credits, and its decisions back in one transaction each.
import { Commit, encodeData, LOOKBACK_MS, type Seen, type State, Want } from "@picket/protocol/feed";
import type { Changes } from "../changes.ts";
import type { Link } from "../peer.ts";
import { growingAlerts, upsertAlert } from "../store/alerts.ts";
import type { Store } from "../store/database.ts";
import { advanceCursor, detectorState, readSeen, saveSeen, trimSeen } from "../store/detector.ts";
import { nextOffset, offsetSince, readBatches, receivedAt } from "../store/log.ts";

/** Rows read from the log at once: the event loop is not held longer than that. */
const PAGE = 16;
/** Bytes of one part of the state, well below the topic's limit. */
const STATE_BYTES = 512 << 10;
const MAX_OPEN = 2000;

export type FeedPorts = {
  readonly store: Store;
  readonly changes: Changes;
  readonly nowMs: () => number;
  readonly newSession: () => string;
  /** Faults of ours, such as a log that cannot be read. */
  readonly report: (error: unknown) => void;
};

/** A message of the detector that is refused. Its connection is cut without PUBACK; it begins again with "hello". */
export class FeedRefused extends Error {
  override name = "FeedRefused";
}

type Session = { readonly id: string; readonly link: Link; offset: number; credits: number; started: boolean; sending: boolean };

export class Feed {
  readonly #ports: FeedPorts;
  #session: Session | undefined;

  constructor(ports: FeedPorts) {
    this.#ports = ports;
  }

  get connected(): boolean {
    return this.#session !== undefined;
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
    session.credits += want.credits;
    this.#start(session);
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
      advanceCursor(store, commit);
      return alerts;
    });
    for (const { id, change } of told)
      if (change !== "unchanged") this.#ports.changes.tell({ kind: "alert", id, created: change === "created" });
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
    const session: Session = { id: this.#ports.newSession(), link, offset, credits, started: false, sending: false };
    this.#session = session;
    this.#sendState(session, cursor, cursorMs)
      .then(() => {
        session.started = true;
        this.#start(session);
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
