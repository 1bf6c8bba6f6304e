// How the detector reads the broker's log and answers. The broker is the only place with state of record.
import * as z from "zod";
import { Detection, Severity } from "./alert.ts";
import { Process } from "./event.ts";
import { HeldException } from "./exception.ts";
import { IncidentReport, OpenIncident } from "./incident.ts";
import { IocData, IocManifest, IocWant, PastCommit } from "./ioc.ts";
import { deviceId, sha256 } from "./names.ts";
import { CarriedPack, MAX_RULE_USES, RuleMatches, RuleMuted, ToldRules } from "./rule-list.ts";
import { MAX_SAMPLE_BYTES } from "./samples.ts";

/**
 * How far before its cursor the detector silently re-reads at start, so that correlation windows are full again. Milliseconds.
 * No window of a rule or chain may be longer.
 */
export const LOOKBACK_MS = 10 * 60_000;

/** How long an event waits for those its device numbered before it, by the log's time of receipt. Milliseconds. */
export const ORDER_MS = 2000;
/** How long it is remembered what came, to know what is missing, and the longest that an event waits when the log stands still. Milliseconds of the log. */
export const RECEIVED_MS = 120_000;
/** What is re-read in all: before the windows, as much as their order depends on. */
export const REREAD_MS = LOOKBACK_MS + RECEIVED_MS + 2 * ORDER_MS;

/**
 * `feed/want`. "hello" begins a session: the broker answers with a `State`, then sends from the lookback on.
 * With `lane` it begins one of the lanes that `Lanes` named, beside the session without: what is caught up on the side, with a cursor of its own.
 * "more" grants `credits` further batches; the broker never sends more than it was granted.
 * "scan" says that the detector judges files, by the rules that `pack` names: it is sent samples from then on. Without `pack` it does not, and devices are asked for none.
 */
export const Want = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("hello"), credits: z.int().positive().max(1024), lane: z.int().nonnegative().optional() }),
  z.object({ kind: z.literal("scan"), session: z.string().max(36), pack: z.string().min(1).max(64).optional() }),
  z.object({ kind: z.literal("more"), session: z.string().max(36), credits: z.int().positive().max(1024) }),
  IocWant,
  ToldRules,
]);
export type Want = z.infer<typeof Want>;

/** Characters of one `Correlated`, at most: 4,000 events with their ids. */
const MAX_CORRELATED_BYTES = 1 << 20;

/** How often a key (such as device, parent and child) was seen; kept at the broker, so that a restart does not make everything rare again. */
export const Seen = z.object({ device: deviceId, kind: z.string().max(32), key: z.string().max(1024), count: z.int().positive() });
export type Seen = z.infer<typeof Seen>;

/** Among those: something that happened, its name first in `key`, its time in `count`. Of one device and name the broker keeps the latest; of the same second the last by `key`. */
export const MARK_KIND = "mark";
export const MAX_KEPT_MARKS = 64;

/**
 * What one device brought to one group of a Sigma correlation, kept at the broker as of each commit: its windows may be longer than what is read again.
 * `n` rises with each change; `receivedMs`: the broker's time of the last. Without a body it is forgotten.
 */
export const Correlated = z.object({
  device: deviceId,
  rule: z.string().max(128),
  group: z.string().max(512),
  n: z.int().nonnegative(),
  receivedMs: z.int().nonnegative(),
  body: z.string().max(MAX_CORRELATED_BYTES),
});
export type Correlated = z.infer<typeof Correlated>;

/** First message on `feed/data`, possibly in several parts (`last` ends it): the cursor, alerts still inside their window, and what was seen. */
export const State = z.object({
  kind: z.literal("state"),
  session: z.string().max(36),
  /** What was asked for. */
  lane: z.int().nonnegative().optional(),
  /** Batches before this offset are decided by another lane: no alert that began there grows in this one. */
  seam: z.int().nonnegative().optional(),
  /** Offset of the first batch that was not committed. Batches below it are re-read silently. */
  cursor: z.int().nonnegative(),
  open: z.array(z.object({ detection: Detection, group: z.string().max(1024) })).max(2000),
  seen: z.array(Seen).max(5000),
  /** What Sigma correlations remember. */
  correlated: z.array(Correlated).max(5000).optional(),
  /** Incidents that may still take in alerts. */
  incidents: z.array(OpenIncident).max(2000).optional(),
  /** With the last part, of the main cursor: the lists of indicators to have before the first batch is judged. Absent: none. */
  iocs: IocManifest.optional(),
  last: z.boolean(),
});
export type State = z.infer<typeof State>;

