// The kernel's ring buffer, read in place: no call and no copy per record (Documentation/bpf/ringbuf.rst in the Linux source).
import { type Pointer, toArrayBuffer } from "bun:ffi";
import { mapMemory, pageSize, unmapMemory } from "./libc.ts";

const HEADER_BYTES = 8;
const BUSY = 0x80000000;
const DISCARDED = 0x40000000;

/** `length` bytes of the ring from `offset`, in place; a copy of those that go on at its beginning. */
export function recordAt(ring: ArrayBuffer, offset: number, length: number): DataView {
  const over = offset + length - ring.byteLength;
  if (over <= 0) return new DataView(ring, offset, length);
  const whole = new Uint8Array(length);
  whole.set(new Uint8Array(ring, offset));
  whole.set(new Uint8Array(ring, 0, over), length - over);
  return new DataView(whole.buffer);
}

/** A ring the kernel accepts: a power of two, at least a page. */
export function ringBytes(wanted: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(wanted, pageSize())));
}

export class Ring {
  readonly #size: number;
  readonly #page = pageSize();
  readonly #ours: Pointer;
  readonly #theirs: Pointer;
  readonly #consumer: BigUint64Array;
  readonly #producer: BigUint64Array;
  readonly #buffer: ArrayBuffer;
  readonly #data: DataView;
  readonly #fence = new Int32Array(1);
  #closed = false;
  #draining = false;

  /** `size` is the map's max_entries, bytes. */
  constructor(fd: number, size: number) {
    this.#size = size;
    // Our position is in a page we may write. The kernel's page and the data follow, read-only. The kernel offers the data twice in a row, so that
    // no record is cut in two; the second time counts as memory of ours again, and a cut record is rare.
    this.#ours = mapMemory(fd, 0, this.#page, true);
    this.#theirs = mapMemory(fd, this.#page, this.#page + size, false);
    this.#consumer = new BigUint64Array(toArrayBuffer(this.#ours, 0, 8));
    this.#producer = new BigUint64Array(toArrayBuffer(this.#theirs, 0, 8));
    this.#buffer = toArrayBuffer(this.#theirs, this.#page, size);
    this.#data = new DataView(this.#buffer);
  }

  /**
   * Hands over at most `max` records, oldest first, each as a view that is only valid until `onRecord` returns.
   * Returns how many were taken; fewer than `max` means that the ring was empty.
   */
  drain(onRecord: (record: DataView) => void, max: number): number {
    if (this.#closed || this.#draining) return 0;
    this.#draining = true;
    try {
      return this.#drain(onRecord, max);
    } finally {
      this.#draining = false;
    }
  }

  #drain(onRecord: (record: DataView) => void, max: number): number {
    let at = Number(this.#consumer[0]);
    // Not Atomics.load: on arm64 it needs write access, and this page is read-only.
    const end = Number(this.#producer[0]);
    let taken = 0;
    while (at < end && taken < max) {
      const offset = at & (this.#size - 1);
      const header = this.#data.getUint32(offset, true);
      Atomics.add(this.#fence, 0, 1); // The barrier between a record's header and its bytes.
      if (header >= BUSY) break;
      const length = header & ~DISCARDED;
      at += (length + HEADER_BYTES + 7) & ~7;
      taken++;
      try {
        if (!(header & DISCARDED)) onRecord(recordAt(this.#buffer, (offset + HEADER_BYTES) & (this.#size - 1), length));
      } finally {
        if (!this.#closed) Atomics.store(this.#consumer, 0, BigInt(at));
      }
      if (this.#closed) break;
    }
    return taken;
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    unmapMemory(this.#ours, this.#page);
    unmapMemory(this.#theirs, this.#page + this.#size);
  }
}
