import { anchorHash } from "@picket/protocol/command";
import { EnrolResponse, type EnrolToken, parseToken, RENEW_TYP, RenewResponse } from "@picket/protocol/enroll";
import { routes } from "@picket/protocol/rest";
import { tryParse } from "@picket/protocol/try-parse";
import { CompactSign } from "jose";
import { joinHostPort, splitHostPort } from "../site-tls.ts";
import { checkIssued, makeKey, makeRequest, onlyCertificate, readKey, spkiHash } from "./certificate.ts";
import { type Credentials, type Identity, writeCertificate, writeIdentity } from "./files.ts";
import { call } from "./request.ts";

/**
 * Turns a token into an identity in `dir`. Nothing is trusted on first use: the site's CA must have the hash the token carries before the
 * token's secret is sent, and the operators' keys must have the hash it carries before they are pinned. The private key is made here and stays.
 */
export async function enroll(of: { token: string; dir: string; name?: string | undefined }): Promise<Identity> {
  const token = parseToken(of.token);
  const { https, ca } = await findSite(token);
  const key = await makeKey();
  const body = { secret: token.secret, csr: await makeRequest(key), ...(of.name === undefined ? {} : { name: of.name }) };
  const { json } = await call({ method: "POST", path: routes.enroll.path, body, address: https, ca });
  const parsed = tryParse(EnrolResponse, json);
  if (!parsed.success)
    throw new Error(`${https} gave an answer to enrolment that this agent does not understand: are both of one version?`);
  const { device, site, certificate, anchor, keys } = parsed.data;
  if (site !== token.site) throw new Error(`the token is for site ${token.site}, but ${https} is ${site}`);
  if (spkiHash(parsed.data.ca) !== token.ca) throw new Error(`${https} answered with another CA than the token names: not enrolled`);
  if (anchorHash(anchor) !== token.anchor)
    throw new Error(
      `${https} answered with other operators' keys than the token names: somebody wants to give this device orders. Not enrolled`,
    );
  const credentials: Credentials = { key, cert: certificate, ca };
  await checkIssued(credentials, device);
  const more = { ...(token.also === undefined ? {} : { also: token.also }), ...(keys === undefined ? {} : { keys }) };
  const identity: Identity = { device, site, https: token.https, mqtt: token.mqtt, anchor, ...more };
  writeIdentity(of.dir, identity, credentials);
  return identity;
}

/** The first of the token's hosts that answers as the site. Throws what each said. */
async function findSite(token: EnrolToken): Promise<{ https: string; ca: string }> {
  const reasons: string[] = [];
  const { port } = splitHostPort(token.https);
  for (const https of [token.https, ...(token.also ?? []).map((host) => joinHostPort(host, port))]) {
    try {
      return { https, ca: await fetchCa(https, token.ca) };
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new Error(reasons.join("\n"));
}

/** The only call that trusts nobody: what it brings is believed for its hash. Only the certificate with that hash is kept of it. */
async function fetchCa(address: string, hash: string): Promise<string> {
  const { json } = await call({ method: "GET", path: routes.ca.path, address, ca: undefined });
  const parsed = tryParse(routes.ca.response, json);
  let ca: string | undefined;
  try {
    // TLS would trust every certificate of a text that holds two: the site's for its hash, and somebody else's behind it.
    ca = parsed.success ? onlyCertificate(parsed.data.ca) : undefined;
  } catch {
    // No certificate at all: said below.
  }
  if (ca === undefined || spkiHash(ca) !== hash)
    throw new Error(
      `${address} is not the site this token was made for: its CA has another key. The token's secret was not sent. Check the address, or ask for a new token`,
    );
  return ca;
}

/**
 * A new certificate for the same key, which replaces the old one on disk. Works with an expired certificate too, as long as the site allows it.
 * Throws `Refused` when the site says no (revoked, or expired too long ago).
 */
export async function renew(of: {
  dir: string;
  identity: Identity;
  credentials: Credentials;
  nowMs: number;
  /** Where the site may be, best first; by default the address of enrolment. */
  ways?: readonly Way[];
}): Promise<Credentials> {
  const { credentials, identity } = of;
  // The proof must be fresh by the site's clock, and a board may not have one of its own.
  const { health, address, via } = await findHealth(of.ways ?? [splitHostPort(identity.https)], credentials.ca);
  const csr = await makeRequest(credentials.key);
  const claims = {
    csrSha256: new Bun.CryptoHasher("sha256").update(csr).digest("base64url"),
    iat: Math.floor((health.dateMs ?? of.nowMs) / 1000),
  };
  const { privateKey } = await readKey(credentials.key);
  const proof = await new CompactSign(Buffer.from(JSON.stringify(claims)))
    .setProtectedHeader({ alg: "ES256", typ: RENEW_TYP })
    .sign(privateKey);
  const body = { certificate: credentials.cert, csr, proof };
  const { json } = await call({ method: "POST", path: routes.renew.path, body, address, via, ca: credentials.ca });
  const parsed = tryParse(RenewResponse, json);
  if (!parsed.success)
    throw new Error(`${address} gave an answer to renewal that this agent does not understand: are both of one version?`);
  // The CA stays the pinned one whatever the answer carries: a new one needs an order signed by the operators' root.
  const renewed = { ...credentials, cert: parsed.data.certificate };
  await checkIssued(renewed, identity.device);
  writeCertificate(of.dir, renewed.cert);
  return renewed;
}

type Way = { readonly host: string; readonly port: number; readonly addresses?: readonly string[] };

/** The first way by which the site answers. Throws what was wrong with each. */
async function findHealth(ways: readonly Way[], ca: string) {
  const reasons: string[] = [];
  for (const { host, port, addresses = [] } of ways) {
    const address = joinHostPort(host, port);
    for (const via of addresses.length > 0 ? addresses : [undefined]) {
      try {
        return { health: await call({ method: "GET", path: routes.health.path, address, via, ca }), address, via };
      } catch (error) {
        reasons.push(error instanceof Error ? error.message : String(error));
      }
    }
  }
  throw new Error(reasons.join("; "));
}
