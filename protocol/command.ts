// What an operator may order, and the key lists that say who may. All of it is compact JWS (EdDSA, RFC 8037); the broker only carries it.
import * as z from "zod";
import { deviceId, sha256, siteId } from "./names.ts";
import { MAX_PACK_CHARS, type PackKind, packKinds } from "./pack.ts";

export const DEAD_MAN_DEFAULT_MS = 24 * 3600_000;

/** Every action with its arguments. Exhaustive switches on `act` make a new one a compile error where it must be handled. */
export const Action = z.discriminatedUnion("act", [
  z.object({
    act: z.literal("isolate"),
    args: z.object({
      deadManMs: z
        .int()
        .min(60_000)
        .max(30 * 24 * 3600_000),
      reason: z.string().max(256),
    }),
  }),
  z.object({ act: z.literal("release"), args: z.object({ reason: z.string().max(256) }) }),
  // Send the memory of a process to the site, to be scanned there. `startTicks` proves that it is the process that was meant: numbers are used again.
  z.object({
    act: z.literal("scan"),
    args: z.object({ pid: z.int().positive().max(0x7fff_ffff), startTicks: z.int().nonnegative().optional(), reason: z.string().max(256) }),
  }),
]);
export type Action = z.infer<typeof Action>;
export type Act = Action["act"];
export const acts = Action.options.map((option) => option.shape.act.value) as readonly Act[];

/** What a key list can grant: every action, every kind of pack (protocol/pack.ts), and `install`, to sign the programs that devices install (protocol/release.ts). */
export type Right = Act | PackKind | "install";
export const rights: readonly Right[] = [...acts, ...packKinds, "install"];
const isRight = (word: string): word is Right => (rights as readonly string[]).includes(word);

/** Claims of a command. Times are seconds (RFC 7519 NumericDate). `ctr` only rises, per device and key. */
const binding = z.object({
  site: siteId,
  dev: deviceId,
  kid: z.string().max(64),
  ctr: z.int().positive(),
  iat: z.int().nonnegative(),
  exp: z.int().nonnegative(),
  jti: z.uuid(),
});
export const CommandClaims = z.intersection(binding, Action);
export type CommandClaims = z.infer<typeof CommandClaims>;

/** JWS header `typ`: a key list can never be taken for a command, nor the other way round. */
export const COMMAND_TYP = "picket-command+jws";
export const KEYS_TYP = "picket-keys+jws";

/** An Ed25519 public key (RFC 8037). */
export const PublicKey = z.object({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: z.string().length(43) });
export type PublicKey = z.infer<typeof PublicKey>;

/** What a device pins at enrolment: the operators' root key and the recovery key that may replace it. */
export const Anchor = z.object({ root: PublicKey, recovery: PublicKey });
export type Anchor = z.infer<typeof Anchor>;

/** Who may do what, signed by the root or recovery key. A device accepts only a higher version. */
export const KeyList = z.object({
  site: siteId,
  version: z.int().positive(),
  iat: z.int().nonnegative(),
  keys: z
    .array(
      z.object({
        kid: z.string().max(64),
        key: PublicKey,
        name: z.string().max(64),
        // A right that a newer site knows is nobody's here, and no reason to refuse the list.
        may: z
          .array(z.string().max(32))
          .max(16)
          .transform((words) => words.filter(isRight)),
      }),
    )
    .max(64),
});
export type KeyList = z.infer<typeof KeyList>;

/** RFC 7638 thumbprint of an Ed25519 key: SHA-256, base64url. It is the key's `kid`. */
export const thumbprint = (key: PublicKey) =>
  new Bun.CryptoHasher("sha256").update(JSON.stringify({ crv: key.crv, kty: key.kty, x: key.x })).digest("base64url");

/** What an enrolment token carries of the anchor. */
export const anchorHash = (anchor: Anchor) =>
  new Bun.CryptoHasher("sha256").update(`${thumbprint(anchor.root)}.${thumbprint(anchor.recovery)}`).digest("base64url");

/** Payload of `.../pack`: things the broker carries but cannot make (a key list, a signed pack), and its clock, which may only advance the device's. */
export const Pack = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("keys"), jws: z.string().max(64 * 1024) }),
  z.object({ kind: z.literal("signed"), jws: z.string().max(MAX_PACK_CHARS) }),
  z.object({ kind: z.literal("time"), timeMs: z.int().nonnegative() }),
]);
export type Pack = z.infer<typeof Pack>;

/** Why a device did not do as it was told. Each is a word an operator can look up. */
export const refusals = [
  "malformed",
  "bad-signature",
  "unknown-key",
  "not-permitted",
  "other-site",
  "other-device",
  "expired",
  "replayed",
  "old-key-list",
] as const;
export type Refusal = (typeof refusals)[number];

/** Payload of `.../result`. `code` is "done", a refusal, or "failed" with the reason in `message`. */
export const CommandResult = z.object({
  v: z.literal(1),
  /** Absent when the command was too broken to carry one. */
  jti: z.uuid().optional(),
  act: z.string().max(32),
  ok: z.boolean(),
  code: z.enum(["done", "failed", "rolled-back", ...refusals]),
  message: z.string().max(512),
  timeMs: z.int().nonnegative(),
  /** Of scan: the hash under which the site gets the memory. */
  sample: sha256.optional(),
});
export type CommandResult = z.infer<typeof CommandResult>;
