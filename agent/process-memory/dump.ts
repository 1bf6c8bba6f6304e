// Copies what is in a process' memory into a file, without stopping it. What it changes meanwhile may be torn; nothing of it is written.
import { type FileHandle, open } from "node:fs/promises";
import { encodeTable, MAX_PLACES, type Place } from "@picket/protocol/memory";
import { MAX_SAMPLE_BYTES } from "@picket/protocol/samples";
import { filledRuns, type Region, regionsOf } from "./regions.ts";

/** Pages looked at with one read of the page map. */
const LOOK_PAGES = 8192;
/** Pages looked at in all: a program may reserve terabytes that hold nothing. 16 GiB of small pages. */
const MAX_LOOKED_PAGES = 4 << 20;
/** Beyond it no number is exact; no program has memory there unless it asks for it. */
const MAX_ADDRESS = Number.MAX_SAFE_INTEGER;
const CHUNK_BYTES = 1 << 18;
/** Left for the table behind the pages. */
const TABLE_BYTES = 512 << 10;
const MAX_PAGES_BYTES = MAX_SAMPLE_BYTES - TABLE_BYTES;

export type Dump = {
  readonly sha256: string;
  /** Of the file. */
  readonly size: number;
  /** Of memory, in it. */
  readonly bytes: number;
  readonly places: number;
  /** Something that was to be looked at did not fit. */
  readonly leftOut: boolean;
};

/** Writes the memory of `pid` and where it lay to `path` (0600, new). Undefined when nothing of it can be read. Rejects with the kernel's error when the process may not be read, or is gone. */
export async function dumpMemory(pid: number, path: string, maxBytes = MAX_PAGES_BYTES): Promise<Dump | undefined> {
  const maps = await Bun.file(`/proc/${pid}/maps`).text();
  await using mem = await open(`/proc/${pid}/mem`, "r");
  await using pagemap = await open(`/proc/${pid}/pagemap`, "r");
  await using out = await open(path, "wx", 0o600);
  const hasher = new Bun.CryptoHasher("sha256");
  const places: Place[] = [];
  const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  let bytes = 0;
  let leftOut = false;
  const write = async (piece: Uint8Array) => {
    await out.appendFile(piece);
    hasher.update(piece);
  };
  for await (const { start, size, what } of filled(pagemap, regionsOf(maps))) {
    const room = maxBytes - bytes;
    if (room <= 0 || places.length >= MAX_PLACES) {
      leftOut = true;
      break;
    }
    if (size > room) leftOut = true;
    let read = 0;
    for (const most = Math.min(size, room); read < most; ) {
      const piece = await readMemory(mem, buffer, start + read, Math.min(CHUNK_BYTES, most - read));
      if (piece.length === 0) break;
      await write(piece);
      read += piece.length;
    }
    if (read > 0) places.push({ address: start.toString(16), size: read, what });
    bytes += read;
  }
  if (bytes === 0) return undefined;
  const table = encodeTable(places);
  await write(table);
  return { sha256: hasher.digest("hex"), size: bytes + table.length, bytes, places: places.length, leftOut };
}

type Run = { readonly start: number; readonly size: number; readonly what: string };

/** What of the regions holds something, in their order. */
async function* filled(pagemap: FileHandle, regions: readonly Region[]): AsyncGenerator<Run> {
  const page = await pageSize();
  let looked = 0;
  const entries = Buffer.from(new ArrayBuffer(LOOK_PAGES * 8));
  for (const { start, end, what } of regions) {
    for (let at = start; at < end && end <= MAX_ADDRESS && looked < MAX_LOOKED_PAGES; ) {
      const want = Math.min(LOOK_PAGES, (end - at) / page);
      const { bytesRead } = await pagemap.read(entries, 0, want * 8, (at / page) * 8);
      const pages = Math.floor(bytesRead / 8);
      if (pages === 0) break;
      looked += pages;
      for (const { from, to } of filledRuns(new BigUint64Array(entries.buffer, 0, pages)))
        yield { start: at + from * page, size: (to - from) * page, what };
      at += pages * page;
    }
  }
}

const AT_PAGESZ = 6n;

/** Of this machine, as the kernel told this process (getauxval(3)). Bytes. */
async function pageSize(): Promise<number> {
  const entries = new BigUint64Array(await Bun.file("/proc/self/auxv").arrayBuffer());
  for (let at = 0; at + 1 < entries.length; at += 2) if (entries[at] === AT_PAGESZ) return Number(entries[at + 1]);
  throw new Error("the kernel does not tell its page size in /proc/self/auxv");
}

/** Empty where the process has let it go meanwhile. */
async function readMemory(mem: FileHandle, buffer: Buffer, address: number, size: number): Promise<Buffer> {
  try {
    const { bytesRead } = await mem.read(buffer, 0, size, address);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EIO" || code === "EFAULT") return buffer.subarray(0, 0);
    throw error;
  }
}
