// How the detector reads the broker's log and answers. The broker is the only place with state of record.
import * as z from "zod";
import { Detection } from "./alert.ts";
import { deviceId } from "./names.ts";

/**
 * How far before its cursor the detector silently re-reads at start, so that correlation windows are full again. Milliseconds.
 * No window of a rule or chain may be longer.
 */
export const LOOKBACK_MS = 10 * 60_000;

/**
 * `feed/want`. "hello" begins a session: the broker answers with a `State`, then sends from the lookback on.
 * "more" grants `credits` further batches; the broker never sends more than it was granted.
 */
export const Want = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("hello"), credits: z.int().positive().max(1024) }),
  z.object({ kind: z.literal("more"), session: z.string().max(36), credits: z.int().positive().max(1024) }),
]);
export type Want = z.infer<typeof Want>;

/** How often a key (such as device, parent and child) was seen; kept at the broker, so that a restart does not make everything rare again. */
export const Seen = z.object({ device: deviceId, kind: z.string().max(32), key: z.string().max(1024), count: z.int().positive() });
export type Seen = z.infer<typeof Seen>;

/** First message on `feed/data`, possibly in several parts (`last` ends it): the cursor, alerts still inside their window, and what was seen. */
export const State = z.object({
  kind: z.literal("state"),
  session: z.string().max(36),
  /** Offset of the first batch that was not committed. Batches below it are re-read silently. */
  cursor: z.int().nonnegative(),
  open: z.array(z.object({ detection: Detection, group: z.string().max(1024) })).max(2000),
  seen: z.array(Seen).max(5000),
  last: z.boolean(),
});
export type State = z.infer<typeof State>;

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

/** Reads a `feed/data` payload. Throws when the first line is neither a state nor a batch header. */
export function decodeData(payload: Uint8Array): { state: State } | { header: DataHeader; batch: Uint8Array } {
  const end = payload.indexOf(0x0a);
  const line: unknown = JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, end < 0 ? payload.length : end).toString());
  if (typeof line === "object" && line !== null && "kind" in line && line.kind === "state") return { state: State.parse(line) };
  return { header: DataHeader.parse(line), batch: payload.subarray(end + 1) };
}

/** `feed/commit`: everything decided up to `next`, stored by the broker in one transaction; its PUBACK means it is on disk. */
export const Commit = z.object({
  session: z.string().max(36),
  /** Offset of the next batch the detector has not decided. */
  next: z.int().nonnegative(),
  alerts: z.array(z.object({ detection: Detection, group: z.string().max(1024) })).max(1000),
  seen: z.array(Seen).max(5000),
  /** Events read and events refused (not valid) since the last commit. */
  read: z.int().nonnegative(),
  refused: z.int().nonnegative(),
});
export type Commit = z.infer<typeof Commit>;
