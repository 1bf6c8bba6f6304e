// What operators set on devices apart from commands: packs, compact JWS (EdDSA, RFC 8037) of a kind, for one device or the whole site, whose
// version only rises. The broker keeps and carries them; it can make none.
import * as z from "zod";
import { deviceId, siteId } from "./names.ts";

/** Every kind there is. The right to sign one is called like it (protocol/command.ts). */
export const packKinds = ["settings", "rules"] as const;
export type PackKind = (typeof packKinds)[number];

/** JWS header `typ`. */
export const PACK_TYP = "picket-pack+jws";
/** Largest pack as it is signed. It travels in JSON below the size of its topic (protocol/topics.ts). */
export const MAX_PACK_CHARS = 240 << 10;
/** The largest that an operator hands in: what the body of a request may hold. */
export const MAX_PACK_BODY_CHARS = 120 << 10;

/** The target of a pack for every device of the site. */
export const WHOLE_SITE = "*";
export const PackTarget = z.union([deviceId, z.literal(WHOLE_SITE)]);

/** How far a version may be above the one before: whoever stole a key must not use up all numbers, so that nobody can ever set anything again. */
export const MAX_VERSION_STEP = 1_000_000;

/**
 * Claims of a pack. `version` only rises, per kind and target. Times are seconds; after `exp` no device takes it any more, but one that has taken it
 * keeps it. A device refuses claims it does not know: they may be a restriction.
 */
export const PackClaims = z.strictObject({
  site: siteId,
  dev: PackTarget,
  /** Any word: a device says of which kind it knows nothing. */
  kind: z.string().regex(/^[a-z][a-z-]{0,31}$/),
  version: z
    .int()
    .positive()
    .max(2 ** 40),
  iat: z.int().nonnegative(),
  exp: z.int().nonnegative().optional(),
  kid: z.string().max(64),
  /** Judged by whoever knows the kind. */
  payload: z.unknown(),
});
export type PackClaims = z.infer<typeof PackClaims>;

/** What a device says of the packs it has, with each heartbeat. */
export const PackState = z.object({
  kind: z.string().max(32),
  dev: PackTarget,
  /** In force; 0 when none is. */
  version: z.int().nonnegative(),
  /** A later one that it did not take, and why. */
  refused: z.object({ version: z.int().positive(), why: z.string().max(256) }).optional(),
});
export type PackState = z.infer<typeof PackState>;

/** A pack as the site keeps it: the newest of its kind and target. */
export const PackRecord = z.object({
  kind: z.string(),
  dev: PackTarget,
  version: z.int().positive(),
  kid: z.string(),
  /** Whose credential handed it in. */
  operator: z.string(),
  putMs: z.int().nonnegative(),
  jws: z.string(),
});
export type PackRecord = z.infer<typeof PackRecord>;
