// Keys, requests and checks of X.509, as a device needs them.

import type { EnrolResponse } from "@picket/protocol/enroll";
import type { Credentials } from "./files.ts";
import { PemConverter, Pkcs10CertificateRequestGenerator, X509Certificate } from "./x509.ts";

const EC = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNING = { name: "ECDSA", hash: "SHA-256" } as const;

/** A new P-256 key, PKCS #8 PEM. */
export async function makeKey(): Promise<string> {
  const { privateKey } = await crypto.subtle.generateKey(EC, true, ["sign", "verify"]);
  return PemConverter.encode(await crypto.subtle.exportKey("pkcs8", privateKey), "PRIVATE KEY");
}

export async function readKey(pem: string): Promise<CryptoKeyPair> {
  const der = PemConverter.decodeFirst(pem);
  const privateKey = await crypto.subtle.importKey("pkcs8", der, EC, true, ["sign"]);
  const { d: _, key_ops: __, ...open } = await crypto.subtle.exportKey("jwk", privateKey);
  return { privateKey, publicKey: await crypto.subtle.importKey("jwk", open, EC, true, ["verify"]) };
}

/** PKCS #10 (RFC 2986) with nothing but the key: the site decides the rest. */
export async function makeRequest(key: string): Promise<string> {
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: "CN=device",
    keys: await readKey(key),
    signingAlgorithm: SIGNING,
  });
  return request.toString("pem");
}

/** The first certificate of a text, written anew: nothing else that the text holds is left. Throws when it holds none. */
export const onlyCertificate = (pem: string): string => new X509Certificate(pem).toString("pem");

/** SHA-256 of the SubjectPublicKeyInfo (RFC 7469, section 2.4), base64url. Throws when the text is no certificate. */
export function spkiHash(pem: string): string {
  return new Bun.CryptoHasher("sha256").update(new Uint8Array(new X509Certificate(pem).publicKey.rawData)).digest("base64url");
}

/**
 * Whether the site gave what was asked for: signed by `credentials.ca`, for `credentials.key`, with role device and the name it says.
 * Dates are not looked at: this may be a board whose clock is not set. Throws what is wrong.
 */
export async function checkIssued(credentials: Credentials, device: EnrolResponse["device"]): Promise<void> {
  const [issued, ca] = [new X509Certificate(credentials.cert), new X509Certificate(credentials.ca)];
  if (!(await issued.verify({ publicKey: ca, signatureOnly: true }))) throw new Error("the certificate is not signed by the site CA");
  const { publicKey } = await readKey(credentials.key);
  const own = await crypto.subtle.exportKey("spki", publicKey);
  if (!Buffer.from(own).equals(Buffer.from(issued.publicKey.rawData))) throw new Error("the certificate is for another key");
  const [role, name] = [issued.subjectName.getField("OU"), issued.subjectName.getField("CN")];
  if (role.join() !== "device") throw new Error(`the certificate's role is ${role.join() || "missing"}, not device`);
  if (name.join() !== device) throw new Error(`the certificate names ${name.join() || "nobody"}, not ${device}`);
}
