// net.connect and net.listen. Kernel side: bpf/net.bpf.h.
import { connectRecord, listenRecord } from "../bpf/layout.gen.ts";
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
