// A disk with a write cache that forgets: what was written and not flushed lies in memory, and a loss of power takes some of it.
import { closeSync, copyFileSync, fstatSync, openSync, readSync, writeSync } from "node:fs";

/** A disk writes a sector whole or not at all. */
export const SECTOR = 512;
/** A full cache is written back, as a disk does it by itself. */
const CACHE_BYTES = 64 << 20;

/** What a cut did: writes that nobody had asked to be safe. */
export type Cut = { readonly unflushed: number; readonly lost: number /** Written in part. */; readonly torn: number };

export type Disk = Disposable & {
  readonly sizeBytes: number;
  /** How often somebody asked for all to be safe. */
  flushes(): number;
  /** Writes that are not safe. */
  unflushed(): number;
  /** Offsets and lengths of all calls are whole sectors within the disk. */
  read(offset: number, length: number): Uint8Array;
  /** Takes the bytes over. `sure`: safe when this returns, whatever becomes of what was written before (FUA). */
  write(offset: number, bytes: Uint8Array, sure: boolean): void;
  /** All that was written before is safe when this returns. */
  flush(): void;
  /**
   * The power fails. Of what is not safe, each write is kept or lost by itself, whatever the order they came in, and one that is longer than a sector is torn.
   * How many are kept is drawn as well: from all to none.
   */
  cut(random: () => number): Cut;
  /** Copies the disk as it would be now if all that was written were safe. */
  copy(path: string): void;
};

type Write = { readonly offset: number; readonly bytes: Uint8Array; readonly sure: boolean };

/** Opens an image whose size is a number of whole sectors. A disk that `lies` says that it has flushed and has not: at a cut the last of all that was written is gone, in order. */
export function openDisk(path: string, lies = false): Disk {
  const file = openSync(path, "r+");
  const sizeBytes = fstatSync(file).size;
  const pending: Write[] = [];
  let pendingBytes = 0;
  let flushes = 0;
  /** The newest of each sector that is not safe. */
  const newest = new Map<number, Uint8Array>();
  const put = ({ offset, bytes }: Pick<Write, "offset" | "bytes">) => {
    for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done, bytes.length - done, offset + done);
  };
  const forget = () => {
    pending.length = 0;
    pendingBytes = 0;
    newest.clear();
  };
  const settle = () => {
    for (const write of pending) put(write);
    forget();
  };
  return {
    sizeBytes,
    flushes: () => flushes,
    unflushed: () => pending.reduce((sum, { sure }) => sum + (sure ? 0 : 1), 0),
    read: (offset, length) => {
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length; ) done += readSync(file, bytes, done, length - done, offset + done);
      if (newest.size > 0)
        for (let at = 0; at < length; at += SECTOR) {
          const sector = newest.get((offset + at) / SECTOR);
          if (sector) bytes.set(sector, at);
        }
      return bytes;
    },
    write: (offset, bytes, sure) => {
      // A sure write waits in order too, so that what was written before it cannot come out on top of it.
      pending.push({ offset, bytes, sure });
      pendingBytes += bytes.length;
      for (let at = 0; at < bytes.length; at += SECTOR) newest.set((offset + at) / SECTOR, bytes.subarray(at, at + SECTOR));
      if (pendingBytes > CACHE_BYTES) settle();
    },
    flush: () => {
      if (!lies) settle();
      flushes++;
    },
    cut: (random) => {
      const share = random();
      const unflushed = pending.filter(({ sure }) => !sure).length;
      const isKept = pending.map(({ sure }, at) => sure || (lies ? at < share * pending.length : random() < share));
      const tearable = pending.flatMap(({ sure, bytes }, at) => (!sure && !lies && bytes.length > SECTOR ? [at] : []));
      const torn = tearable[Math.floor(random() * tearable.length)];
      for (const [at, write] of pending.entries()) {
        if (at === torn) put({ ...write, bytes: beginning(write.bytes, random()) });
        else if (isKept[at]) put(write);
      }
      const lost = isKept.filter((kept, at) => !kept && at !== torn).length;
      const cut = { unflushed, lost, torn: torn === undefined ? 0 : 1 };
      forget();
      return cut;
    },
    copy: (to) => {
      copyFileSync(path, to);
      const copy = openSync(to, "r+");
      for (const { offset, bytes } of pending) writeSync(copy, bytes, 0, bytes.length, offset);
      closeSync(copy);
    },
    [Symbol.dispose]: () => closeSync(file),
  };
}

/** At least one sector of a longer write, and at least one less than all. */
function beginning(bytes: Uint8Array, random: number): Uint8Array {
  const sectors = bytes.length / SECTOR;
  return bytes.subarray(0, (1 + Math.floor(random * (sectors - 1))) * SECTOR);
}
