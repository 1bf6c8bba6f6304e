// From what YARA-X reports to what a verdict holds: bounded, whatever the file and the rules are.
import { clean } from "../../text.ts";
import { type Metadata, readMetadata } from "./metadata.ts";
import type { MatchedString, YaraMatch } from "./verdict.ts";

const MAX_MATCHES = 64;
const MAX_TAGS = 16;
const MAX_STRINGS = 8;
const MAX_OFFSETS = 4;
const MAX_EXCERPT = 64;

type Place = { readonly offset: number; readonly length: number };

/** What `Scanner.scan` returns, as far as it is used. */
export type Scanned = {
  readonly errors: readonly string[];
  readonly matches: readonly {
    readonly identifier: string;
    readonly namespace: string;
    readonly isPrivate: boolean;
    readonly tags: readonly string[];
    readonly metadata: Metadata;
    readonly patterns: readonly { readonly identifier: string; readonly isPrivate: boolean; readonly matches: readonly Place[] }[];
  }[];
};

/** The rules that match, without private ones, in the order of the rules; at most 64, each with at most 8 patterns. */
export function matchesOf({ matches }: Scanned, bytes: Uint8Array): YaraMatch[] {
  return matches
    .filter((match) => !match.isPrivate)
    .slice(0, MAX_MATCHES)
    .map(({ identifier, namespace, tags, metadata, patterns }) => ({
      rule: clean(identifier, 128),
      file: namespace,
      tags: tags.slice(0, MAX_TAGS).map((tag) => clean(tag, 64)),
      meta: readMetadata(identifier, metadata, tags),
      strings: patterns
        .filter((pattern) => !pattern.isPrivate && pattern.matches.length > 0)
        .slice(0, MAX_STRINGS)
        .map((pattern) => stringOf(pattern.identifier, pattern.matches, bytes)),
    }));
}

function stringOf(identifier: string, places: readonly Place[], bytes: Uint8Array): MatchedString {
  const { offset, length } = places[0]!;
  return {
    identifier: clean(identifier, 64),
    offsets: places.slice(0, MAX_OFFSETS).map((place) => place.offset),
    count: places.length,
    excerpt: printable(bytes.subarray(offset, offset + Math.min(length, MAX_EXCERPT))),
  };
}

const printable = (bytes: Uint8Array) =>
  Array.from(bytes, (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
