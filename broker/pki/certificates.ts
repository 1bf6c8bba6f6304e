// X.509 as Picket uses it: P-256, one site CA, leaves whose role is OU and whose name is CN. The site decides every field; a CSR gives only its key.

import { deviceId, type Role } from "@picket/protocol/names";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "./x509.ts";

cryptoProvider.set(crypto);

const EC = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNING = { name: "ECDSA", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;

export const DEVICE_CERTIFICATE_MS = 30 * DAY_MS;
/** A board without a clock boots in the past: certificates must already hold then. */
const BACKDATED_MS = 10 * 365 * DAY_MS;
const CA_MS = 10 * 365 * DAY_MS;
// The site holds the keys of its own servers next to the CA's: a shorter life would protect nothing.
const SERVER_MS = CA_MS;

/** A certificate request that is refused. The message says why and can be shown to who sent it. */
export class BadRequest extends Error {
  override name = "BadRequest";
}

/** A CA ready to sign. */
export type Authority = { readonly certificate: X509Certificate; readonly key: CryptoKey; readonly pem: string };
/** A key pair as files hold it: PKCS #8 and X.509, both PEM. */
export type Identity = { readonly key: string; readonly certificate: string };
export type Issued = { readonly certificate: string; readonly serial: string; readonly notAfterMs: number };

/** Makes a site CA. `notAfter` is 10 years from `nowMs`. */
export async function createAuthority(site: string, nowMs: number): Promise<Identity> {
  const keys = await crypto.subtle.generateKey(EC, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: [{ CN: [site] }, { OU: ["ca"] }],
    notBefore: new Date(nowMs - BACKDATED_MS),
    notAfter: new Date(nowMs + CA_MS),
    keys,
    signingAlgorithm: SIGNING,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { key: await exportKey(keys.privateKey), certificate: certificate.toString("pem") };
}

/** Reads a CA from its two PEM texts. Throws when they are damaged. */
export async function readAuthority(of: Identity): Promise<Authority> {
  const der = Buffer.from(of.key.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
  const key = await crypto.subtle.importKey("pkcs8", der, EC, false, ["sign"]);
  return { certificate: new X509Certificate(of.certificate), key, pem: of.certificate };
}

/** Makes a key and a certificate for the site's own programs: `hosts` become SANs of a server. */
export async function createIdentity(
  ca: Authority,
  of: { name: string; role: Role; hosts?: readonly string[]; nowMs: number },
): Promise<Identity & Issued> {
  const keys = await crypto.subtle.generateKey(EC, true, ["sign", "verify"]);
  const issued = await sign(ca, { ...of, key: keys.publicKey, lifeMs: SERVER_MS });
  return { ...issued, key: await exportKey(keys.privateKey) };
}

/** Certifies the key of a CSR for a device. Everything else in the CSR is ignored. Throws `BadRequest`. */
export async function issueDevice(ca: Authority, of: { csr: string; device: string; nowMs: number }): Promise<Issued> {
  const key = await keyOfCsr(of.csr);
  return sign(ca, { name: deviceId.parse(of.device), role: "device", key, nowMs: of.nowMs, lifeMs: DEVICE_CERTIFICATE_MS });
}

/** The key a CSR asks to certify, after checking that the sender holds it. Throws `BadRequest`. */
export async function keyOfCsr(pem: string): Promise<CryptoKey> {
  let key: CryptoKey;
  let proved: boolean;
  try {
    const csr = new Pkcs10CertificateRequest(pem);
    key = await csr.publicKey.export(EC, ["verify"]);
    proved = await csr.verify();
  } catch {
    throw new BadRequest("the CSR cannot be read: send a PEM PKCS #10 request with a P-256 key");
  }
  if (!proved) throw new BadRequest("the CSR is not signed with its own key");
  return key;
}

/** RFC 7469, section 2.4, as base64url: what an enrolment token pins. */
export function spkiHash(certificate: X509Certificate): string {
  return new Bun.CryptoHasher("sha256").update(new Uint8Array(certificate.publicKey.rawData)).digest("base64url");
}

async function sign(
  ca: Authority,
  of: { name: string; role: Role; key: CryptoKey; hosts?: readonly string[]; nowMs: number; lifeMs: number },
): Promise<Issued> {
  const serial = randomSerial();
  const notAfter = new Date(Math.min(of.nowMs + of.lifeMs, ca.certificate.notAfter.getTime()));
  const usages = of.hosts ? [ExtendedKeyUsage.serverAuth] : [ExtendedKeyUsage.clientAuth];
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension(usages),
    await SubjectKeyIdentifierExtension.create(of.key),
    await AuthorityKeyIdentifierExtension.create(ca.certificate),
  ];
  if (of.hosts) extensions.push(new SubjectAlternativeNameExtension(of.hosts.map(toName)));
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial,
    subject: [{ CN: [of.name] }, { OU: [of.role] }],
    issuer: ca.certificate.subjectName.toJSON(),
    notBefore: new Date(of.nowMs - BACKDATED_MS),
    notAfter,
    publicKey: new PublicKey(await crypto.subtle.exportKey("spki", of.key)),
    signingKey: ca.key,
    signingAlgorithm: SIGNING,
    extensions,
  });
  return { certificate: certificate.toString("pem"), serial, notAfterMs: certificate.notAfter.getTime() };
}

const toName = (host: string) => ({ type: isAddress(host) ? ("ip" as const) : ("dns" as const), value: host });
const isAddress = (host: string) => /^\d+\.\d+\.\d+\.\d+$/.test(host) || host.includes(":");

/** 128 random bits, positive and never shortened in DER (RFC 5280, section 4.1.2.2), as lower-case hex. */
function randomSerial(): string {
  const bytes = crypto.getRandomValues(Buffer.alloc(16));
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes.toString("hex");
}

async function exportKey(key: CryptoKey): Promise<string> {
  const der = Buffer.from(await crypto.subtle.exportKey("pkcs8", key)).toString("base64");
  return `-----BEGIN PRIVATE KEY-----\n${der.match(/.{1,64}/g)!.join("\n")}\n-----END PRIVATE KEY-----\n`;
}
