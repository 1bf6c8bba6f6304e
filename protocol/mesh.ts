// What sites tell each other: signed items, and the few words that carry them. Telemetry and commands have no kind here, so they cannot travel.

import * as z from "zod";
import { Detection } from "./alert.ts";
import { hostPort } from "./enroll.ts";
import { MAX_ITEMS, MAX_MESH_BYTES, WINDOW } from "./mesh-limits.ts";
import { sha256, siteId } from "./names.ts";
import { tryParse } from "./try-parse.ts";

const ms = z.int().nonnegative();
const pem = z.string().max(4096);
/** base64url of SHA-256. */
const digest = z.string().length(43);

/** What a site's engines say of a file, by its hash. Never the file, never where it was. */
export const SharedVerdict = z.object({
  sha256,
  verdict: z.enum(["clean", "suspicious", "malicious"]),
  /** Names of the rules that matched. */
  rules: z.array(z.string().max(128)).max(32),
  /** When it was judged; a later judgement replaces an earlier one of the same site. */
  judgedMs: ms,
});
export type SharedVerdict = z.infer<typeof SharedVerdict>;

export const iocKinds = ["ip", "domain", "url", "sha256"] as const;
/** An indicator of compromise. */
export const Ioc = z.object({
  kind: z.enum(iocKinds),
  value: z.string().min(1).max(2048),
  /** 0-100, as its source rates it. */
  confidence: z.int().min(0).max(100),
  /** When it should no longer be used. */
  expiresMs: ms,
  /** Who says so: a feed, a report, an operator. */
  source: z.string().max(256),
  /** A later one replaces an earlier one of the same site. */
  sharedMs: ms,
});
export type Ioc = z.infer<typeof Ioc>;

/** How a site makes itself known beyond its own peers: its CA, in an item signed under that CA. Whoever passes it on vouches for it. */
export const Introduction = z.object({ ca: pem });

/** The signed content of an item. The origin is the site whose CA certified the signer, or the item is refused. */
const signed = { v: z.literal(1), origin: siteId, /** Seconds (RFC 7519 NumericDate). */ iat: z.int().nonnegative() };
export const MeshItem = z.discriminatedUnion("kind", [
  z.object({ ...signed, kind: z.literal("site"), body: Introduction }),
  z.object({ ...signed, kind: z.literal("alert"), body: Detection }),
  z.object({ ...signed, kind: z.literal("verdict"), body: SharedVerdict }),
  z.object({ ...signed, kind: z.literal("ioc"), body: Ioc }),
]);
export type MeshItem = z.infer<typeof MeshItem>;
export type MeshKind = MeshItem["kind"];

/** JWS header `typ`: ES256 with the signer's certificate in `x5c` (RFC 7515, section 4.1.6). */
export const ITEM_TYP = "picket-mesh+jws";
export const JOIN_TYP = "picket-mesh-join+jws";

/** What makes an item the same item wherever it comes from. A higher revision replaces a lower one. Derived from the body, so that no two names for one thing can be sent. */
export function identityOf(item: Pick<MeshItem, "kind" | "body"> & MeshItem): { id: string; revision: number } {
  switch (item.kind) {
    case "site":
      return { id: "site", revision: 0 };
    case "alert":
      return { id: item.body.id, revision: item.body.revision };
    case "verdict":
      return { id: item.body.sha256, revision: item.body.judgedMs };
    case "ioc":
      return {
        id: new Bun.CryptoHasher("sha256").update(`${item.body.kind}\0${item.body.value}`).digest("hex"),
        revision: item.body.sharedMs,
      };
  }
}

/** Place in the log of one site. */
const position = z.int().nonnegative();

export const MeshMessage = z.discriminatedUnion("kind", [
  /** First from both ends. `received` is how far the sender has stored what the other told before, so that the other goes on from there. */
  z.object({
    kind: z.literal("hello"),
    v: z.literal(1),
    /** Names the sender's log. A site made anew, or its database, has another. */
    log: z.uuid(),
    received: z.object({ log: z.uuid(), pos: position }).optional(),
    /** Items the sender is ready to take. */
    grant: z.int().min(0).max(WINDOW),
  }),
  z.object({
    kind: z.literal("items"),
    items: z
      .array(
        z.object({
          pos: position,
          /** Sites it passed: the origin first, the sender last. */
          hops: z.array(siteId).min(1).max(64),
          jws: z.string().max(MAX_MESH_BYTES),
        }),
      )
      .min(1)
      .max(MAX_ITEMS),
  }),
  /** All up to `pos` is on disk; `grant` more may be sent. */
  z.object({ kind: z.literal("ack"), pos: position, grant: z.int().min(0).max(WINDOW) }),
  /** The sender has left the mesh with the other for good. */
  z.object({ kind: z.literal("bye") }),
]);
export type MeshMessage = z.infer<typeof MeshMessage>;
export type SentItem = Extract<MeshMessage, { kind: "items" }>["items"][number];

