// Who is at the other end, as the site CA says it.

import { deviceId, roles } from "@picket/protocol/names";
import type { CertifiedPeer } from "../peer.ts";
import { type Authority, spkiHash } from "./certificates.ts";
import { BasicConstraintsExtension, X509Certificate } from "./x509.ts";

/**
 * Reads role (OU), name (CN), serial and end of life from a DER certificate that `ca` itself signed. Dates are not judged.
 * Rejects with what is wrong.
 */
export async function identify(ca: Authority, der: Uint8Array<ArrayBuffer>): Promise<CertifiedPeer> {
  return read(ca, new X509Certificate(der));
}

/** The same for a PEM certificate, with its key. Only P-256 keys were ever certified. */
export async function identifyPem(ca: Authority, pem: string): Promise<{ peer: CertifiedPeer; key: CryptoKey }> {
  const certificate = new X509Certificate(pem);
  const peer = await read(ca, certificate);
  return { peer, key: await certificate.publicKey.export({ name: "ECDSA", namedCurve: "P-256" }, ["verify"]) };
}

/** A CA of another site. `pem` is written anew from what was read: nothing else that came with it reaches a list of trusted CAs. */
export type SiteCa = { readonly site: string; readonly pem: string; readonly hash: string };

/**
 * Reads the CA of another site: P-256, self-signed, named after its site and after nobody else, so that no two CAs in one list can be taken for
 * each other. Rejects with what is wrong.
 */
export async function readSiteCa(pem: string, site: string, nowMs: number): Promise<SiteCa> {
  const certificate = new X509Certificate(pem);
  if (certificate.subject !== `CN=${site}, OU=ca` || certificate.issuer !== certificate.subject)
    throw new Error(`the CA of ${site} must be named CN=${site}, OU=ca`);
  if (!certificate.getExtension(BasicConstraintsExtension)?.ca) throw new Error(`the certificate of ${site} is no CA`);
  await certificate.publicKey.export({ name: "ECDSA", namedCurve: "P-256" }, ["verify"]);
  if (!(await certificate.verify({ signatureOnly: true }))) throw new Error(`the CA of ${site} is not signed with its own key`);
  if (certificate.notAfter.getTime() <= nowMs) throw new Error(`the CA of ${site} has expired`);
  return { site, pem: certificate.toString("pem"), hash: spkiHash(certificate) };
}

/** The key of a site's own certificate, which its CA must have signed for the role `site` and the site's own name. Rejects with what is wrong. */
export async function identifySite(
  ca: Pick<SiteCa, "site" | "pem">,
  der: Uint8Array<ArrayBuffer>,
): Promise<{ key: CryptoKey; notAfterMs: number }> {
  const certificate = new X509Certificate(der);
  const { role, name, notAfterMs } = await read({ certificate: new X509Certificate(ca.pem) }, certificate);
  if (role !== "site" || name !== ca.site) throw new Error(`the CA of ${ca.site} can only speak for ${ca.site}`);
  return { key: await certificate.publicKey.export({ name: "ECDSA", namedCurve: "P-256" }, ["verify"]), notAfterMs };
}

/**
 * Who shows this certificate: somebody of this site, or a peer. The issuer decides, not what TLS accepted: a peer's CA stands in the same
 * list of trusted CAs, but whatever else it signs (a device, a detector, another site) is nobody here.
 */
export async function identifyAny(own: Authority, peers: readonly SiteCa[], der: Uint8Array<ArrayBuffer>): Promise<CertifiedPeer> {
  const certificate = new X509Certificate(der);
  const issuer = peers.find((peer) => `CN=${peer.site}, OU=ca` === certificate.issuer);
  if (!issuer) return read(own, certificate);
  const peer = await read({ certificate: new X509Certificate(issuer.pem) }, certificate);
  if (peer.role !== "site" || peer.name !== issuer.site)
    throw new Error(`the CA of ${issuer.site} signed a ${peer.role} "${peer.name}": here it can only speak for the site ${issuer.site}`);
  return { ...peer, peerCa: issuer.hash };
}

/** End of a PEM certificate's life, milliseconds. */
export const readCertificateEnd = (pem: string): number => new X509Certificate(pem).notAfter.getTime();

async function read(ca: Pick<Authority, "certificate">, certificate: X509Certificate): Promise<CertifiedPeer> {
  const signed =
    certificate.issuer === ca.certificate.subject &&
    (await certificate.verify({ publicKey: ca.certificate.publicKey, signatureOnly: true }));
  if (!signed) throw new Error("the certificate was not issued by this site's CA or that of a peer");
  const [role, ...moreRoles] = certificate.subjectName.getField("OU");
  const [name, ...moreNames] = certificate.subjectName.getField("CN");
  const known = roles.find((one) => one === role);
  // Two CNs or two OUs would let two readers of one certificate see two identities.
  if (!known || moreRoles.length > 0) throw new Error(`the certificate's OU is not one of ${roles.join(", ")}`);
  if (name === undefined || moreNames.length > 0 || !deviceId.safeParse(name).success)
    throw new Error("the certificate's CN is not a name of ours");
  return { role: known, name, serial: certificate.serialNumber.toLowerCase(), notAfterMs: certificate.notAfter.getTime() };
}
