/** A CA and a server certificate for 127.0.0.1, good for an hour. PEM. */
export async function testCertificate(): Promise<{ ca: string; cert: string; key: string }> {
  // One after the other: Bun runs CommonJS modules of one graph in any order, and x509 needs the polyfill first.
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const alg = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
  const caKeys = await crypto.subtle.generateKey(alg, true, ["sign", "verify"]);
  const keys = await crypto.subtle.generateKey(alg, true, ["sign", "verify"]);
  const dates = { notBefore: new Date(Date.now() - 3600_000), notAfter: new Date(Date.now() + 3600_000) };
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=test CA",
    keys: caKeys,
    signingAlgorithm: alg,
    ...dates,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  const cert = await x509.X509CertificateGenerator.create({
    subject: "CN=lab",
    issuer: ca.subject,
    publicKey: keys.publicKey,
    signingKey: caKeys.privateKey,
    signingAlgorithm: alg,
    ...dates,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: "ip", value: "127.0.0.1" }])],
  });
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  return { ca: ca.toString("pem"), cert: cert.toString("pem"), key: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n` };
}