/** What a site must know to join, trusting nothing on first use. */
export const MeshInvite = z.object({
  v: z.literal(1),
  site: siteId,
  https: hostPort,
  mqtt: hostPort,
  /** SHA-256 of the inviting site's CA key (SubjectPublicKeyInfo). */
  ca: digest,
  secret: z.string().min(32).max(64),
});
export type MeshInvite = z.infer<typeof MeshInvite>;

const PREFIX = "picketmesh1.";

/** One line of text, fit for a file or stdin. */
export const formatInvite = (invite: MeshInvite) => PREFIX + Buffer.from(JSON.stringify(invite)).toString("base64url");

/** Reads an invitation. Throws with what is wrong, never repeating the secret. */
export function parseInvite(text: string): MeshInvite {
  const line = text.trim();
  if (!line.startsWith(PREFIX)) throw new Error(`this is no invitation to a mesh: it must begin with "${PREFIX}"`);
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(line.slice(PREFIX.length), "base64url").toString());
  } catch {
    throw new Error("this invitation is damaged: copy the whole line again");
  }
  const invite = tryParse(MeshInvite, json);
  if (!invite.success)
    throw new Error(`this invitation cannot be used: ${invite.error.issues.map((issue) => issue.path.join(".")).join(", ")} is wrong`);
  return invite.data;
}

/** From the joining site's broker to the inviting one's. `proof` is a JWS (ES256, `JOIN_TYP`) over {site, secretSha256} by the key of `certificate`. */
export const MeshJoinRequest = z.object({
  secret: z.string().max(64),
  site: siteId,
  ca: pem,
  certificate: pem,
  proof: z.string().max(4096),
});
export type MeshJoinRequest = z.infer<typeof MeshJoinRequest>;
export const MeshJoinResponse = z.object({ site: siteId, ca: pem });
export type MeshJoinResponse = z.infer<typeof MeshJoinResponse>;

/** Why an item or message of a peer was refused. */
export const meshRefusals = [
  "malformed",
  "oversize",
  "forged",
  // Relayed, and signed under another CA than the one known here for that name: the peer may have been told so itself.
  "disputed",
  "unknown-origin",
  "loop",
  "stale",
  "replayed",
  "too-many",
] as const;
export type MeshRefusal = (typeof meshRefusals)[number];

const count = z.int().nonnegative();

export const MeshPeer = z.object({
  site: siteId,
  /** `left`: the peer said goodbye, or we did and it has not heard. */
  state: z.enum(["connected", "away", "left"]),
  /** Where this site dials the peer; absent when the peer dials. */
  address: z.string().optional(),
  /** Hash of the peer's CA key. */
  ca: digest,
  joinedMs: ms,
  /** The operator of this site who invited the peer or accepted its invitation. */
  by: z.string(),
  lastSeenMs: ms.optional(),
  /** Items that wait for the peer. */
  lag: count,
  sent: count,
  received: count,
  /** Items the peer was away for too long to get. */
  lost: count,
  refused: z.partialRecord(z.enum(meshRefusals), count),
  /** Nothing is taken from it; what it has for us waits there. */
  muted: z.boolean(),
  /** Items a second taken from it, after a burst of ten times as many; absent: the standard. */
  itemsPerS: z.number().positive().optional(),
  limitedBy: z.enum(["operator", "picket"]).optional(),
  lastError: z.string().optional(),
});
export type MeshPeer = z.infer<typeof MeshPeer>;

/** A site known through a peer only. */
export const IntroducedSite = z.object({ site: siteId, ca: digest, via: siteId, introducedMs: ms });
export type IntroducedSite = z.infer<typeof IntroducedSite>;

export const MeshStatus = z.object({
  site: siteId,
  log: z.object({ items: count, bytes: count }),
  peers: z.array(MeshPeer),
  sites: z.array(IntroducedSite),
});
export type MeshStatus = z.infer<typeof MeshStatus>;
