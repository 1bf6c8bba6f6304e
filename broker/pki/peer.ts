// Who is at the other end of a TLS connection, as the site CA says it.
import "reflect-metadata";
import { X509Certificate } from "@peculiar/x509";
import { deviceId, roles } from "@picket/protocol/names";
import type { CertifiedPeer } from "../peer.ts";
import type { Authority } from "./certificates.ts";

/** Reads role (OU), name (CN), serial and end of life from a DER certificate. Throws with what is wrong. */
export function readPeer(der: Uint8Array<ArrayBuffer>): CertifiedPeer {
  const certificate = new X509Certificate(der);
  const [role, ...moreRoles] = certificate.subjectName.getField("OU");
  const [name, ...moreNames] = certificate.subjectName.getField("CN");
  const known = roles.find((one) => one === role);
  // Two CNs or two OUs would let two readers of one certificate see two identities.
  if (!known || moreRoles.length > 0) throw new Error(`the certificate's OU is not one of ${roles.join(", ")}`);
  if (moreNames.length > 0 || !deviceId.safeParse(name).success) throw new Error("the certificate's CN is not a name of ours");
  return { role: known, name: name!, serial: certificate.serialNumber.toLowerCase(), notAfterMs: certificate.notAfter.getTime() };
}

/** Whether `ca` itself signed this certificate. Dates are not looked at. */
export function issuedBy(ca: Authority, der: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const certificate = new X509Certificate(der);
  if (certificate.issuer !== ca.certificate.subject) return Promise.resolve(false);
  return certificate.verify({ publicKey: ca.certificate.publicKey, signatureOnly: true });
}
