// The detector's reading of the log: state first, then batches as far as it granted credits, and its decisions back in one transaction each.

import { Commit, encodeData, encodePiece, MAX_HELD, REREAD_MS, type SampleVerdict, Want } from "@picket/protocol/feed";
import type { IocWant, PastCommit } from "@picket/protocol/ioc";
import type { ToldRules } from "@picket/protocol/rule-list";
import { tryParse } from "@picket/protocol/try-parse";
import type * as z from "zod";
import type { Changes } from "../changes.ts";
import type { Link } from "../peer.ts";
import { incidentsOf, type Upserted, upsertAlert } from "../store/alerts.ts";
import type { Store } from "../store/database.ts";
import { detectorState, trimSeen } from "../store/detector.ts";
import { saveCanaries } from "../store/devices.ts";
import { exceptionsVersion, heldSince, noteUses } from "../store/exceptions.ts";
import { tellIncidents } from "../store/incident-life.ts";
import { saveReports } from "../store/incidents.ts";
import { noteMet } from "../store/iocs.ts";
import { type Lane, listLanes, rejoin, seamOf } from "../store/lanes.ts";
import { type LogRow, nextOffset, offsetSince, readBatches, readBatchesOf, receivedAt } from "../store/log.ts";
import { saveRuleUse } from "../store/rule-use.ts";
import { markJudged, nextNews, nextToScan, sampleLeft, saveSightings, saveVerdicts, setSamplePack, tryToScan } from "../store/samples.ts";
import { cursorOf, leaveBacklog, moveTo, saveRest } from "./lanes.ts";
import { Pace } from "./pace.ts";
import { stateParts } from "./state.ts";

/** Rows read from the log at once: the event loop is not held longer than that. */
const PAGE = 16;
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
  /** Lists of indicators; absent where there are none. */
  readonly iocs?: {
    begin(session: { id: string; link: Link }): void;
    closed(): void;
    want(want: IocWant): void;
    /** Called in the transaction that stores the rest. Returns the alerts that changed. */
    committed(past: PastCommit): readonly { id: string; change: Upserted }[];
    /** The detector may have decided more. */
    wake(): void;
  };
  /** What the detector says of its rules, and packs of rules that devices have. */
  readonly rules?: { told(rules: ToldRules): void; payloads(): readonly unknown[] };
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
  /** Undefined: the main cursor. */
  readonly lane: Lane | undefined;
  /** The last offset that was sent, and the last that was decided. */
  sent: number;
  decided: number;
  /** The rules by which this detector scans files, if it does. */
  pack: string | undefined;
  offset: number;
  credits: number;
  started: boolean;
  /** Lanes the detector was told of. */
  lanes: string;
  /** Version of the exceptions it was told of, and where what it reads begins. */
  exceptions: number;
  readonly start: { readonly offset: number; readonly receivedMs: number };
  sending: boolean;
  /** The file whose verdict is awaited, or whose alerts, from so many devices: one at a time. */
  file: { readonly sha256: string; left: number } | undefined;
};

export class Feed {
  readonly #ports: FeedPorts;
  #session: Session | undefined;
  /** Sessions of lanes, by the lane's id. */
  readonly #lanes = new Map<number, Session>();
  readonly #pace: Pace;
  /** Devices that are read apart, and from which offset on. */
  #aside: ReadonlyMap<string, number> = new Map();

