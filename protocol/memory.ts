// The memory of a process as a sample: its pages one after another, then a table of where they lay, so that a place in the sample is a place in the process.
import * as z from "zod";
import { tryParse } from "./try-parse.ts";

export const MAX_PLACES = 4096;
/** The path under which a device reports such a sample. No file that is hashed lies below /proc. */
export const memoryPath = (pid: number): string => `/proc/${pid}/mem`;
const path = /^\/proc\/(\d{1,10})\/mem$/;

/** The process whose memory a path names; undefined for a file. */
export const pidOfMemory = (of: string): number | undefined => {
  const pid = path.exec(of)?.[1];
  return pid === undefined ? undefined : Number(pid);
};

const Place = z.object({
  /** Hex, without 0x. */
  address: z.string().regex(/^[0-9a-f]{1,16}$/),
  size: z.int().positive(),
  /** Rights and name: "rwx anonymous". */
  what: z.string().max(80),
});
export type Place = z.infer<typeof Place>;
const Table = z.array(Place).min(1).max(MAX_PLACES);

const HEAD = Buffer.from("\npicket-memory 1 ");
/** No table is longer. */
const MAX_TABLE_BYTES = 512 << 10;

/** What follows the pages: a line feed, a word, and the places as JSON, in the order of the pages. */
export const encodeTable = (places: readonly Place[]): Buffer => Buffer.concat([HEAD, Buffer.from(JSON.stringify(places))]);

/** Where the pages of a sample lay; undefined for what is no memory. Anybody can write such a file: it changes the words of an alert, never what is scanned. */
export function readTable(bytes: Uint8Array): readonly Place[] | undefined {
  const tail = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).subarray(-MAX_TABLE_BYTES);
  if (tail.at(-1) !== 0x5d) return undefined;
  const at = tail.lastIndexOf(HEAD);
  if (at < 0) return undefined;
  const read = tryParse(Table, parse(tail.subarray(at + HEAD.length).toString("utf8")));
  if (!read.success) return undefined;
  const size = bytes.length - (tail.length - at);
  return read.data.reduce((sum, place) => sum + place.size, 0) === size ? read.data : undefined;
}

/** `0x7f12a010 (rwx anonymous)` of a place in the sample. */
export function addressOf(places: readonly Place[], offset: number): string | undefined {
  let before = 0;
  for (const { address, size, what } of places) {
    if (offset < before + size) return `0x${(BigInt(`0x${address}`) + BigInt(offset - before)).toString(16)} (${what})`;
    before += size;
  }
  return undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
