// Whether a device obeys. Pure: bytes and what the device knows go in, a verdict comes out. The broker that carries these may be in an enemy's hands.

import { type Anchor, acts, COMMAND_TYP, CommandClaims, KEYS_TYP, KeyList, type Refusal, thumbprint } from "@picket/protocol/command";
import { tryParse } from "@picket/protocol/try-parse";
import * as z from "zod";
import { badSignature, fieldsOf, isSignedBy, MAX_SKEW_S, openJws, type Refused, refuse, signerOf } from "../signed.ts";

/** Larger ones are refused unread (protocol/topics.ts lets no larger ones through). */
export const MAX_COMMAND_CHARS = 16 << 10;
export const MAX_KEYS_CHARS = 64 << 10;

export type Known = {
  readonly site: string;
  readonly device: string;
  readonly keys: KeyList | undefined;
  /** Highest counter accepted so far, by key. */
  readonly highest: Readonly<Record<string, number>>;
  /** The device's trusted time, milliseconds. */
  readonly nowMs: number;
};

export type CommandVerdict = { readonly ok: true; readonly claims: CommandClaims } | Refused;

/** Checks a command (compact JWS, RFC 7515). The order is: form, key, signature, content, right, place, counter, time. */
export async function verifyCommand(jws: string, known: Known): Promise<CommandVerdict> {
  const parts = openJws(jws, MAX_COMMAND_CHARS, COMMAND_TYP);
  if ("reason" in parts) return refuse("malformed", parts.reason);
  const claimed = claimedIn(parts.payload);
  const no = (code: Refusal, message: string) => ({ ...refuse(code, message), ...claimed });

  const key = await signerOf(jws, parts.kid, known.keys);
  if ("code" in key) return no(key.code, key.message);

  const parsed = tryParse(CommandClaims, parts.payload);
  if (!parsed.success) return no("malformed", `not a command this device knows: ${fieldsOf(parsed.error)}`);
  const claims = parsed.data;
  if (claims.kid !== parts.kid) return no("malformed", "header and claims name different keys");
  if (claims.site !== known.site) return no("other-site", "the command is for another site");
  if (claims.dev !== known.device) return no("other-device", "the command is for another device");
  if (!key.may.includes(claims.act)) return no("not-permitted", `this operator's key may not order ${claims.act}`);
  const highest = known.highest[claims.kid] ?? 0;
  if (claims.ctr <= highest) return no("replayed", `counter ${claims.ctr} is not above ${highest}`);
  const nowS = known.nowMs / 1000;
  if (claims.exp <= nowS) return no("expired", `it expired ${Math.ceil(nowS - claims.exp)} s ago by this device's clock`);
  if (claims.iat > nowS + MAX_SKEW_S) {
    return no(
      "expired",
      `it was signed ${Math.floor(claims.iat - nowS)} s in the future by this device's clock: check the operator's clock`,
    );
  }
  return { ok: true, claims };
}

export type KeysVerdict =
  /** `same`: the very list the device has already. */
  { readonly ok: true; readonly list: KeyList; readonly same: boolean } | Refused;

/** Checks a key list: signed by the pinned root or recovery key, for this site, and newer than the one obeyed. */
export async function verifyKeyList(
  jws: string,
  known: {
    readonly site: string;
    readonly anchor: Anchor;
    readonly current: { readonly jws: string; readonly version: number } | undefined;
  },
): Promise<KeysVerdict> {
  const parts = openJws(jws, MAX_KEYS_CHARS, KEYS_TYP);
  if ("reason" in parts) return refuse("malformed", parts.reason, "keys");
  const no = (code: Refusal, message: string) => refuse(code, message, "keys");

  const key = [known.anchor.root, known.anchor.recovery].find((pinned) => thumbprint(pinned) === parts.kid);
  if (!key) return no("unknown-key", "the key list is signed by neither the root nor the recovery key this device pinned");
  if (!(await isSignedBy(jws, key))) return no(badSignature.code, badSignature.message);

  const parsed = tryParse(KeyList, parts.payload);
  if (!parsed.success) return no("malformed", `not a key list: ${fieldsOf(parsed.error)}`);
  const list = parsed.data;
  if (list.site !== known.site) return no("other-site", "the key list is for another site");
  if (list.keys.some((entry) => thumbprint(entry.key) !== entry.kid)) return no("malformed", "a key is listed under another key's id");
  if (new Set(list.keys.map((entry) => entry.kid)).size !== list.keys.length) return no("malformed", "a key is listed twice");
  if (known.current && list.version <= known.current.version) {
    if (jws === known.current.jws) return { ok: true, list, same: true };
    return no("old-key-list", `version ${list.version} is not above ${known.current.version}`);
  }
  return { ok: true, list, same: false };
}

const Claimed = z.object({ jti: z.uuid().optional().catch(undefined), act: z.enum(acts as [string, ...string[]]).catch("unknown") });

/** Lets the operator's command be answered even when it is refused. Nothing else may be taken from a payload before its signature is checked. */
function claimedIn(payload: unknown): { act: string; jti?: string } {
  const claimed = tryParse(Claimed, payload);
  if (!claimed.success) return { act: "unknown" };
  return { act: claimed.data.act, ...(claimed.data.jti === undefined ? {} : { jti: claimed.data.jti }) };
}
