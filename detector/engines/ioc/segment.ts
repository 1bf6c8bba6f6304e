// One list in memory: flat arrays and one open table, about 60 bytes an indicator, whatever garbage collection does.
import type { StoredIoc } from "@picket/protocol/ioc";
import { hashOf, kindNumber, putValue, scratch } from "./key.ts";

const GROW_FROM = 1 << 16;
/** Different labels remembered while a list is loaded: most lists repeat a few names. */
const MAX_LABELS = 20_000;
const decoder = new TextDecoder();

/** An indicator that was found. */
export type Entry = {
  readonly source: string;
  readonly confidence: number;
  /** Seconds; 0: never. */
  readonly expiresS: number;
  readonly label: string;
};

/** Bytes one after another, of any number. */
class Heap {
  bytes = new Uint8Array(GROW_FROM);
  used = 0;

  add(from: Uint8Array, length: number): number {
    const at = this.used;
    while (at + length > this.bytes.length) {
      const grown = new Uint8Array(this.bytes.length * 2);
      grown.set(this.bytes.subarray(0, at));
      this.bytes = grown;
    }
    this.bytes.set(from.subarray(0, length), at);
    this.used += length;
    return at;
  }

  trim(): void {
    this.bytes = this.bytes.slice(0, this.used);
  }
}

export class Segment {
  readonly generation: number;
  readonly source: string;
  /** Of every indicator, for the filter before all lists. */
  readonly hashes: Uint32Array;
  /** Lengths of prefixes that occur: of IPv4 0-32, of IPv6 with 128 added. */
  readonly prefixes = new Set<number>();
  /** Numbers of the kinds that occur. */
  readonly kinds = new Set<number>();
  size = 0;
  readonly #kinds: Uint8Array;
  readonly #confidences: Uint8Array;
  readonly #expiries: Uint32Array;
  readonly #added: Uint32Array;
  readonly #starts: Uint32Array;
  readonly #lengths: Uint16Array;
  readonly #labels: Uint32Array;
  readonly #labelLengths: Uint16Array;
  /** Place of an indicator and one; 0 is nothing. */
  readonly #table: Uint32Array;
  readonly #heap = new Heap();
  readonly #known = new Map<string, number>();

  /** `indicators`: how many there will be at most; those beyond are left out. */
  constructor(of: { generation: number; source: string; indicators: number }) {
    this.generation = of.generation;
    this.source = of.source;
    const n = of.indicators;
    this.hashes = new Uint32Array(n);
    this.#kinds = new Uint8Array(n);
    this.#confidences = new Uint8Array(n);
    this.#expiries = new Uint32Array(n);
    this.#added = new Uint32Array(n);
    this.#starts = new Uint32Array(n);
    this.#lengths = new Uint16Array(n);
    this.#labels = new Uint32Array(n);
    this.#labelLengths = new Uint16Array(n);
    this.#table = new Uint32Array(2 ** Math.ceil(Math.log2(Math.max(16, n * 1.5))));
  }

  /** Bytes held. */
  get bytes(): number {
    const { length } = this.hashes;
    return length * 26 + this.#table.length * 4 + this.#heap.bytes.length;
  }

  add(ioc: StoredIoc): void {
    if (this.size === this.hashes.length) return;
    const length = putValue(ioc.kind, ioc.value);
    if (length === 0) return;
    const kind = kindNumber[ioc.kind];
    const hash = hashOf(kind, scratch, 0, length);
    const at = this.size;
    const slot = this.#slot(kind, hash, scratch, 0, length);
    // Said twice in one list: the first holds.
    if (this.#table[slot] !== 0) return;
    this.#table[slot] = at + 1;
    this.hashes[at] = hash;
    this.#kinds[at] = kind;
    this.kinds.add(kind);
    this.#confidences[at] = ioc.confidence;
    this.#expiries[at] = Math.min(ioc.expiresS, 0xffffffff);
    this.#added[at] = ioc.added;
    this.#starts[at] = this.#heap.add(scratch, length);
    this.#lengths[at] = length;
    if (ioc.kind === "address") this.prefixes.add(scratch[0]!);
    this.#label(at, ioc.label);
    this.size++;
  }

  /** No more are added: what was only needed for that goes. */
  seal(): void {
    this.#known.clear();
    this.#heap.trim();
  }

  /** The indicator whose key lies in `bytes`, at -1 when there is none that holds then. `of`: only those that came in with one of these generations. */
  find(kind: number, hash: number, bytes: Uint8Array, start: number, end: number, receivedS: number, of?: ReadonlySet<number>): number {
    const at = this.#table[this.#slot(kind, hash, bytes, start, end)]! - 1;
    if (at < 0) return -1;
    const expiresS = this.#expiries[at]!;
    if (expiresS !== 0 && expiresS <= receivedS) return -1;
    return of && !of.has(this.#added[at]!) ? -1 : at;
  }

  entry(at: number): Entry {
    const start = this.#labels[at]!;
    return {
      source: this.source,
      confidence: this.#confidences[at]!,
      expiresS: this.#expiries[at]!,
      label: decoder.decode(this.#heap.bytes.subarray(start, start + this.#labelLengths[at]!)),
    };
  }

  /** Where it is, or would be. */
  #slot(kind: number, hash: number, bytes: Uint8Array, start: number, end: number): number {
    const mask = this.#table.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const at = this.#table[slot]! - 1;
      if (at < 0 || (this.hashes[at] === hash && this.#kinds[at] === kind && this.#same(at, bytes, start, end))) return slot;
    }
  }

  #same(at: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#lengths[at] !== end - start) return false;
    const own = this.#starts[at]!;
    const heap = this.#heap.bytes;
    for (let index = start; index < end; index++) if (heap[own + index - start] !== bytes[index]) return false;
    return true;
  }

  #label(at: number, label: string): void {
    const length = encoder.encodeInto(label, labelBytes).written;
    const known = this.#known.get(label);
    this.#labels[at] = known ?? this.#heap.add(labelBytes, length);
    this.#labelLengths[at] = length;
    if (known === undefined && this.#known.size < MAX_LABELS) this.#known.set(label, this.#labels[at]!);
  }
}

const encoder = new TextEncoder();
const labelBytes = new Uint8Array(1024);
