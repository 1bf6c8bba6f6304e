// The kernel's tables of sockets (proc_pid_net(5)): the sensor asks them for both ends of one, the steps below BPF and the inventory for all.

export type Address = { readonly ip: string; readonly port: number };

export type Ends = { readonly local: Address; readonly remote: Address };

/** A line of a table like /proc/net/tcp or /proc/net/udp. `state` as in include/net/tcp_states.h; `inode` is "0" when no process has it any more. */
export type Socket = Ends & { readonly state: number; readonly uid: number; readonly inode: string };

/** All lines of such a table that make sense. */
export function parseSockets(table: string): Socket[] {
  return table.split("\n").flatMap((line) => {
    const columns = line.trim().split(/\s+/);
    const [, local = "", remote = "", state = "", , , , uid = "", , inode = ""] = columns;
    if (!/^\d+$/.test(inode)) return [];
    return [{ local: addressOf(local), remote: addressOf(remote), state: Number.parseInt(state, 16), uid: Number(uid), inode }];
  });
}

/** An address and a port as such a table writes them. */
export function addressOf(column: string): Address {
  const [address = "", port = ""] = column.split(":");
  const bytes = hostOrder(address);
  // A mapped IPv4 address is written as IPv4: it is one on the wire.
  const mapped = bytes.length === 16 && bytes[10] === 0xff && bytes[11] === 0xff && bytes.slice(0, 10).every((byte) => byte === 0);
  const ip = bytes.length === 4 ? bytes.join(".") : mapped ? bytes.slice(12).join(".") : ipv6(bytes);
  return { ip, port: Number.parseInt(port, 16) };
}

// The kernel prints 32-bit words of this machine's order: little-endian on both architectures.
function hostOrder(hex: string): number[] {
  const words = hex.match(/.{8}/g) ?? [];
  return words.flatMap((word) => [6, 4, 2, 0].map((at) => Number.parseInt(word.slice(at, at + 2), 16)));
}

function ipv6(bytes: readonly number[]): string {
  const groups = Array.from({ length: 8 }, (_, index) => ((bytes[index * 2]! << 8) | bytes[index * 2 + 1]!).toString(16)).join(":");
  // WHATWG URL parsing writes addresses as RFC 5952 wants them.
  return new URL(`http://[${groups}]/`).hostname.slice(1, -1);
}
