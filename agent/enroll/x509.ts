// @peculiar/x509 needs the reflect polyfill at the moment it is loaded, and Bun runs the CommonJS modules of one graph in the order
// they come from disk, not in that of the imports. Two awaited imports leave it no choice.
await import("reflect-metadata");

export const { PemConverter, Pkcs10CertificateRequest, Pkcs10CertificateRequestGenerator, X509Certificate } = await import(
  "@peculiar/x509"
);
