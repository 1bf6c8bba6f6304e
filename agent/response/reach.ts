// Where the broker is, and whether it answers.
import { lookup } from "node:dns/promises";
import { connect, isIP, isIPv4 } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const RESOLVE_MS = 5_000;
const CONNECT_MS = 3_000;
const MAX_ADDRESSES = 32;

/** What the system's resolver says, /etc/hosts included. */
export const resolveBySystem = async (host: string): Promise<readonly string[]> =>
  (await lookup(host, { all: true })).map((found) => found.address);

/**
 * The addresses of all `hosts`, each once, in their order. A name that cannot be resolved is left out, unless nothing remains: throws then, for a
 * guess would be worse than no isolation.
 */
export async function addressesForAny(hosts: readonly string[], resolve: (host: string) => Promise<readonly string[]>) {
  const outcomes = await Promise.allSettled(hosts.map((host) => addressesFor(host, resolve)));
  const found = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? outcome.value : []));
  if (found.length === 0) throw outcomes.find((outcome) => outcome.status === "rejected")?.reason ?? new Error("the site has no host");
  return [...new Set(found)].slice(0, MAX_ADDRESSES);
}

/** The addresses of `host`, each once, all families; an address literal is its own. Throws when there are none. */
export async function addressesFor(host: string, resolve: (host: string) => Promise<readonly string[]>): Promise<readonly string[]> {
  if (isIP(host)) return [host];
  const found = await Promise.race([
    resolve(host).catch((error: Error) => new Error(error.message)),
    sleep(RESOLVE_MS, new Error(`no answer within ${RESOLVE_MS / 1000} s`), { ref: false }),
  ]);
  if (found instanceof Error) throw new Error(`the broker's name ${host} cannot be resolved: ${found.message}`);
  const usable = [...new Set(found.map(unmapped))].filter(isHost);
  if (usable.length === 0) throw new Error(`the broker's name ${host} has no usable address`);
  return usable.slice(0, MAX_ADDRESSES);
}

/** ::ffff:192.0.2.1 travels as IPv4. */
const unmapped = (address: string) => /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;

/** Unspecified, broadcast and multicast addresses would open more than one host. */
function isHost(address: string): boolean {
  if (isIP(address) === 0 || address.includes("%")) return false;
  if (isIPv4(address)) return Number(address.split(".")[0]) > 0 && Number(address.split(".")[0]) < 224;
  return !/^(?:::|ff.*)$/i.test(address);
}

export const isLoopback = (address: string) => address === "::1" || (isIPv4(address) && address.startsWith("127."));

/** Whether a TCP connection to `port` can be opened within 3 s. Never rejects. */
export function canConnect(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const timer = setTimeout(() => end(false), CONNECT_MS);
    function end(answer: boolean): void {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    }
    socket.on("connect", () => end(true));
    socket.on("error", () => end(false));
  });
}

export type Reach = (address: string, port: number) => Promise<boolean>;

/** Whether any of the addresses answers, asking all at once, up to `tries` times. */
export async function reachAny(addresses: readonly string[], port: number, reach: Reach, tries: number): Promise<boolean> {
  for (let left = tries; left > 0; left--) {
    const answers = addresses.map(async (address) => (await reach(address, port)) || Promise.reject(new Error(address)));
    if (await Promise.any(answers).catch(() => false)) return true;
    if (left > 1) await sleep(500);
  }
  return false;
}
