// Constants on the right of a match. nft reads strings loosely: "@x" names a set, "*" is a wildcard, and an unknown word where an
// address belongs is looked up in the DNS. So text becomes a value only through one of these functions.
import { isIP, isIPv4, isIPv6 } from "node:net";
import { badInput } from "./error.ts";

declare const checked: unique symbol;
/** A string that went through one of the functions here. */
export type Word = string & { readonly [checked]: true };
const trusted = (text: string) => text as Word;

/** An IPv4 or IPv6 address literal without zone. Throws `NftError` for anything else, a host name above all. */
export function address(text: string): Word {
  if (isIP(text) === 0 || text.includes("%")) throw badInput(`${quote(text)} is not an IP address`);
  return trusted(text);
}

/** An address range in CIDR notation, such as 10.0.0.0/8. */
export function prefix(text: string): { readonly prefix: { readonly addr: Word; readonly len: number } } {
  const [addr = "", bits = "", ...more] = text.split("/");
  const most = isIPv4(addr) ? 32 : isIPv6(addr) ? 128 : -1;
  const len = /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
  if (more.length > 0 || !(len <= most)) throw badInput(`${quote(text)} is not an address prefix such as 10.0.0.0/8`);
  return { prefix: { addr: address(addr), len } };
}

/** A TCP, UDP or SCTP port, 0 to 65535. */
export function port(value: number): number {
  if (!Number.isInteger(value) || value < 0 || value > 65535) throw badInput(`${value} is not a port`);
  return value;
}

/** An interface name as the kernel allows it: 1-15 bytes, no slash, no white space (net/core/dev.c, dev_valid_name). A final `*` would be a wildcard. */
export function iface(name: string): Word {
  if (!/^[^\s/:@*"\\]{1,15}$/.test(name) || name === "." || name === "..") throw badInput(`${quote(name)} is not an interface name`);
  return trusted(name);
}

/** One of nft's own words: an ICMP type, a TCP flag, a conntrack state, a protocol. */
export function word(text: string): Word {
  if (!/^[a-z][a-z0-9-]{0,63}$/.test(text)) throw badInput(`${quote(text)} is not a word of nft`);
  return trusted(text);
}

/** A number written in hexadecimal, for raw payload wider than 53 bits. */
export function hex(text: string): Word {
  if (!/^0x[0-9a-f]{1,64}$/.test(text)) throw badInput(`${quote(text)} is not a hexadecimal number`);
  return trusted(text);
}

/** A name for a table, chain, set or counter: what nft's own grammar allows, so that `nft list` output can be read back. At most 31 characters, for old kernels. */
export function identifier(text: string): string {
  if (!/^[A-Za-z][A-Za-z0-9_./-]{0,30}$/.test(text)) {
    throw badInput(`${quote(text)} is not a name: use up to 31 letters, digits, "_", "-", "." or "/", with a letter first`);
  }
  return text;
}

/** A comment or log prefix: printable ASCII without quotes or backslashes, which nft prints unescaped. */
export function text(value: string, most: number): string {
  if (value.length > most || !/^[ !#-[\]-~]*$/.test(value)) {
    throw badInput(
      `${quote(value)} cannot be a comment or log prefix: use up to ${most} printable ASCII characters, no quotes or backslashes`,
    );
  }
  return value;
}

const quote = (value: string) => JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}...` : value);
