// Indicators of compromise: lists as operators bring them, as the broker keeps them and as the detector is given them.
import * as z from "zod";
import { Detection } from "./alert.ts";
import { type Indicator, type IndicatorKind, indicatorKinds, MAX_VALUE } from "./ioc-value.ts";
import { deviceId } from "./names.ts";
import { readFrame } from "./zstd-frame.ts";

/** Indicators of all lists together: the detector holds them in memory. */
export const MAX_INDICATORS = 2_000_000;
/** Lists of a site, those of the mesh among them. */
export const MAX_SOURCES = 64;
export const MAX_LABEL = 200;
export const MAX_TAGS = 8;
/** Indicators in one call of an import: a body of 128 KiB holds so many of the usual length. */
export const MAX_ROWS = 1000;
/** Lists of other sites are called so; nobody can import one under such a name. */
export const MESH_PREFIX = "mesh:";

const ms = z.int().nonnegative();
const count = z.int().nonnegative();

/** Who says so. It stands in alerts beside others, with commas between. */
export const sourceName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._ :/-]{0,62}[A-Za-z0-9]$/, "use 2-64 letters, digits, and inner spaces, dots, dashes, slashes and colons");

/** An indicator as it is imported. What is left out is the import's. */
export const IocRow = z.object({
  kind: z.enum(indicatorKinds),
  value: z.string().min(1).max(MAX_VALUE),
  confidence: z.int().min(0).max(100).optional(),
  expiresMs: ms.optional(),
  /** What it is, in a few words: a malware's name, a campaign. */
  label: z.string().max(MAX_LABEL).optional(),
  tags: z.array(z.string().max(64)).max(MAX_TAGS).optional(),
});
export type IocRow = z.infer<typeof IocRow>;

/** An indicator as it is kept. */
export type StoredIoc = Indicator & {
  readonly confidence: number;
  /** Seconds; 0: never. */
  readonly expiresS: number;
  readonly label: string;
  readonly tags: readonly string[];
  /** The generation of its list in which it came in, and was in every one since. */
  readonly added: number;
};

/** As it lies in a chunk. Kinds are numbered by their place in `indicatorKinds`, to which one may only be added at the end. */
type Packed = readonly [
  kind: number,
  value: string,
  confidence: number,
  expiresS: number,
  label: string,
  tags: readonly string[],
  added: number,
];

/** Some indicators as bytes: a zstd frame of JSON. */
export const packIocs = (rows: readonly StoredIoc[]): Buffer =>
  Bun.zstdCompressSync(
    Buffer.from(
      JSON.stringify(
        rows.map(
          ({ kind, value, confidence, expiresS, label, tags, added }): Packed => [
            indicatorKinds.indexOf(kind),
            value,
            confidence,
            expiresS,
            label,
            tags,
            added,
          ],
        ),
      ),
    ),
  );

/** Largest chunk, inflated: what `MAX_ROWS` rows of the longest texts take, with JSON's escapes. */
const MAX_CHUNK_BYTES = 24 << 20;

/** Reads a chunk that `packIocs` made. Throws when it is none. */
export function unpackIocs(bytes: Uint8Array): StoredIoc[] {
  if (readFrame(bytes).contentBytes > MAX_CHUNK_BYTES) throw new Error("a chunk of indicators that is too large");
  const rows = JSON.parse(Bun.zstdDecompressSync(bytes).toString()) as Packed[];
  return rows.map(([kind, value, confidence, expiresS, label, tags, added]) => {
    const name = indicatorKinds[kind];
    if (name === undefined || typeof value !== "string") throw new Error("a chunk of indicators with a kind that is not known");
    return { kind: name, value, confidence, expiresS, label, tags, added };
  });
}

/** What an alert's group says of the indicator it is about: the same program meeting the same indicator is the same thing. */
export const iocGroup = ({ kind, value }: Indicator, what: string): string =>
  JSON.stringify([
    "ioc",
    kind,
    value.length <= 300 ? value : `sha256:${new Bun.CryptoHasher("sha256").update(value).digest("hex")}`,
    what.slice(-100),
  ]);

/** The indicator of an alert's group; undefined where it is none. A value above 300 characters is its hash. */
export function readIocGroup(group: string): Indicator | undefined {
  if (!group.startsWith('["ioc",')) return undefined;
  const [, kind, value] = JSON.parse(group) as [string, string, string];
  return isKind(kind) ? { kind, value } : undefined;
}

