// @peculiar/x509 needs the reflect polyfill at the moment it is loaded, and Bun runs the CommonJS modules of one graph in the order
// they come from disk, not in that of the imports. Two awaited imports leave it no choice.
await import("reflect-metadata");

export const {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} = await import("@peculiar/x509");
export type Extension = import("@peculiar/x509").Extension;
export type X509Certificate = import("@peculiar/x509").X509Certificate;
