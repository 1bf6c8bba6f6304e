// Networks in CIDR notation (RFC 4632, RFC 4291).
import { isIP } from "node:net";

export type Network = { readonly network: readonly number[]; readonly bits: number };

/** Undefined when `text` is not a network. An address alone is a network of one. */
export function parseNetwork(text: string): Network | undefined {
  const [address = "", length, more] = text.trim().split("/");
  const network = parseAddress(address);
  if (!network || more !== undefined) return undefined;
  const most = network.length * 8;
  if (length === undefined) return { network: [...network], bits: most };
  if (!/^\d{1,3}$/.test(length) || Number(length) > most) return undefined;
  return { network: [...network], bits: Number(length) };
}

/** The bytes of an address; an IPv4 address inside IPv6 (::ffff:a.b.c.d) counts as IPv4, since a socket of either kind may have made it. */
export function parseAddress(text: string): Uint8Array | undefined {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text)?.[1];
  const address = mapped ?? text;
  const family = isIP(address);
  if (family === 4) return Uint8Array.from(address.split("."), Number);
  if (family !== 6 || address.includes("%")) return undefined;
  return ipv6(address);
}

function ipv6(address: string): Uint8Array {
  const dotted = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const hex = dotted
    ? address.slice(0, dotted.index) + [0, 2].map((at) => ((Number(dotted[at + 1]) << 8) | Number(dotted[at + 2])).toString(16)).join(":")
    : address;
  const [head = "", tail] = hex.split("::");
  const groups = (side: string | undefined) => (side ? side.split(":") : []);
  const front = groups(head);
  const back = groups(tail);
  const bytes = new Uint8Array(16);
  const put = (list: readonly string[], from: number) => {
    for (const [index, group] of list.entries()) {
      const value = Number.parseInt(group, 16);
      bytes[from + index * 2] = value >> 8;
      bytes[from + index * 2 + 1] = value & 0xff;
    }
  };
  put(front, 0);
  put(back, 16 - back.length * 2);
  return bytes;
}

/** Whether `address` lies in the network; never between the families. */
export function inside({ network, bits }: Network, address: Uint8Array | undefined): boolean {
  if (address?.length !== network.length) return false;
  const whole = bits >> 3;
  for (let at = 0; at < whole; at++) if (address[at] !== network[at]) return false;
  const rest = bits & 7;
  return rest === 0 || (address[whole]! ^ network[whole]!) >> (8 - rest) === 0;
}