  constructor(ports: FeedPorts) {
    this.#ports = ports;
    this.#pace = new Pace(ports.nowMs, () => {
      const session = this.#session;
      if (!session?.started) return 0;
      // What a lane of a device reads is passed by here, and may be all there is.
      const decided = session.decided + 1;
      return nextOffset(ports.store) - (decided > session.sent ? Math.max(decided, session.offset) : decided);
    });
  }

  get connected(): boolean {
    return this.#session !== undefined;
  }

  /** `Pace.wait`. */
  pace(firstMs: number | undefined): Promise<void> | undefined {
    return this.#pace.wait(firstMs);
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
      if (want.lane) this.#beginLane(link, want.credits, want.lane);
      else this.#begin(link, want.credits);
      return;
    }
    const session = this.#find(link, want.session);
    // Credits for a session that is over are no error: they crossed with its end.
    if (!session) return;
    if (want.kind === "more") {
      session.credits += want.credits;
      this.#start(session);
      return;
    }
    if (session !== this.#session) return;
    if (want.kind === "iocs") {
      this.#ports.iocs?.want(want);
      return;
    }
    if (want.kind === "rules") {
      this.#ports.rules?.told(want);
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
      const session = this.#find(link, commit.session);
      if (!session) throw new FeedRefused("this session is over: say hello again");
      const cursor = cursorOf(store, session.lane);
      // The cursor may have passed by what others read meanwhile: decisions about files, which come at any time, do not know.
      if (cursor === undefined || commit.next <= session.decided || commit.next > nextOffset(store))
        throw new FeedRefused(`commit up to ${commit.next}, but the cursor is ${cursor} and the log ends at ${nextOffset(store)}`);
      const nowMs = this.#ports.nowMs();
      const alerts = commit.alerts.map(({ detection, group }) => ({
        id: detection.id,
        change: upsertAlert(store, detection, group, nowMs),
      }));
      const incidents = saveReports(store, commit.incidents ?? [], session.lane?.device === null ? session.lane.id : 0, nowMs);
      saveRuleUse(store, { matched: commit.matched ?? [], muted: commit.muted ?? [] }, nowMs);
      saveCanaries(store, commit.canaries ?? []);
      noteUses(store, commit.excepted ?? []);
      saveSightings(store, commit.sightings ?? [], nowMs);
      saveVerdicts(store, commit.verdicts ?? []);
      this.#ports.judged?.(commit.verdicts ?? [], nowMs);
      markJudged(store, commit.judged ?? []);
      for (const { detection, group } of commit.alerts) noteMet(store, detection, group);
      if (commit.past && session === this.#session) alerts.push(...(this.#ports.iocs?.committed(commit.past) ?? []));
      this.#advance(session, cursor, commit);
      for (const id of incidentsOf(
        store,
        alerts.map(({ id }) => id),
      ))
        incidents.add(id);
      tellIncidents(store, incidents, nowMs);
      return { alerts, incidents };
    });
    this.#lanesChanged();
    this.#pace.letIn();
    for (const id of told.incidents) this.#ports.changes.tell({ kind: "incident", id });
    for (const { id, change } of told.alerts)
      if (change !== "unchanged") this.#ports.changes.tell({ kind: "alert", id, created: change === "created" });
    if (commit.sightings?.length) this.#ports.files.changed();
    this.#fileDone(commit);
    this.wakeFiles();
    this.#ports.iocs?.wake();
  }

  /** A file is here to be scanned. */
  wakeFiles(): void {
    const session = this.#session;
    if (session) this.#sendFile(session).catch((error: unknown) => this.#fail(session, error));
  }

  /** Packs of rules have changed. */
  packsChanged(): void {
    const session = this.#session;
    if (session?.started) this.#sendPacks(session).catch((error: unknown) => this.#fail(session, error));
  }

  async #sendPacks(session: Session): Promise<void> {
    if (session.lane) return;
    for (const payload of this.#ports.rules?.payloads() ?? [])
      await session.link.send("data", JSON.stringify({ kind: "pack", session: session.id, payload }));
  }

  /** New batches are on disk. */
  wake(): void {
    for (const session of this.#sessions()) this.#start(session);
  }

  closed(link: Link): void {
    if (this.#session?.link !== link) return;
    this.#session = undefined;
    this.#ports.iocs?.closed();
    this.#lanes.clear();
    this.#pace.letIn();
  }

  *#sessions(): Generator<Session> {
    if (this.#session) yield this.#session;
    yield* this.#lanes.values();
  }

  #find(link: Link, id: string): Session | undefined {
    for (const session of this.#sessions()) if (session.link === link && session.id === id) return session;
    return undefined;
  }

  /** Whether it is neither over nor replaced. */
  #lives(session: Session): boolean {
    return session.lane ? this.#lanes.get(session.lane.id) === session : this.#session === session;
  }

  /** In the transaction that stores the decisions. What was passed by after the last batch sent is no longer waited for. */
  #advance(session: Session, cursor: number, commit: Commit): void {
    const { store } = this.#ports;
    const { next, read, refused } = commit;
    session.decided = next - 1;
    saveRest(store, session.lane, cursor, commit);
    moveTo(store, session.lane, { next: session.decided >= session.sent ? Math.max(next, session.offset) : next, read, refused });
  }

  /** Tells the detector which lanes there are, when that is not what it knows. */
  #lanesChanged(): void {
    const session = this.#session;
    if (!session?.started) return;
    const lanes = listLanes(this.#ports.store);
    this.#aside = new Map(lanes.flatMap(({ device, start }) => (device === null ? [] : [[device, start]])));
    const ids = lanes.map(({ id }) => id);
    if (ids.join() === session.lanes) return;
    session.lanes = ids.join();
    for (const id of this.#lanes.keys()) if (!ids.includes(id)) this.#lanes.delete(id);
    session.link
      .send("data", JSON.stringify({ kind: "lanes", session: session.id, lanes: ids }))
      .catch((error: unknown) => this.#fail(session, error));
  }

  #begin(link: Link, credits: number): void {
    const { store } = this.#ports;
    if (this.#session && this.#session.link !== link) this.#session.link.close("another detector said hello");
    this.#lanes.clear();
    trimSeen(store);
    store.commitNow(() => {
      rejoin(store, detectorState(store).cursor);
      leaveBacklog(store, this.#ports.nowMs());
    });
    this.#session = this.#open(link, credits, undefined);
    this.#ports.iocs?.begin(this.#session);
  }

  #beginLane(link: Link, credits: number, id: number): void {
    const lane = listLanes(this.#ports.store).find((one) => one.id === id);
    // A lane that is done meanwhile is no error: its end crossed with this.
    if (!lane || this.#session?.link !== link) return;
    this.#lanes.set(id, this.#open(link, credits, lane));
  }

  #open(link: Link, credits: number, lane: Lane | undefined): Session {
    const { store, nowMs, newSession } = this.#ports;
    const cursor = lane?.cursor ?? detectorState(store).cursor;
    const cursorMs = receivedAt(store, cursor) ?? nowMs();
    const offset = Math.min(cursor, offsetSince(store, cursorMs - REREAD_MS));
    const session: Session = {
      id: newSession(),
      link,
      lane,
      sent: cursor - 1,
      decided: cursor - 1,
      pack: undefined,
      offset,
      credits,
      started: false,
      lanes: "",
      exceptions: 0,
      start: { offset, receivedMs: receivedAt(store, offset) ?? nowMs() },
      sending: false,
      file: undefined,
    };
    this.#sendState(session, cursor, cursorMs)
      .then(() => this.#sendPacks(session))
      .then(() => {
        session.started = true;
        this.#lanesChanged();
        this.#start(session);
        this.wakeFiles();
      })
      .catch((error: unknown) => this.#fail(session, error));
    return session;
  }

  #start(session: Session): void {
    if (!this.#lives(session)) return;
    this.#pump(session).catch((error: unknown) => this.#fail(session, error));
  }

  #fail(session: Session, error: unknown): void {
    this.#ports.report(error);
    session.link.close("the feed failed");
  }

  async #sendState(session: Session, cursor: number, cursorMs: number): Promise<void> {
    const { store } = this.#ports;
    const { lane, id } = session;
    for (const part of stateParts(store, { session: id, lane, cursor, seam: lane?.seam ?? seamOf(store), cursorMs })) {
      // `#open` has not returned yet when the first part is made.
      await Promise.resolve();
      if (!this.#lives(session)) return;
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

  #read({ lane, offset }: Session, limit: number): LogRow[] {
    const { store } = this.#ports;
    if (typeof lane?.device === "string") return readBatchesOf(store, lane.device, offset, limit);
    const end = lane?.end ?? Number.POSITIVE_INFINITY;
    return readBatches(store, offset, limit).filter((row) => row.offset < end);
  }

  /** Whether a batch is this session's to read: those of a device that is read apart are nobody else's. */
  #isOf({ lane }: Session, device: string, offset: number): boolean {
    const from = this.#aside.get(device);
    if (from === undefined || typeof lane?.device === "string") return true;
    return lane !== undefined && offset < from;
  }

  /** Nothing more is there: the cursor moves behind what was passed by, once all that was sent is decided, and a lane that is at its end is over. */
  async #passedBy(session: Session): Promise<void> {
    const { store } = this.#ports;
    const { lane } = session;
    const to = lane?.end ?? session.offset;
    const isDone = () => this.#lives(session) && session.decided >= session.sent;
    const cursor = cursorOf(store, session.lane);
    if (!isDone() || cursor === undefined || to <= cursor) return;
    await store.commitSoon(() => isDone() && moveTo(store, lane, { next: to, read: 0, refused: 0 }));
    this.#lanesChanged();
  }

  /** Called when rows were read and before they are sent: what is excepted later holds for later rows. */
  async #tellExceptions(session: Session): Promise<void> {
    const { store } = this.#ports;
    const version = exceptionsVersion(store);
    if (version === session.exceptions) return;
    const held = heldSince(store, { version: session.exceptions, ...session.start });
    session.exceptions = version;
    for (let at = 0; at < held.length && this.#lives(session); at += MAX_HELD)
      await session.link.send(
        "data",
        JSON.stringify({ kind: "exceptions", session: session.id, exceptions: held.slice(at, at + MAX_HELD) }),
      );
  }

  /** Sends what is granted and there. One pump a session: `send` waits for the socket, which is the back-pressure under the credits. */
  async #pump(session: Session): Promise<void> {
    if (session.sending || !session.started) return;
    session.sending = true;
    try {
      while (this.#lives(session) && session.credits > 0) {
        const rows = this.#read(session, Math.min(PAGE, session.credits));
        await this.#tellExceptions(session);
        if (rows.length === 0) {
          await this.#passedBy(session);
          // What came meanwhile has called already.
          if (this.#read(session, 1).length === 0) return;
        }
        for (const { offset, device, receivedMs, batch } of rows) {
          if (!this.#lives(session)) return;
          session.offset = offset + 1;
          if (!this.#isOf(session, device, offset)) continue;
          session.credits--;
          session.sent = offset;
          await session.link.send("data", encodeData({ kind: "batch", session: session.id, offset, receivedMs }, batch));
        }
      }
    } finally {
      session.sending = false;
    }
  }
}

function parse<S extends z.ZodType>(type: S, payload: Uint8Array): z.output<S> {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(payload).toString());
  } catch {
    throw new FeedRefused("not JSON");
  }
  const parsed = tryParse(type, json);
  if (!parsed.success) throw new FeedRefused(parsed.error.message.slice(0, 300));
  return parsed.data;
}
