// What an indicator and what an event tells are compared by: bytes in one scratch place, and a hash of them that goes from the last byte to the first,
// so that all endings of a domain are hashed in one pass.
import { type IndicatorKind, indicatorKinds, parseAddress } from "@picket/protocol/ioc-value";

/** Longest key: a value of 2,048 characters in UTF-8. */
const MAX_BYTES = 6144;
/** New for each process: nobody can make values whose hashes are the same. It decides nothing but places in tables. */
const SEED = crypto.getRandomValues(new Uint32Array(1))[0]!;
const encoder = new TextEncoder();

export const kindNumber: Readonly<Record<IndicatorKind, number>> = Object.fromEntries(
  indicatorKinds.map((kind, at) => [kind, at]),
) as Record<IndicatorKind, number>;

export const scratch = new Uint8Array(MAX_BYTES);

export const begin = (kind: number): number => (SEED ^ Math.imul(kind + 1, 0x9e3779b1)) | 0;
export const step = (hash: number, byte: number): number => Math.imul(hash ^ byte, 0x01000193);
/** Spreads what FNV leaves in the low bits (the finisher of MurmurHash3). */
export function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

export function hashOf(kind: number, bytes: Uint8Array, start: number, end: number): number {
  let hash = begin(kind);
  for (let at = end - 1; at >= start; at--) hash = step(hash, bytes[at]!);
  return finish(hash);
}

/** Puts a text into the scratch place; returns its length in bytes, 0 when it is too long to be anything. */
export function putText(text: string): number {
  const { length } = text;
  if (length > 2048) return 0;
  for (let at = 0; at < length; at++) {
    const code = text.charCodeAt(at);
    if (code > 127) return encoder.encodeInto(text, scratch).written;
    scratch[at] = code;
  }
  return length;
}

/** The same for a domain as somebody asked for it: in lower case, without the dot of the root. */
export function putDomain(name: string): number {
  let { length } = name;
  if (length > 0 && name.charCodeAt(length - 1) === 46) length--;
  if (length > 255) return 0;
  for (let at = 0; at < length; at++) {
    const code = name.charCodeAt(at);
    if (code > 127) return 0;
    scratch[at] = code >= 65 && code <= 90 ? code + 32 : code;
  }
  return length;
}

/** 32 bytes of a SHA-256; false when it is none. */
export function putHash(hex: string): boolean {
  if (hex.length !== 64) return false;
  for (let at = 0; at < 32; at++) {
    const high = digit(hex.charCodeAt(at * 2));
    const low = digit(hex.charCodeAt(at * 2 + 1));
    if (high < 0 || low < 0) return false;
    scratch[at] = high * 16 + low;
  }
  return true;
}

const digit = (code: number): number => (code >= 48 && code <= 57 ? code - 48 : code >= 97 && code <= 102 ? code - 87 : -1);

/** The key of a range: its length, then the bytes of its beginning. Returns the length of the key. */
export function putRange(bytes: Uint8Array, bits: number): number {
  scratch[0] = bytes.length === 4 ? bits : 128 + bits;
  for (let at = 0; at < bytes.length; at++) {
    const left = bits - at * 8;
    scratch[at + 1] = left >= 8 ? bytes[at]! : left <= 0 ? 0 : bytes[at]! & (0xff << (8 - left));
  }
  return bytes.length + 1;
}

/** Puts a canonical value into the scratch place; its length, 0 when it cannot be what it says. */
export function putValue(kind: IndicatorKind, value: string): number {
  switch (kind) {
    case "sha256":
      return putHash(value) ? 32 : 0;
    case "address": {
      const slash = value.indexOf("/");
      const bytes = parseAddress(slash < 0 ? value : value.slice(0, slash));
      if (!bytes) return 0;
      const bits = slash < 0 ? bytes.length * 8 : Number(value.slice(slash + 1));
      return bits >= 0 && bits <= bytes.length * 8 ? putRange(bytes, bits) : 0;
    }
    case "domain":
      return putDomain(value);
    case "url":
    case "path":
    case "name":
      return putText(value);
  }
}
