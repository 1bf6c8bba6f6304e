// Compact JWS (RFC 7515) of operators, opened with distrust. Pure: nothing of a payload may be obeyed before `isSignedBy` says yes.

import type { KeyList, PublicKey, Refusal } from "@picket/protocol/command";
import { tryParse } from "@picket/protocol/try-parse";
import { compactVerify, importJWK } from "jose";
import * as z from "zod";

/** How far an operator's clock may be ahead of the device's. */
export const MAX_SKEW_S = 300;

export type Refused = {
  readonly ok: false;
  readonly code: Refusal;
  readonly message: string;
  /** What the command calls itself. Only as true as its signature. */
  readonly jti?: string;
  readonly act: string;
};
export const refuse = (code: Refusal, message: string, act = "unknown"): Refused => ({ ok: false, code, message, act });

export type Parts = { readonly kid: string; readonly payload: unknown };

// Strict: a header with a key of its own (jwk, jku, x5c), `b64` or `crit` is refused, not skipped.
const Header = (typ: string) =>
  z.strictObject({ alg: z.literal("EdDSA"), typ: z.literal(typ), kid: z.string().regex(/^[A-Za-z0-9_-]{43}$/) });

/** The key it names and what it says, unproved, or why it has no such form. */
export function openJws(jws: string, mostChars: number, typ: string): Parts | { readonly reason: string } {
  if (typeof jws !== "string" || jws.length > mostChars) return { reason: `longer than ${mostChars} characters` };
  const parts = jws.split(".", 4);
  if (parts.length !== 3 || !parts.every((part) => /^[A-Za-z0-9_-]+$/.test(part))) return { reason: "not a compact JWS" };
  const header = tryParse(Header(typ), json(parts[0]!));
  if (!header.success) return { reason: `the header must be alg EdDSA, typ ${typ} and a kid, nothing else` };
  return { kid: header.data.kid, payload: json(parts[1]!) };
}

function json(part: string): unknown {
  try {
    return JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
  } catch {
    return undefined;
  }
}

export async function isSignedBy(jws: string, key: PublicKey): Promise<boolean> {
  try {
    await compactVerify(jws, await importJWK({ kty: key.kty, crv: key.crv, x: key.x }, "EdDSA"), { algorithms: ["EdDSA"] });
    return true;
  } catch {
    return false;
  }
}

/** The listed key that a JWS names, once its signature is proved to be of that key; what it says is true from then on. Nothing else may obey a payload. */
export async function signerOf(
  jws: string,
  kid: string,
  keys: KeyList | undefined,
): Promise<KeyList["keys"][number] | { readonly code: Refusal; readonly message: string }> {
  const entry = keys?.keys.find((one) => one.kid === kid);
  if (!entry)
    return {
      code: "unknown-key",
      message: keys ? `version ${keys.version} of the key list has no such key` : "this device has no key list yet",
    };
  if (!(await isSignedBy(jws, entry.key))) return badSignature;
  return entry;
}

export const badSignature = { code: "bad-signature", message: "the signature is not of the key it names" } as const;

/** Names of the wrong fields, never their content. Paths of a list's own making are numbers and our own words. */
export const fieldsOf = (error: z.ZodError) =>
  [...new Set(error.issues.map((issue) => issue.path.join(".") || "its shape"))].slice(0, 8).join(", ").slice(0, 200);
