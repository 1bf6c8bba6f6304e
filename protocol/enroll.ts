// How a machine becomes a device: token, CSR, certificate; and renewal.

import * as z from "zod";
import { Anchor } from "./command.ts";
import { deviceId, siteId } from "./names.ts";
import { tryParse } from "./try-parse.ts";

/** base64url of SHA-256. */
const digest = z.string().length(43);
const pem = z.string().max(16 * 1024);
/** A name or an address; an IPv6 address without brackets. */
export const host = z.string().regex(/^[A-Za-z0-9.:-]{1,253}$/, "use a host name or an address, an IPv6 address without brackets");
/** "host:port"; an IPv6 host in brackets. */
export const hostPort = z.string().regex(/^(?:\[[0-9a-f:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, "use host:port, an IPv6 host in brackets");

/** What a device must know to trust nothing on first use. */
export const EnrolToken = z.object({
  v: z.literal(1),
  site: siteId,
  /** HTTPS address for enrolment and renewal. */
  https: hostPort,
  /** MQTT address. */
  mqtt: hostPort,
  /** More hosts of the same site, with the same ports, in the order to try them. */
  also: z.array(host).max(8).optional(),
  /** SHA-256 of the site CA's SubjectPublicKeyInfo (RFC 7469, section 2.4, as base64url). */
  ca: digest,
  /** Hash of the operators' root and recovery keys. */
  anchor: digest,
  /** Used once (or `--uses` times), kept hashed at the broker. */
  secret: z.string().min(32).max(64),
});
export type EnrolToken = z.infer<typeof EnrolToken>;

const PREFIX = "picket1.";

/** One line of text, fit for a file or stdin. */
export const formatToken = (token: EnrolToken) => PREFIX + Buffer.from(JSON.stringify(token)).toString("base64url");

/** Reads a token. Throws with what is wrong, never repeating the secret. */
export function parseToken(text: string): EnrolToken {
  const line = text.trim();
  if (!line.startsWith(PREFIX)) throw new Error('this is no Picket token: it must begin with "picket1."');
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(line.slice(PREFIX.length), "base64url").toString());
  } catch {
    throw new Error("this token is damaged: copy the whole line again");
  }
  const token = tryParse(EnrolToken, json);
  if (!token.success)
    throw new Error(`this token cannot be used: ${token.error.issues.map((issue) => issue.path.join(".")).join(", ")} is wrong`);
  return token.data;
}

/** The site decides everything but the key: `name` is a wish, taken only when it is free. */
export const EnrolRequest = z.object({ secret: z.string().max(64), csr: pem, name: deviceId.optional() });
export type EnrolRequest = z.infer<typeof EnrolRequest>;

export const EnrolResponse = z.object({
  device: deviceId,
  site: siteId,
  /** PEM. */
  certificate: pem,
  ca: pem,
  anchor: Anchor,
  /** The current key list, JWS; absent when the operators have not made one. */
  keys: z.string().optional(),
});
export type EnrolResponse = z.infer<typeof EnrolResponse>;

/** `proof` is a JWS (ES256) over {csrSha256, iat}, made with the key of `certificate`, which may be expired but not revoked. */
export const RenewRequest = z.object({ certificate: pem, csr: pem, proof: z.string().max(4096) });
export type RenewRequest = z.infer<typeof RenewRequest>;
export const RenewResponse = z.object({ certificate: pem, ca: pem });
export type RenewResponse = z.infer<typeof RenewResponse>;
export const RENEW_TYP = "picket-renew+jws";