/** Lanes in which one detector reads at the same time, besides its main cursor. */
export const MAX_LANES = 64;

/** On `feed/data`: what is to be read on the side. Whatever is not named any more is over. */
export const Lanes = z.object({
  kind: z.literal("lanes"),
  session: z.string().max(36),
  lanes: z.array(z.int().positive()).max(2 * MAX_LANES),
});
export type Lanes = z.infer<typeof Lanes>;

/** Exceptions in one message, at most. */
export const MAX_HELD = 20;

/** On `feed/data`: exceptions that are new or have ended. Comes before any batch that one of them is for. */
export const HeldExceptions = z.object({
  kind: z.literal("exceptions"),
  session: z.string().max(36),
  exceptions: z.array(HeldException).max(MAX_HELD),
});
export type HeldExceptions = z.infer<typeof HeldExceptions>;

/** How often an exception hid a match since the last commit, and when the last such event was received. */
export const ExceptionUse = z.object({ id: z.int().positive(), count: z.int().positive(), lastMs: z.int().nonnegative() });
export type ExceptionUse = z.infer<typeof ExceptionUse>;

/** A file seen on a device, by its hash. Only the first of each device and hash counts. */
export const Sighting = z.object({
  device: deviceId,
  sha256,
  path: z.string().max(4096),
  /** It was run, not just written. */
  executed: z.boolean(),
  /** Id of the event that says so. */
  event: z.string().max(160),
  timeMs: z.int().nonnegative(),
  process: Process.optional(),
});
export type Sighting = z.infer<typeof Sighting>;

/** A file rule that matched, as far as an alert needs it. */
export const SampleMatch = z.object({
  rule: z.string().max(128),
  title: z.string().max(256),
  author: z.string().max(256).optional(),
  severity: Severity,
  score: z.int().min(0).max(100),
  attack: z.object({ tactics: z.array(z.string().max(64)).max(16), techniques: z.array(z.string().max(16)).max(32) }),
  /** What in the file matched. */
  why: z.string().max(300),
});
export type SampleMatch = z.infer<typeof SampleMatch>;

/** What the rules of one pack say of a file, kept by hash for the whole site. */
export const SampleVerdict = z.object({
  sha256,
  pack: z.string().min(1).max(64),
  matches: z.array(SampleMatch).max(64),
  /** Set: the file could not be judged, and nothing is known of it. */
  error: z.string().max(300).optional(),
});
export type SampleVerdict = z.infer<typeof SampleVerdict>;

/** Pieces of a sample on `feed/data`; the next sample comes after the verdict on this one. */
export const MAX_PIECE_BYTES = 1 << 20;

/** Header line on `feed/data`: the bytes of a file from `offset` on follow it. */
export const SamplePiece = z.object({
  kind: z.literal("sample"),
  session: z.string().max(36),
  sha256,
  size: z.int().min(1).max(MAX_SAMPLE_BYTES),
  offset: z.int().min(0).max(MAX_SAMPLE_BYTES),
});
export type SamplePiece = z.infer<typeof SamplePiece>;

/** On `feed/data`: devices that hold a file known to be bad, and for which no alert was decided under this verdict. */
export const SampleNews = z.object({
  kind: z.literal("verdict"),
  session: z.string().max(36),
  verdict: SampleVerdict,
  sightings: z.array(Sighting).min(1).max(32),
});
export type SampleNews = z.infer<typeof SampleNews>;

/** Header line of a batch on `feed/data`; the batch follows as it came from the device. */
export const DataHeader = z.object({
  kind: z.literal("batch"),
  session: z.string().max(36),
  offset: z.int().nonnegative(),
  receivedMs: z.int().nonnegative(),
});
export type DataHeader = z.infer<typeof DataHeader>;

