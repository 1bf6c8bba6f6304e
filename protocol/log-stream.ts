// `GET /v1/log`: the stored batches of a range, as they lie. Each frame is its length (4 bytes, big endian), a line of JSON, and for a batch its bytes.
import * as z from "zod";
import { MAX_BATCH_BYTES } from "./batch-encode.ts";
import { deviceId } from "./names.ts";

export const LOG_PATH = "/v1/log";

/** Longest frame: a batch and its line. */
const MAX_FRAME_BYTES = MAX_BATCH_BYTES + 8192;

export const LogQuery = z.object({
  /** Received then or later, milliseconds; default: all that is kept. */
  sinceMs: z.coerce.number().int().nonnegative().optional(),
  device: deviceId.optional(),
});
export type LogQuery = z.infer<typeof LogQuery>;

const count = z.int().nonnegative();

/** First what is to come, then each batch, then the end. Without an end it was cut. */
export const LogItem = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("range"), from: count, to: count, batches: count, events: count }),
  z.object({ kind: z.literal("batch"), offset: count, receivedMs: count }),
  z.object({ kind: z.literal("end") }),
]);
export type LogItem = z.infer<typeof LogItem>;

export type LogFrame = { readonly item: LogItem; readonly batch: Uint8Array };

export function encodeLogFrame(item: LogItem, batch: Uint8Array = new Uint8Array()): Buffer {
  const line = Buffer.from(`${JSON.stringify(item)}\n`);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(line.length + batch.length);
  return Buffer.concat([length, line, batch]);
}

/** The frames of a stream of bytes. Throws on what is none, and when the stream ends within one. */
export async function* readLogFrames(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<LogFrame> {
  let parts: Uint8Array[] = [];
  let size = 0;
  let needed = 4;
  for await (const part of bytes) {
    parts.push(part);
    size += part.length;
    if (size < needed) continue;
    let rest = Buffer.concat(parts, size);
    for (needed = neededOf(rest); rest.length >= needed && needed > 4; needed = neededOf(rest)) {
      yield frameOf(rest.subarray(4, needed));
      rest = rest.subarray(needed);
    }
    parts = [rest];
    size = rest.length;
  }
  if (size > 0) throw new Error("the log was cut in the middle of a batch");
}

/** Bytes of the first frame with its length; 4 while that is not known. */
function neededOf(bytes: Buffer): number {
  if (bytes.length < 4) return 4;
  const length = bytes.readUInt32BE(0);
  if (length < 2 || length > MAX_FRAME_BYTES) throw new Error(`a frame of ${length} bytes is no part of a log`);
  return 4 + length;
}

function frameOf(frame: Buffer): LogFrame {
  const end = frame.indexOf(0x0a);
  return { item: LogItem.parse(JSON.parse(frame.toString("utf8", 0, Math.max(0, end)))), batch: frame.subarray(end + 1) };
}
