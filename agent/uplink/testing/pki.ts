// A certificate authority for tests: the same shape as a site's, made in memory.
import type { PublicKey, X509Certificate } from "@peculiar/x509";
import type { Role } from "@picket/protocol/names";

// One after the other: see agent/enroll/x509.ts.
await import("reflect-metadata");
const x509 = await import("@peculiar/x509");

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;

type Subject = {
  readonly name: string;
  readonly role: Role;
  /** Subject alternative names of a server; addresses are told from names by their look. */
  readonly hosts?: readonly string[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** A key made elsewhere; then the result's `key` is empty. */
  readonly publicKey?: PublicKey;
};
export type Issued = { readonly cert: string; readonly key: string };
export type TestCa = { readonly cert: string; readonly certificate: X509Certificate; issue(subject: Subject): Promise<Issued> };

export async function testCa(site = "lab"): Promise<TestCa> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: `CN=${site} CA`,
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + 365 * DAY_MS),
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true)],
  });
  return {
    cert: ca.toString("pem"),
    certificate: ca,
    issue: async (subject) => {
      const own = subject.publicKey ? undefined : await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
      const certificate = await x509.X509CertificateGenerator.create({
        serialNumber: serial(),
        issuer: ca.subject,
        subject: `CN=${subject.name},OU=${subject.role}`,
        notBefore: subject.notBefore ?? new Date(Date.now() - DAY_MS),
        notAfter: subject.notAfter ?? new Date(Date.now() + 30 * DAY_MS),
        publicKey: subject.publicKey ?? own!.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: algorithm,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.SubjectAlternativeNameExtension(
            (subject.hosts ?? []).map((value) => ({ type: isAddress(value) ? "ip" : "dns", value })),
          ),
        ],
      });
      return { cert: certificate.toString("pem"), key: own ? await privatePem(own.privateKey) : "" };
    },
  };
}

async function privatePem(key: CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY");
}

const serial = () =>
  Buffer.from(crypto.getRandomValues(new Uint8Array(15)))
    .toString("hex")
    .padStart(32, "01");
const isAddress = (host: string) => /^[\d.]+$|:/.test(host);
