// Signed items: made by their origin, carried unchanged, so that no site on the way can forge or change one.

import { ITEM_TYP, MeshItem } from "@picket/protocol/mesh";
import { tryParse } from "@picket/protocol/try-parse";
import { CompactSign, compactVerify, decodeProtectedHeader } from "jose";

/** The key of a leaf certificate that `ca` certified as the site of that name. Rejects with what is wrong. `pki` is this. */
export type IdentifySite = (
  ca: { site: string; pem: string },
  der: Uint8Array<ArrayBuffer>,
) => Promise<{ key: CryptoKey; notAfterMs: number }>;

export type Signer = { readonly key: CryptoKey /** DER in base64, as `x5c` has it. */; readonly certificate: string };

/** Signs the JSON text of an item (RFC 7515, ES256). */
export const signItem = (signer: Signer, json: string): Promise<string> =>
  new CompactSign(Buffer.from(json)).setProtectedHeader({ alg: "ES256", typ: ITEM_TYP, x5c: [signer.certificate] }).sign(signer.key);

/** Base64 of a P-256 certificate of ours takes about 900. */
const MAX_CERTIFICATE = 4096;

/** What an item says, before anything of it is believed. Undefined when it is no item. */
export function readItem(jws: string): { item: MeshItem; certificate: string } | undefined {
  try {
    const { alg, typ, x5c, ...more } = decodeProtectedHeader(jws);
    if (alg !== "ES256" || typ !== ITEM_TYP || Object.keys(more).length > 0) return undefined;
    if (!Array.isArray(x5c) || x5c.length !== 1 || typeof x5c[0] !== "string" || x5c[0].length > MAX_CERTIFICATE) return undefined;
    const item = tryParse(MeshItem, JSON.parse(Buffer.from(jws.split(".")[1] ?? "", "base64url").toString()));
    return item.success ? { item: item.data, certificate: x5c[0] } : undefined;
  } catch {
    return undefined;
  }
}

const MAX_KEYS = 256;

/** Checks signatures, remembering the keys of certificates already checked. */
export class Verifier {
  readonly #identify: IdentifySite;
  readonly #keys = new Map<string, { key: CryptoKey; notAfterMs: number }>();

  constructor(identify: IdentifySite) {
    this.#identify = identify;
  }

  /** Whether the origin signed this, under the given CA. */
  async verify(jws: string, certificate: string, ca: { site: string; pem: string; hash: string }, nowMs: number): Promise<boolean> {
    try {
      const { key, notAfterMs } = await this.#keyOf(certificate, ca);
      if (notAfterMs <= nowMs) return false;
      await compactVerify(jws, key, { algorithms: ["ES256"] });
      return true;
    } catch {
      return false;
    }
  }

  async #keyOf(certificate: string, ca: { site: string; pem: string; hash: string }): Promise<{ key: CryptoKey; notAfterMs: number }> {
    const name = `${ca.site} ${ca.hash} ${certificate}`;
    const known = this.#keys.get(name);
    if (known) return known;
    const found = await this.#identify(ca, new Uint8Array(Buffer.from(certificate, "base64")));
    this.#keys.set(name, found);
    for (const oldest of this.#keys.keys()) {
      if (this.#keys.size <= MAX_KEYS) break;
      this.#keys.delete(oldest);
    }
    return found;
  }
}
