// Whether a device takes a pack. Pure, and the same for every kind: what the payload means is judged by whoever knows the kind.

import type { KeyList, Refusal, Right } from "@picket/protocol/command";
import { MAX_PACK_CHARS, MAX_VERSION_STEP, PACK_TYP, PackClaims, type PackKind, WHOLE_SITE } from "@picket/protocol/pack";
import { tryParse } from "@picket/protocol/try-parse";
import { fieldsOf, MAX_SKEW_S, openJws, type Refused, refuse, signerOf } from "../signed.ts";

export type Known = {
  readonly site: string;
  readonly device: string;
  readonly keys: KeyList | undefined;
  /** Kinds this agent can do something with. */
  readonly kinds: readonly PackKind[];
  /** The highest version accepted of a kind and target, and the hash of that very pack. */
  readonly highest: (kind: PackKind, dev: string) => { readonly version: number; readonly hash: string } | undefined;
  /** The device's trusted time, milliseconds. */
  readonly nowMs: number;
};

export type TrueClaims = PackClaims & { readonly kind: PackKind };
/** `again`: the very pack whose version was accepted before. */
export type PackVerdict = { readonly ok: true; readonly claims: TrueClaims; readonly hash: string; readonly again: boolean } | Refused;

/** Checks a pack (compact JWS, RFC 7515). The order is: form, key, signature, content, place, kind, right, version, time. */
export async function verifyPack(jws: string, known: Known): Promise<PackVerdict> {
  const parts = openJws(jws, MAX_PACK_CHARS, PACK_TYP);
  if ("reason" in parts) return refuse("malformed", parts.reason, "pack");
  let act = "pack";
  const no = (code: Refusal, message: string) => refuse(code, message, act);

  const key = await signerOf(jws, parts.kid, known.keys);
  if ("code" in key) return no(key.code, key.message);

  const parsed = tryParse(PackClaims, parts.payload);
  if (!parsed.success) return no("malformed", `not a pack this device knows: ${fieldsOf(parsed.error)}`);
  const claims = parsed.data;
  act = claims.kind;
  if (claims.kid !== parts.kid) return no("malformed", "header and claims name different keys");
  if (claims.site !== known.site) return no("other-site", "the pack is for another site");
  if (claims.dev !== WHOLE_SITE && claims.dev !== known.device) return no("other-device", "the pack is for another device");
  const kind = known.kinds.find((one) => one === claims.kind);
  if (kind === undefined) return no("malformed", `this agent knows no packs of the kind ${claims.kind}: upgrade it`);
  if (!key.may.includes(kind satisfies Right)) return no("not-permitted", `this operator's key may not sign ${kind}`);

  const hash = new Bun.CryptoHasher("sha256").update(jws).digest("base64url");
  const highest = known.highest(kind, claims.dev);
  const again = highest?.hash === hash && highest.version === claims.version;
  if (highest && claims.version <= highest.version && !again)
    return no("replayed", `version ${claims.version} is not above ${highest.version}, which this device has seen`);
  if (highest && claims.version > highest.version + MAX_VERSION_STEP)
    return no("malformed", `version ${claims.version} is more than ${MAX_VERSION_STEP} above ${highest.version}`);
  const nowS = known.nowMs / 1000;
  if (!again && claims.exp !== undefined && claims.exp <= nowS)
    return no("expired", `it expired ${Math.ceil(nowS - claims.exp)} s ago by this device's clock`);
  if (claims.iat > nowS + MAX_SKEW_S)
    return no(
      "expired",
      `it was signed ${Math.floor(claims.iat - nowS)} s in the future by this device's clock: check the operator's clock`,
    );
  return { ok: true, claims: { ...claims, kind }, hash, again };
}
