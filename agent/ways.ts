// The ways to the site: its hosts, best first, and while isolated the addresses that still pass.
import { splitHostPort } from "./site-tls.ts";
import type { Target } from "./uplink/dial.ts";

/**
 * Names and addresses of the site, best first, each once: what the configuration names, else those of the token. An IPv6 address has no brackets.
 */
export function hostsOf(identity: { readonly mqtt: string; readonly also?: readonly string[] | undefined }, configured: readonly string[]) {
  return configured.length > 0 ? configured : [...new Set([splitHostPort(identity.mqtt).host, ...(identity.also ?? [])])];
}

/**
 * Where to connect, in order. `pinned` are the addresses isolation lets through, when it does: names cannot be looked up then, and which name an
 * address answers to only its certificate tells.
 */
export function waysTo(address: string, hosts: readonly string[], pinned: readonly string[]): Target[] {
  const { port } = splitHostPort(address);
  return hosts.map((host) => ({ host, port, ...(pinned.length > 0 ? { addresses: pinned } : {}) }));
}