/** One batch for `feed/data`: header line, then the stored bytes unchanged. */
export const encodeData = (header: DataHeader, batch: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), batch]);

/** One piece of a sample for `feed/data`. */
export const encodePiece = (header: SamplePiece, bytes: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), bytes]);

export type Data =
  | { readonly state: State }
  | { readonly lanes: Lanes }
  | { readonly exceptions: HeldExceptions }
  | { readonly carried: CarriedPack }
  | { readonly header: DataHeader; readonly batch: Uint8Array }
  | { readonly piece: SamplePiece; readonly bytes: Uint8Array }
  | { readonly news: SampleNews }
  | { readonly ioc: IocData; readonly bytes: Uint8Array };

/** Reads a `feed/data` payload. Throws when the first line is none of these. */
export function decodeData(payload: Uint8Array): Data {
  const end = payload.indexOf(0x0a);
  const line: unknown = JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, end < 0 ? payload.length : end).toString());
  const kind = typeof line === "object" && line !== null && "kind" in line ? line.kind : undefined;
  if (kind === "state") return { state: State.parse(line) };
  if (kind === "lanes") return { lanes: Lanes.parse(line) };
  if (kind === "exceptions") return { exceptions: HeldExceptions.parse(line) };
  if (kind === "pack") return { carried: CarriedPack.parse(line) };
  if (kind === "verdict") return { news: SampleNews.parse(line) };
  if (kind === "iocs" || kind === "ioc" || kind === "past" || kind === "past-page")
    return { ioc: IocData.parse(line), bytes: payload.subarray(end + 1) };
  if (kind === "sample") return { piece: SamplePiece.parse(line), bytes: payload.subarray(end + 1) };
  return { header: DataHeader.parse(line), batch: payload.subarray(end + 1) };
}

/** Canaries in one commit, at most: of more devices, the rest comes with the next. */
export const MAX_CANARIES = 1000;
/** Sightings in one commit, at most. */
export const MAX_SIGHTINGS = 2000;

/** `feed/commit`: everything decided up to `next`, stored by the broker in one transaction; its PUBACK means it is on disk. */
export const Commit = z.object({
  session: z.string().max(36),
  /** Devices whose canary came through, and when the broker received it. */
  canaries: z
    .array(z.object({ device: deviceId, receivedMs: z.int().nonnegative() }))
    .max(MAX_CANARIES)
    .optional(),
  /** Offset of the next batch the detector has not decided. */
  next: z.int().nonnegative(),
  alerts: z.array(z.object({ detection: Detection, group: z.string().max(1024) })).max(1000),
  seen: z.array(Seen).max(5000),
  correlated: z.array(Correlated).max(50_000).optional(),
  /** Incidents that alerts of this commit belong to, or of which more is known now. */
  incidents: z.array(IncidentReport).max(2000).optional(),
  sightings: z.array(Sighting).max(MAX_SIGHTINGS).optional(),
  /** Files that were scanned. */
  verdicts: z.array(SampleVerdict).max(16).optional(),
  /** Sightings whose alerts are in this commit. */
  judged: z
    .array(z.object({ device: deviceId, sha256, pack: z.string().max(64) }))
    .max(256)
    .optional(),
  /** Matches that exceptions hid. */
  excepted: z.array(ExceptionUse).max(2000).optional(),
  /** What a search of the past for new indicators found. */
  past: PastCommit.optional(),
  /** How often rules matched. */
  matched: z.array(RuleMatches).max(MAX_RULE_USES).optional(),
  muted: z.array(RuleMuted).max(MAX_RULE_USES).optional(),
  /** Devices that hold up the others: what this commit has not decided of them is read in lanes of their own. */
  aside: z.array(deviceId).max(MAX_LANES).optional(),
  /** Events read and events refused (not valid) since the last commit. */
  read: z.int().nonnegative(),
  refused: z.int().nonnegative(),
});
export type Commit = z.infer<typeof Commit>;