const isKind = (kind: string): kind is IndicatorKind => (indicatorKinds as readonly string[]).includes(kind);

/** How far the search of the stored log for new indicators is. */
export const PastSearch = z.object({
  state: z.enum(["waiting", "reading", "done"]),
  /** Events of the log that were looked at, and that there are in all. */
  read: count,
  events: count,
  /** Alerts it made. */
  alerts: count,
  /** Of them, those that were only counted, because a device had too many. */
  left: count,
  /** Received since then. */
  sinceMs: ms.optional(),
  startedMs: ms.optional(),
  doneMs: ms.optional(),
});
export type PastSearch = z.infer<typeof PastSearch>;

/** A list, as it is now. */
export const IocSource = z.object({
  source: z.string().max(64),
  kind: z.enum(["list", "mesh"]),
  /** Of a list of the mesh: its site is a peer of ours, or only vouched for by one. */
  trust: z.enum(["peer", "vouched"]).optional(),
  generation: count,
  importedMs: ms,
  /** The operator who imported it. */
  by: z.string(),
  format: z.string(),
  indicators: count,
  byKind: z.partialRecord(z.enum(indicatorKinds), count),
  /** Lines that could not be used. */
  refused: count,
  /** When the last of it expires; absent: never. */
  expiresMs: ms.optional(),
  /** The detector matches with it. */
  active: z.boolean(),
  met: z.object({ indicators: count, devices: count, lastMs: ms.optional() }),
  past: PastSearch.optional(),
  /** The last import of it failed, after the one that is in force. */
  failure: z.object({ atMs: ms, why: z.string() }).optional(),
});
export type IocSource = z.infer<typeof IocSource>;

export const IocShown = IocRow.extend({ source: z.string(), confidence: z.int(), label: z.string(), tags: z.array(z.string()) });
export type IocShown = z.infer<typeof IocShown>;

/** That a device met an indicator. */
export const IocMet = z.object({
  source: z.string(),
  kind: z.enum(indicatorKinds),
  value: z.string(),
  device: deviceId,
  firstMs: ms,
  lastMs: ms,
  /** The latest alert about it. */
  alert: z.uuid(),
});
export type IocMet = z.infer<typeof IocMet>;

// ---- Between broker and detector, on the feed.

const session = z.string().max(36);

/** The lists there are. Each generation never changes: what the detector has of it, it has. */
export const IocManifest = z
  .array(z.object({ generation: count, source: z.string().max(64), chunks: count, indicators: count }))
  .max(2 * MAX_SOURCES);
export type IocManifest = z.infer<typeof IocManifest>;

/** Asks for chunks from `at` on, or says which lists are matched with. */
export const IocWant = z.object({
  kind: z.literal("iocs"),
  session,
  chunks: z.object({ generation: count, at: count }).optional(),
  loaded: z
    .array(count)
    .max(2 * MAX_SOURCES)
    .optional(),
});
export type IocWant = z.infer<typeof IocWant>;

/** Chunks sent for one want. */
export const CHUNKS_AT_ONCE = 16;

/** Header lines on `feed/data`. A chunk, or a batch of the past, follows its line. */
export const IocData = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("iocs"), session, sources: IocManifest }),
  z.object({ kind: z.literal("ioc"), session, generation: count, at: count }),
  /** A batch that was decided before: it is searched for what came into force with these generations. */
  z.object({ kind: z.literal("past"), session, job: count, generations: z.array(count).max(2 * MAX_SOURCES), receivedMs: ms }),
  /** All before `next` was sent: what was found in it is to be told with it. */
  z.object({ kind: z.literal("past-page"), session, job: count, next: count }),
]);
export type IocData = z.infer<typeof IocData>;

/** Findings of the past in one commit, at most, and events of one of them. */
export const MAX_FOUND = 200;
export const MAX_FOUND_EVENTS = 100;

/** What one program of one device did with one indicator in a page of the log. `timesMs`: one for each of the detection's events, by the device's clock. */
export const PastFound = z.object({
  detection: Detection,
  group: z.string().max(1024),
  timesMs: z.array(ms).max(MAX_FOUND_EVENTS),
});
export type PastFound = z.infer<typeof PastFound>;

export const PastCommit = z.object({
  job: count,
  next: count,
  events: count,
  found: z.array(PastFound).max(MAX_FOUND),
  /** Findings that were too many to be told. */
  left: count,
});
export type PastCommit = z.infer<typeof PastCommit>;
