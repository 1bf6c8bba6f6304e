import { checkServerIdentity, type PeerCertificate } from "node:tls";

/**
 * Whether a certificate, already chained to the pinned site CA, belongs to the site itself at this host: the name or address must be
 * in its alternative names (RFC 9525) and its role `site`. The same CA signs devices, and a stolen device must not pass for the broker.
 * Returns the reason when it does not.
 */
export function checkSite(host: string, certificate: PeerCertificate): Error | undefined {
  const mismatch = checkServerIdentity(host, certificate);
  if (mismatch) return mismatch;
  const role: unknown = certificate.subject?.OU;
  if (role === "site") return undefined;
  return new Error(
    `the certificate of ${host} belongs to a ${typeof role === "string" ? role : "stranger"}, not to a site: someone may be posing as the broker`,
  );
}

/** Splits "host:port" of an address in a token or identity; an IPv6 host loses its brackets. */
export function splitHostPort(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(":");
  return { host: address.slice(0, at).replace(/^\[(.*)\]$/, "$1"), port: Number(address.slice(at + 1)) };
}

/** The other way round. */
export const joinHostPort = (host: string, port: number): string => `${host.includes(":") ? `[${host}]` : host}:${port}`;
