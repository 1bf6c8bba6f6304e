// The payload of `.../events`: one line of JSON header, then one zstd frame of NDJSON. The header can be read, and a duplicate dropped, without inflating anything.

import * as z from "zod";
import { type Accept, accepter, objectAccepter } from "./accept.ts";
import { BadBatch, BatchHeader, MAX_BATCH_EVENTS } from "./batch-encode.ts";
import { Hit, Process, SensorEvent } from "./event.ts";
import { tryParse } from "./try-parse.ts";
import { BadFrame, readFrame } from "./zstd-frame.ts";

export { BadBatch, BatchHeader, encodeBatch, MAX_BATCH_BYTES, MAX_BATCH_EVENTS } from "./batch-encode.ts";

/** Largest inflated size a reader accepts. An agent sends less than 1 MiB; what a message may unfold into is what a stolen device can make the site read. */
export const MAX_INFLATED_BYTES = 4 << 20;
const MAX_HEADER_BYTES = 8192;
/** One event as JSON: with every text at its limit it has 2.3 MB. Kernel and agent cut long before. */
const MAX_LINE_BYTES = 3 << 20;
const PLAIN_LINE_BYTES = 4096;
/** An event nests six deep. */
const MAX_DEPTH = 32;

/** Events a header announces. */
export const countOf = (header: BatchHeader) => header.runs.reduce((sum, [, count]) => sum + count, 0);

