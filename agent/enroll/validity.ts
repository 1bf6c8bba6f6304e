// Dates of a certificate. Apart from certificate.ts, so that a running agent need not load a whole X.509 library to know when to renew.
import { X509Certificate } from "node:crypto";

/** Device certificates are issued for this long. notBefore says nothing: it lies years back, for boards without a clock. */
const LIFE_MS = 30 * 86_400_000;

/** When the certificate ends, milliseconds since 1970. */
export const expiresMs = (cert: string): number => Date.parse(new X509Certificate(cert).validTo);

/** Milliseconds until the certificate should be renewed (a third of its life has passed), negative when that time has come. */
export function renewInMs(cert: string, nowMs: number): number {
  const { validFrom, validTo } = new X509Certificate(cert);
  const notAfterMs = Date.parse(validTo);
  return notAfterMs - (Math.min(notAfterMs - Date.parse(validFrom), LIFE_MS) * 2) / 3 - nowMs;
}
