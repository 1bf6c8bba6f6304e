// All lists together. A filter of two bits an indicator answers for nearly everything that is on none of them, however many lists there are.
import { type IndicatorKind, parseAddress, rangeText } from "@picket/protocol/ioc-value";
import { begin, finish, hashOf, kindNumber, putDomain, putHash, putRange, putText, scratch, step } from "./key.ts";
import type { Entry, Segment } from "./segment.ts";

/** 2 MiB: one in twenty passes by chance with 2,000,000 indicators. */
const FILTER_BITS = 1 << 24;
const SHA256 = kindNumber.sha256;
const ADDRESS = kindNumber.address;
const DOMAIN = kindNumber.domain;

/** What is asked: what an event was received at, in seconds, and, when the past is searched, which generations are new. */
export type Asked = { readonly receivedS: number; readonly added?: ReadonlySet<number> | undefined };

/** An indicator with all that list it, the most confident first. */
export type Listed = { readonly kind: IndicatorKind; readonly value: string; readonly entries: readonly Entry[] };

export class IocIndex {
  #segments: readonly Segment[] = [];
  #filter = new Uint32Array(FILTER_BITS / 32);
  /** Kinds that are on any list: of others nothing is asked. */
  #kinds: ReadonlySet<number> = new Set();
  /** Lengths of prefixes, the longest first. */
  #v4: readonly number[] = [];
  #v6: readonly number[] = [];

  /** Indicators of all lists. */
  get size(): number {
    return this.#segments.reduce((sum, { size }) => sum + size, 0);
  }

  get isEmpty(): boolean {
    return this.#segments.length === 0;
  }

  get bytes(): number {
    return this.#filter.byteLength + this.#segments.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** From now on these lists, in order of their names, and no others. */
  use(segments: readonly Segment[]): void {
    const filter = new Uint32Array(FILTER_BITS / 32);
    for (const { hashes, size } of segments)
      for (let at = 0; at < size; at++) {
        const hash = hashes[at]!;
        filter[(hash & (FILTER_BITS - 1)) >>> 5]! |= 1 << (hash & 31);
        const other = second(hash);
        filter[other >>> 5]! |= 1 << (other & 31);
      }
    const prefixes = [...new Set(segments.flatMap((segment) => [...segment.prefixes]))].sort((a, b) => b - a);
    this.#v4 = prefixes.filter((bits) => bits <= 32);
    this.#v6 = prefixes.filter((bits) => bits >= 128).map((bits) => bits - 128);
    this.#kinds = new Set(segments.flatMap((segment) => [...segment.kinds]));
    this.#filter = filter;
    this.#segments = segments.toSorted((a, b) => (a.source < b.source ? -1 : 1));
  }

  /** Whether any list holds such indicators. */
  has(kind: IndicatorKind): boolean {
    return this.#kinds.has(kindNumber[kind]);
  }

  sha256(hex: string, asked: Asked): Listed | undefined {
    return !this.#kinds.has(SHA256) || !putHash(hex)
      ? undefined
      : this.#find("sha256", hashOf(SHA256, scratch, 0, 32), 0, 32, asked, () => hex);
  }

  /** The narrowest range that holds the address. */
  address(text: string, asked: Asked): Listed | undefined {
    if (this.#v4.length === 0 && this.#v6.length === 0) return undefined;
    const bytes = parseAddress(text);
    if (!bytes) return undefined;
    for (const bits of bytes.length === 4 ? this.#v4 : this.#v6) {
      const length = putRange(bytes, bits);
      const found = this.#find("address", hashOf(ADDRESS, scratch, 0, length), 0, length, asked, () =>
        rangeText({ bytes: scratch.subarray(1, length), bits }),
      );
      if (found) return found;
    }
    return undefined;
  }

  /** The name itself, or the longest of its endings that is listed. */
  domain(name: string, asked: Asked): Listed | undefined {
    if (!this.#kinds.has(DOMAIN)) return undefined;
    const length = putDomain(name);
    let hash = begin(DOMAIN);
    let found: Listed | undefined;
    for (let at = length - 1; at >= 0; at--) {
      hash = step(hash, scratch[at]!);
      if (at > 0 && scratch[at - 1] !== 46) continue;
      const start = at;
      found =
        this.#find("domain", finish(hash), start, length, asked, () => String.fromCharCode(...scratch.subarray(start, length))) ?? found;
    }
    return found;
  }

  /** A URL, path or file name, in its canonical form. */
  text(kind: "url" | "path" | "name", value: string, asked: Asked): Listed | undefined {
    if (!this.#kinds.has(kindNumber[kind])) return undefined;
    const length = putText(value);
    if (length === 0) return undefined;
    return this.#find(kind, hashOf(kindNumber[kind], scratch, 0, length), 0, length, asked, () => value);
  }

  #find(kind: IndicatorKind, hash: number, start: number, end: number, asked: Asked, value: () => string): Listed | undefined {
    const other = second(hash);
    const filter = this.#filter;
    if (((filter[(hash & (FILTER_BITS - 1)) >>> 5]! >>> (hash & 31)) & 1) === 0) return undefined;
    if (((filter[other >>> 5]! >>> (other & 31)) & 1) === 0) return undefined;
    const entries: Entry[] = [];
    for (const segment of this.#segments) {
      const at = segment.find(kindNumber[kind], hash, scratch, start, end, asked.receivedS, asked.added);
      if (at >= 0) entries.push(segment.entry(at));
    }
    if (entries.length === 0) return undefined;
    // A stable sort: of equals the list whose name comes first.
    return { kind, value: value(), entries: entries.sort((a, b) => b.confidence - a.confidence) };
  }
}

/** Another place in the filter. */
const second = (hash: number): number => Math.imul(hash, 0x9e3779b1) >>> 8;