/** Splits header and compressed body, checking the header only. Throws `BadBatch`. */
export function openBatch(bytes: Uint8Array): { header: BatchHeader; body: Uint8Array } {
  const end = bytes.subarray(0, MAX_HEADER_BYTES).indexOf(0x0a);
  if (end < 0) throw new BadBatch(`no header line in the first ${MAX_HEADER_BYTES} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, end).toString());
  } catch {
    throw new BadBatch("the header is not JSON");
  }
  const header = readHeader(json);
  if (countOf(header) > MAX_BATCH_EVENTS) throw new BadBatch(`more than ${MAX_BATCH_EVENTS} events announced`);
  let next = 0;
  for (const [start, count] of header.runs) {
    if (start < next) throw new BadBatch("runs overlap or go back");
    next = start + count;
    // Beyond 2^53 a number plus one is the same number, and whoever counts through the run would never end.
    if (!Number.isSafeInteger(next)) throw new BadBatch("a run ends beyond what can be counted");
  }
  return { header, body: bytes.subarray(end + 1) };
}

const acceptHeader = accepter(BatchHeader);

function readHeader(json: unknown): BatchHeader {
  if (acceptHeader(json)) return json as BatchHeader;
  const header = tryParse(BatchHeader, json);
  if (!header.success) throw new BadBatch(`header: ${z.prettifyError(header.error).slice(0, 300)}`);
  return header.data;
}

/** What the body unfolds into, as it says itself; undefined when it is no batch. Nothing is inflated for it. */
export function inflatedBytesOf(bytes: Uint8Array): number | undefined {
  const end = bytes.subarray(0, MAX_HEADER_BYTES).indexOf(0x0a);
  try {
    return end < 0 ? undefined : sizeOf(bytes.subarray(end + 1));
  } catch {
    return undefined;
  }
}

/** Throws `BadBatch`. */
function sizeOf(body: Uint8Array): number {
  try {
    const { contentBytes } = readFrame(body);
    if (contentBytes > 0 && contentBytes <= MAX_INFLATED_BYTES) return contentBytes;
    throw new BadBatch(`body: unfolds into ${contentBytes} bytes, 1 to ${MAX_INFLATED_BYTES} are allowed`);
  } catch (error) {
    throw error instanceof BadFrame ? new BadBatch(`body: ${error.message}`) : error;
  }
}

/** Inflates the body. Throws `BadBatch`; a zip bomb is refused by what it says of itself, and held to it. */
export function inflateBatch(body: Uint8Array): Buffer {
  const size = sizeOf(body);
  let inflated: Buffer;
  try {
    // Takes as much memory as the frame says, which is known to be little. A fifth of what node:zlib's costs for a small batch.
    inflated = Bun.zstdDecompressSync(body);
  } catch (error) {
    throw new BadBatch(`body: ${error instanceof Error ? error.message : "not zstd"}`);
  }
  if (inflated.length !== size) throw new BadBatch(`body: ${size} bytes announced, ${inflated.length} unfolded`);
  return inflated;
}

/**
 * Counts the lines of an inflated body, without making strings. Throws `BadBatch` when one is too long, or nests so deep that reading it
 * would take seconds and hundreds of megabytes: no event comes near either.
 */
export function countLines(inflated: Uint8Array): number {
  let count = 0;
  for (let start = 0; start < inflated.length; count++) {
    const found = inflated.indexOf(0x0a, start);
    const end = found < 0 ? inflated.length : found;
    if (end - start > MAX_LINE_BYTES)
      throw new BadBatch(`line ${count + 1} has ${end - start} bytes, at most ${MAX_LINE_BYTES} are allowed`);
    // A short line cannot nest deeper than is harmless.
    if (end - start > PLAIN_LINE_BYTES && depthOf(inflated, start, end) > MAX_DEPTH)
      throw new BadBatch(`line ${count + 1} nests deeper than ${MAX_DEPTH}`);
    start = end + 1;
    // A newline at the end begins another line, which is empty.
    if (found >= 0 && start === inflated.length) return count + 2;
  }
  return count;
}

/** How deep arrays and objects nest in the JSON at [start, end); more than `MAX_DEPTH` is not counted on. RFC 8259. */
function depthOf(bytes: Uint8Array, start: number, end: number): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let at = start; at < end && deepest <= MAX_DEPTH; at++) {
    const byte = bytes[at];
    if (quoted) {
      if (byte === 0x5c) at++;
      else if (byte === 0x22) quoted = false;
    } else if (byte === 0x22) quoted = true;
    else if (byte === 0x5b || byte === 0x7b) deepest = Math.max(deepest, ++depth);
    else if (byte === 0x5d || byte === 0x7d) depth--;
  }
  return deepest;
}

// A key, since a quote inside of a string would be escaped.
const timeKey = /"timeMs":(-?\d{1,16})/;
/** The time of the first event of an inflated batch, which is told in full. */
export function firstTime(inflated: Buffer): number | undefined {
  const end = inflated.indexOf(0x0a);
  const digits = timeKey.exec(inflated.toString("utf8", 0, end < 0 ? inflated.length : end))?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/**
 * The events of a batch. A line that is not a known, valid event is left out and counted in `refused`:
 * its number stays used, and a newer agent's event does not hide its neighbours.
 */
export function decodeBatch(bytes: Uint8Array): { header: BatchHeader; events: SensorEvent[]; refused: number } {
  const { header, body } = openBatch(bytes);
  const inflated = inflateBatch(body);
  const found = countLines(inflated);
  if (found !== countOf(header)) throw new BadBatch(`${countOf(header)} events announced, ${found} lines found`);
  const lines = inflated.toString("utf8").split("\n");
  const events: SensorEvent[] = [];
  const processes: Processes = { values: [], accepted: new Set() };
  let refused = 0;
  let previousMs = 0;
  let line = 0;
  for (const [start, count] of header.runs) {
    for (let seq = start; seq < start + count; seq++, line++) {
      const json = parseLine(lines[line]!, processes);
      if (typeof json?.timeMs === "number") previousMs += json.timeMs;
      const event = json && readEvent(json, header, seq, previousMs, processes);
      if (event) events.push(event);
      else refused++;
    }
  }
  return { header, events, refused };
}

type Line = { type?: unknown; timeMs?: unknown; p?: unknown; body?: { process?: unknown }; hits?: unknown };

/** Processes of a batch by number, and those already found valid: a process is checked once, however many lines are about it. */
type Processes = { readonly values: unknown[]; readonly accepted: Set<unknown> };

/** One line as an object, its process put back; undefined when it is no JSON object. A line whose process is not there keeps no body. */
function parseLine(line: string, processes: Processes): Line | undefined {
  let json: Line | null;
  try {
    json = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) return undefined;
  if (json.p === undefined) {
    if (json.body?.process !== undefined) processes.values.push(json.body.process);
    return json;
  }
  const process = typeof json.p === "number" ? processes.values[json.p] : undefined;
  if (process === undefined) return { timeMs: json.timeMs };
  if (isRecord(json.body)) json.body.process = process;
  else json.body = { process };
  return json;
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

const acceptProcess = accepter(Process);
const acceptHits = accepter(Hit.array().max(64));
/** Bodies by event type, less their process, which is checked apart. */
const acceptBody = new Map<unknown, { readonly rest: Accept; readonly process: "none" | "maybe" | "always" }>(
  SensorEvent.options.map(({ shape: { type, body } }) => {
    const process = (body.shape as Record<string, z.ZodType>).process;
    const kind = process === undefined ? "none" : process === Process ? "always" : "maybe";
    return [type.value, { rest: objectAccepter(body, "process"), process: kind }];
  }),
);

/** A valid event, or undefined. What is plainly right is taken as it is; all else is zod's to judge. Identity and number come from the header. */
function readEvent(json: Line, { device, epoch }: BatchHeader, seq: number, timeMs: number, processes: Processes): SensorEvent | undefined {
  if (isPlain(json, timeMs, processes)) {
    const { type, body, hits } = json;
    return (
      hits === undefined ? { v: 1, device, epoch, seq, timeMs, type, body } : { v: 1, device, epoch, seq, timeMs, type, body, hits }
    ) as SensorEvent;
  }
  const event = tryParse(SensorEvent, { ...json, v: 1, device, epoch, seq, timeMs });
  return event.success ? event.data : undefined;
}

function isPlain(json: Line, timeMs: number, processes: Processes): boolean {
  const accept = acceptBody.get(json.type);
  if (!accept || !isRecord(json.body) || !Number.isSafeInteger(timeMs) || timeMs < 0) return false;
  // Type, timeMs, body, and what else is known: a key too many is zod's to drop.
  let unknown = -3 - (json.p === undefined ? 0 : 1) - (json.hits === undefined ? 0 : 1);
  for (const _ in json) unknown++;
  if (unknown !== 0 || json.timeMs === undefined) return false;
  if (json.hits !== undefined && !acceptHits(json.hits)) return false;
  const { process } = json.body;
  if (process === undefined ? accept.process === "always" : accept.process === "none") return false;
  if (process !== undefined && !processes.accepted.has(process)) {
    if (!acceptProcess(process)) return false;
    processes.accepted.add(process);
  }
  return accept.rest(json.body);
}
