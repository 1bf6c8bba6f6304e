// net.connect, net.listen and net.accept. Kernel side: bpf/net.bpf.h.
import { acceptRecord, connectRecord, listenRecord } from "../bpf/layout.gen.ts";
import type { Handler } from "./collector.ts";
import { decodeHead } from "./record.ts";

type Proto = "tcp" | "udp";
export type Address = { readonly ip: string; readonly port: number };

const AF_INET = 2;
const AF_INET6 = 10;

/** Reports attempts: a connect that fails, or is never answered, is of interest too. Whether it came about is not known here. */
export const onConnect: Handler = (record, { processes, wallTime, emit }) => {
  const head = decodeHead(record);
  const { proto, address } = decodeConnect(record);
  if (!address) return;
  const net = { proto, dstIp: address.ip, dstPort: address.port };
  emit({ type: "net.connect", timeMs: wallTime(head.bootNs), body: { process: processes.describe(head), net } });
};

/** Where a listening socket of a process really is: the kernel picks the port for one that was not bound. */
export type BoundAddress = (pid: number, fd: number) => Address | undefined;

export function listenCollector(boundAddress: BoundAddress): Handler {
  return (record, { processes, wallTime, emit }) => {
    const head = decodeHead(record);
    const { proto, fd, address } = decodeListen(record);
    const where = address && address.port !== 0 ? address : boundAddress(head.pid, fd);
    if (!where) return; // Not an internet socket; or gone, before it could serve anybody.
    emit({
      type: "net.listen",
      timeMs: wallTime(head.bootNs),
      body: { process: processes.describe(head), net: { proto, ip: where.ip, port: where.port } },
    });
  };
}

/** Both ends of a connected TCP socket; undefined when it is none, or gone. */
export type Ends = (pid: number, fd: number) => { local: Address; remote: Address } | undefined;

/** How often both ends of an accepted connection may be looked up in a second: reading the kernel's table of sockets takes time. */
const LOOKUPS_PER_S = 20;
const MAX_LISTENERS = 256;
const FORGET_NS = 60_000_000_000n;

/**
 * Reports accepted TCP connections. Programs that do not ask who connected, and listeners not seen yet, need a look into /proc; past 20 of those a second the
 * unknown addresses are empty and the ports 0.
 */
export function acceptCollector(ends: Ends): Handler {
  const listeners = new Map<string, { address: Address | undefined; knownNs: bigint }>();
  let second = 0n;
  let lookups = 0;
  const lookUp = (pid: number, fd: number, bootNs: bigint) => {
    if (bootNs / 1_000_000_000n !== second) [second, lookups] = [bootNs / 1_000_000_000n, 0];
    return lookups++ < LOOKUPS_PER_S ? { found: ends(pid, fd) } : undefined;
  };
  return (record, { processes, wallTime, emit }) => {
    const head = decodeHead(record);
    const { fd, newFd, address: peer } = decodeAccept(record);
    const key = `${head.pid} ${fd}`;
    let listener = listeners.get(key);
    if (listener && head.bootNs - listener.knownNs > FORGET_NS) listener = undefined;
    if (!listener) {
      // The listening socket is still open when the accepted one may be closed again.
      const looked = lookUp(head.pid, fd, head.bootNs);
      if (looked) {
        listener = { address: looked.found?.local, knownNs: head.bootNs };
        listeners.delete(key);
        listeners.set(key, listener);
        if (listeners.size > MAX_LISTENERS) listeners.delete(listeners.keys().next().value!);
      }
    }
    // A UNIX socket; asked once a minute.
    if (listener && !listener.address && !peer) return;
    const remote = peer ?? lookUp(head.pid, newFd, head.bootNs)?.found?.remote;
    const local = listener?.address;
    const net = { proto: "tcp", ip: local?.ip ?? "", port: local?.port ?? 0, srcIp: remote?.ip ?? "", srcPort: remote?.port ?? 0 } as const;
    emit({ type: "net.accept", timeMs: wallTime(head.bootNs), body: { process: processes.describe(head), net } });
  };
}

export const decodeAccept = (record: DataView): { fd: number; newFd: number; address: Address | undefined } => ({
  fd: record.getInt32(acceptRecord.fd, true),
  newFd: record.getInt32(acceptRecord.newFd, true),
  address: decodeAddress(record, acceptRecord),
});

export function decodeConnect(record: DataView): { proto: Proto; address: Address | undefined } {
  return { proto: protoOf(record, connectRecord.datagram), address: decodeAddress(record, connectRecord) };
}

export function decodeListen(record: DataView): { proto: Proto; fd: number; address: Address | undefined } {
  return {
    proto: protoOf(record, listenRecord.datagram),
    fd: record.getInt32(listenRecord.fd, true),
    address: decodeAddress(record, listenRecord),
  };
}

const protoOf = (record: DataView, at: number): Proto => (record.getUint32(at, true) === 0 ? "tcp" : "udp");

function decodeAddress(record: DataView, at: { family: number; port: number; addr: number }): Address | undefined {
  const family = record.getUint32(at.family, true);
  const port = record.getUint32(at.port, true);
  const bytes = Array.from({ length: 16 }, (_, index) => record.getUint8(at.addr + index));
  if (family === AF_INET) return { ip: bytes.slice(0, 4).join("."), port };
  if (family === AF_INET6) return { ip: ipv6(bytes), port };
  return undefined;
}

/** RFC 5952 text of 16 bytes. A mapped IPv4 address is written as IPv4: it is one on the wire. */
export function ipv6(bytes: readonly number[]): string {
  const groups = Array.from({ length: 8 }, (_, index) => (bytes[index * 2]! << 8) | bytes[index * 2 + 1]!);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) return bytes.slice(12).join(".");
  const zeros = longestZeros(groups);
  const hex = groups.map((group) => group.toString(16));
  if (zeros.length < 2) return hex.join(":");
  return `${hex.slice(0, zeros.start).join(":")}::${hex.slice(zeros.start + zeros.length).join(":")}`;
}

function longestZeros(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}
