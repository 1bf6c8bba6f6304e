// The bytes of a file, from the device that reported its hash to the site: `.../want` asks, `.../sample` answers.

import * as z from "zod";
import { sha256 } from "./names.ts";
import { tryParse } from "./try-parse.ts";

/** Larger files are neither hashed nor sent. */
export const MAX_SAMPLE_BYTES = 32 << 20;
/** Largest piece of a file in one message. */
export const MAX_CHUNK_BYTES = 256 << 10;

const offset = z.int().min(0).max(MAX_SAMPLE_BYTES);

/**
 * Asks for a file by the hash that this device itself reported; there is no way to name a path. The device sends what follows `offset`, one
 * message after another, each acknowledged before the next. Asking again replaces what was asked before.
 */
export const SampleWant = z.object({
  sha256,
  offset,
  /** A larger file is not wanted. */
  maxBytes: z.int().min(1).max(MAX_SAMPLE_BYTES),
});
export type SampleWant = z.infer<typeof SampleWant>;

/** Why a device sends nothing: it did not report this hash, the file is gone or was changed since, or it is larger than wanted. */
export const noSample = ["unknown", "gone", "too-big"] as const;

/** First line of a `.../sample` payload; the bytes of a chunk follow it. */
export const SampleHeader = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("chunk"), sha256, offset, size: z.int().min(1).max(MAX_SAMPLE_BYTES) }),
  z.object({ kind: z.literal("none"), sha256, why: z.enum(noSample) }),
]);
export type SampleHeader = z.infer<typeof SampleHeader>;

const MAX_HEADER_BYTES = 1024;
const nothing = new Uint8Array(0);

export const encodeSample = (header: SampleHeader, bytes: Uint8Array = nothing): Buffer =>
  Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), bytes]);

/** Reads a `.../sample` payload. Throws what a dead letter should say when it is none, or a chunk that is empty or beyond its own file. */
export function decodeSample(payload: Uint8Array): { header: SampleHeader; bytes: Uint8Array } {
  const end = payload.subarray(0, MAX_HEADER_BYTES).indexOf(0x0a);
  if (end < 0) throw new Error(`no header line in the first ${MAX_HEADER_BYTES} bytes`);
  const read = tryParse(SampleHeader, parse(payload.subarray(0, end)));
  if (!read.success) throw new Error(`header: ${z.prettifyError(read.error).slice(0, 300)}`);
  const header = read.data;
  const bytes = payload.subarray(end + 1);
  if (header.kind === "chunk") {
    if (bytes.length === 0 || bytes.length > MAX_CHUNK_BYTES) throw new Error(`a chunk of ${bytes.length} bytes`);
    if (header.offset + bytes.length > header.size) throw new Error("a chunk beyond the end of its file");
  } else if (bytes.length > 0) throw new Error("bytes where none were announced");
  return { header, bytes };
}

function parse(line: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(line).toString());
  } catch {
    throw new Error("the header is not JSON");
  }
}
