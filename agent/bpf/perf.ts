// A perf buffer of each CPU, for kernels without ring buffers, read in place (perf_event_open(2), "MMAP layout").
//
// Records come in the order of their time. What led to another record was written before it began, so it must be there when the other is: the second look at
// all buffers finds it. Only of records that two CPUs made at the same time, within microseconds, either may come first.
import { type Pointer, toArrayBuffer } from "bun:ffi";
import { Unsupported } from "../unsupported.ts";
import { record as head } from "./layout.gen.ts";
import { closeFd, errorText, mapMemory, openOutput, pageSize, unmapMemory } from "./libc.ts";
import type { Loaded } from "./load.ts";
import { recordAt, ringBytes } from "./ring.ts";

/** Of struct perf_event_mmap_page: data_head, then data_tail. */
const HEAD_AT = 1_024;
const RECORD_LOST = 2;
const RECORD_SAMPLE = 9;
/** struct perf_event_header. */
const HEADER_BYTES = 8;
/** And the length of a sample's bytes, which the header tells, too. */
const SAMPLE_AT = HEADER_BYTES + 4;
/** The longest record is 8 KiB and a little. */
const LEAST_BYTES = 1 << 14;
const ENODEV = 19;

class CpuBuffer {
  readonly #fd: number;
  readonly #size: number;
  readonly #page = pageSize();
  readonly #memory: Pointer;
  readonly #positions: BigUint64Array;
  readonly #buffer: ArrayBuffer;
  readonly #data: DataView;
  /** Where the next record is, and how far the first and the second look found some. */
  at = 0;
  sure = 0;
  seen = 0;
  /** What the kernel says that did not fit. */
  lost = 0;
  #nextNs: number | undefined;

  constructor(fd: number, size: number) {
    this.#fd = fd;
    this.#size = size;
    // Only the first page may be written to, though all are mapped alike: on the others it is a bus error.
    this.#memory = mapMemory(fd, 0, this.#page + size, true);
    this.#positions = new BigUint64Array(toArrayBuffer(this.#memory, HEAD_AT, 16));
    this.#buffer = toArrayBuffer(this.#memory, this.#page, size);
    this.#data = new DataView(this.#buffer);
  }

  /** How far the kernel has written; with the barrier that what is there can be read after. */
  written = () => Number(Atomics.load(this.#positions, 0));

  /** When the next record began, boot clock, nanoseconds; undefined when there is none. Counts what was lost on the way. */
  nextNs(): number | undefined {
    if (this.#nextNs !== undefined) return this.#nextNs;
    while (this.at < this.seen) {
      const type = this.#word(0);
      // 2^53 ns are 104 days: after that two records may differ by a nanosecond and count as the same.
      if (type === RECORD_SAMPLE) {
        this.#nextNs = this.#word(SAMPLE_AT + head.bootNs) + this.#word(SAMPLE_AT + head.bootNs + 4) * 2 ** 32;
        return this.#nextNs;
      }
      if (type === RECORD_LOST) this.lost += this.#word(HEADER_BYTES + 8) + this.#word(HEADER_BYTES + 12) * 2 ** 32;
      this.#goOn();
    }
    return undefined;
  }

  /** Hands over the record that `nextNs` found. */
  take(onRecord: (record: DataView) => void, closed: () => boolean): void {
    try {
      onRecord(recordAt(this.#buffer, (this.at + SAMPLE_AT) & (this.#size - 1), this.#length() - SAMPLE_AT));
    } finally {
      if (!closed()) this.#goOn();
    }
  }

  close(): void {
    unmapMemory(this.#memory, this.#page + this.#size);
    closeFd(this.#fd);
  }

  #word = (offset: number) => this.#data.getUint32((this.at + offset) & (this.#size - 1), true);
  #length = () => this.#data.getUint16((this.at & (this.#size - 1)) + 6, true);

  #goOn(): void {
    this.#nextNs = undefined;
    this.at += this.#length();
    Atomics.store(this.#positions, 1, BigInt(this.at));
  }
}

export class PerfBuffers {
  readonly #loaded: Loaded;
  readonly #map: number;
  readonly #byCpu = new Map<number, CpuBuffer>();
  readonly #size: number;
  #lostBefore = 0;
  #closed = false;
  #draining = false;

  /** Opens a buffer on each of `cpus` that is online, all together about `bytes` long. Throws `Unsupported` when the kernel refuses. */
  constructor(loaded: Loaded, bytes: number, cpus: readonly number[]) {
    this.#loaded = loaded;
    this.#map = loaded.mapFd("ring");
    const online = cpus.flatMap((cpu) => {
      const fd = openOutput(cpu, bytes);
      if (fd < 0 && fd !== -ENODEV) throw notAllowed(fd);
      return fd < 0 ? [] : [{ cpu, fd }];
    });
    if (online.length === 0) throw notAllowed(-ENODEV);
    this.#size = Math.max(LEAST_BYTES, ringBytes(bytes / online.length));
    for (const { cpu, fd } of online) this.#listen(cpu, fd);
  }

  /** Records that did not fit, as the kernel tells on the way. The programs count the same by kind (`lost` in maps.bpf.h). */
  get lost(): number {
    return [...this.#byCpu.values()].reduce((sum, { lost }) => sum + lost, this.#lostBefore);
  }

  /** Listens on a CPU that came, or came back, since; what it had to say until now is lost, and counted by the programs. */
  reopen(cpu: number): void {
    if (this.#closed || this.#draining) return;
    const before = this.#byCpu.get(cpu);
    const fd = openOutput(cpu, this.#size);
    if (fd < 0) return;
    this.#listen(cpu, fd);
    if (!before) return;
    this.#lostBefore += before.lost;
    before.close();
  }

  /**
   * Hands over at most `max` records, oldest first, each as a view that is only valid until `onRecord` returns and may be up to 7 bytes too long.
   * Returns how many were taken; fewer than `max` means that there were no more.
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
    const buffers = [...this.#byCpu.values()];
    for (const one of buffers) one.sure = one.written();
    for (const one of buffers) one.seen = one.written();
    let taken = 0;
    while (taken < max && !this.#closed) {
      const next = earliest(buffers);
      if (!next) break;
      taken++;
      next.take(onRecord, () => this.#closed);
    }
    return taken;
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const one of this.#byCpu.values()) one.close();
  }

  #listen(cpu: number, fd: number): void {
    const [key, value] = [Buffer.alloc(4), Buffer.alloc(4)];
    key.writeUInt32LE(cpu);
    value.writeInt32LE(fd);
    // Mapped first: an event without memory takes no record, and says so to the program.
    this.#byCpu.set(cpu, new CpuBuffer(fd, this.#size));
    const error = this.#loaded.lib.bpf_map_update_elem(this.#map, key, value, 0n);
    if (error !== 0) throw notAllowed(error);
  }
}

/** The buffer with the oldest record; undefined when all that the first look found is taken. */
function earliest(buffers: readonly CpuBuffer[]): CpuBuffer | undefined {
  let found: CpuBuffer | undefined;
  let foundNs = Number.POSITIVE_INFINITY;
  let due = false;
  for (const one of buffers) {
    const ns = one.nextNs();
    if (ns === undefined) continue;
    due ||= one.at < one.sure;
    if (ns < foundNs) {
      found = one;
      foundNs = ns;
    }
  }
  return due ? found : undefined;
}

const notAllowed = (error: number) =>
  new Unsupported(
    `the kernel has no ring buffer, and a perf buffer is refused: ${errorText(error)}`,
    "run as root, on a kernel with CONFIG_PERF_EVENTS",
  );
