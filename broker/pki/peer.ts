// Who is at the other end, as the site CA says it.

import { deviceId, roles } from "@picket/protocol/names";
import type { CertifiedPeer } from "../peer.ts";
import type { Authority } from "./certificates.ts";
import { X509Certificate } from "./x509.ts";

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

/** End of a PEM certificate's life, milliseconds. */
export const readCertificateEnd = (pem: string): number => new X509Certificate(pem).notAfter.getTime();

async function read(ca: Authority, certificate: X509Certificate): Promise<CertifiedPeer> {
  const signed =
    certificate.issuer === ca.certificate.subject &&
    (await certificate.verify({ publicKey: ca.certificate.publicKey, signatureOnly: true }));
  if (!signed) throw new Error("the certificate was not issued by this site's CA");
  const [role, ...moreRoles] = certificate.subjectName.getField("OU");
  const [name, ...moreNames] = certificate.subjectName.getField("CN");
  const known = roles.find((one) => one === role);
  // Two CNs or two OUs would let two readers of one certificate see two identities.
  if (!known || moreRoles.length > 0) throw new Error(`the certificate's OU is not one of ${roles.join(", ")}`);
  if (name === undefined || moreNames.length > 0 || !deviceId.safeParse(name).success)
    throw new Error("the certificate's CN is not a name of ours");
  return { role: known, name, serial: certificate.serialNumber.toLowerCase(), notAfterMs: certificate.notAfter.getTime() };
}
