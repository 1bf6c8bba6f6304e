// Signed packs: what this operator sets on devices, and what others have set, proved before anything is built on it.
import type { KeyList } from "@picket/protocol/command";
import { PACK_TYP, PackClaims, type PackKind } from "@picket/protocol/pack";
import { CompactSign, compactVerify, importJWK } from "jose";
import { OperatorError } from "./key-file.ts";
import { type Operator, readKeyList } from "./keys.ts";
import { lastCounter, nextCounter } from "./sign.ts";

type Target = { readonly kind: PackKind; readonly dev: string };
const signedName = ({ kind, dev }: Target) => `${kind} ${dev}`;
const keptName = ({ kind, dev }: Target) => `${kind} ${dev} at the site`;

/**
 * Signs a pack whose version is above `above` and above every other that this home signed for the target. Throws `OperatorError` when the key list
 * does not let this operator, which devices would refuse anyway.
 */
export async function signPack(
  operator: Operator,
  of: Target & { payload: unknown; above: number; nowMs: number },
): Promise<{ jws: string; version: number }> {
  const { kind, dev, payload } = of;
  if (!operator.may.includes(kind))
    throw new OperatorError(
      `the key list lets ${operator.name ?? "this key"} not sign ${kind}: whoever holds root.jwk grants it with \`picket operator grant ${kind}\``,
    );
  const version = await nextCounter(operator.home, signedName(of), of.above + 1);
  const iat = Math.floor(of.nowMs / 1000);
  const claims: PackClaims = { site: operator.site, dev, kind, version, iat, kid: operator.kid, payload };
  const jws = await new CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
    .setProtectedHeader({ alg: "EdDSA", typ: PACK_TYP, kid: operator.kid })
    .sign(await importJWK(operator.key, "EdDSA"));
  return { jws, version };
}

/** The site has taken this version. */
export const noteKept = async (home: string, target: Target, version: number): Promise<void> =>
  void (await nextCounter(home, keptName(target), version));

/** Version of a pack that the site shows, its payload, and why the site alone vouches for them, if it does. */
export type Opened = { readonly version: number; readonly payload: unknown; readonly doubt: string | undefined };

/** Opens a pack as devices do: key list, right, signature; and whether it is at least the one this home last handed in. Throws `OperatorError`. */
export async function openPack(home: string, of: Target & { jws: string }): Promise<Opened> {
  const claims = PackClaims.safeParse(payloadOf(of.jws));
  if (!claims.success) throw new OperatorError(`what the site shows as ${of.kind} cannot be read: is its version later than this one?`);
  const doubt = await doubtOf(await readKeyList(home), of, claims.data, lastCounter(home, keptName(of)));
  return { version: claims.data.version, payload: claims.data.payload, doubt };
}

async function doubtOf(list: KeyList, of: Target & { jws: string }, claims: PackClaims, last: number): Promise<string | undefined> {
  const { kind, dev, version, kid, site } = claims;
  const entry = list.keys.find((one) => one.kid === kid);
  if (!entry) return `version ${version} is signed with a key that version ${list.version} of your key list does not name`;
  const proved = await compactVerify(of.jws, await importJWK(entry.key, "EdDSA"), { algorithms: ["EdDSA"] }).catch(() => undefined);
  if (proved?.protectedHeader.typ !== PACK_TYP) return `version ${version} does not carry the signature of ${entry.name}`;
  if (kind !== of.kind || dev !== of.dev || site !== list.site) return `version ${version} was signed for something else`;
  if (!entry.may.includes(of.kind)) return `version ${version} is signed by ${entry.name}, whom the key list does not let sign ${of.kind}`;
  if (version < last)
    return `version ${version} is older than version ${last}, which was handed in from here: the site was restored from a backup, or holds it back`;
  return undefined;
}

function payloadOf(jws: string): unknown {
  try {
    return JSON.parse(Buffer.from(jws.split(".")[1] ?? "", "base64url").toString());
  } catch {
    return undefined;
  }
}
