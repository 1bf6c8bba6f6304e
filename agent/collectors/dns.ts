// net.dns. Kernel side: bpf/dns.bpf.h, which hands over what is sent to port 53.
import { dnsRecord } from "../bpf/layout.gen.ts";
import type { Handler } from "./collector.ts";
import { decodeHead } from "./record.ts";

const HEADER_BYTES = 12;
const MAX_NAME = 255;
/** The same question of the same program and process within this time is one event: a lookup asks for several kinds of address, and asks again. */
const SAME_NS = 60_000_000_000n;
const MAX_ASKED = 1024;

/** Reports the name of each query. Answers are not looked at. */
export function dnsCollector(): Handler {
  const asked = new Map<string, bigint>();
  return (record, { processes, wallTime, emit }) => {
    const head = decodeHead(record);
    const query = queryOf(record);
    if (query === undefined) return;
    const process = processes.describe(head);
    // Not of its number alone: a process may run another program, which asks for its own reasons.
    const key = `${process.pid} ${process.startTicks} ${process.uid} ${process.exe} ${query}`;
    const before = asked.get(key);
    if (before !== undefined && head.bootNs - before < SAME_NS) return;
    asked.delete(key);
    asked.set(key, head.bootNs);
    if (asked.size > MAX_ASKED) asked.delete(asked.keys().next().value!);
    emit({ type: "net.dns", timeMs: wallTime(head.bootNs), body: { process, net: { query } } });
  };
}

function queryOf(record: DataView): string | undefined {
  const length = Math.min(record.getUint32(dnsRecord.len, true), dnsRecord.payloadSize, record.byteLength - dnsRecord.payload);
  const bytes = new Uint8Array(record.buffer, record.byteOffset + dnsRecord.payload, Math.max(0, length));
  // The descriptor may have become a file's in the meantime, and what is written there is nobody's business.
  const plain = record.getUint32(dnsRecord.written, true) === 0 || isPlainQuery(bytes) ? bytes : undefined;
  if (record.getUint32(dnsRecord.stream, true) === 0) return plain && decodeQuery(plain);
  // RFC 1035, 4.2.2: two bytes of length, in the same call or in one of their own.
  const behind = bytes.subarray(2);
  return isPlainQuery(behind) ? decodeQuery(behind) : isPlainQuery(bytes) ? decodeQuery(bytes) : undefined;
}

/** One question, nothing answered, at most two records of the asker's own (EDNS, TSIG): what resolvers send, and no text looks like. */
const isPlainQuery = (message: Uint8Array) =>
  ((message[2] ?? 0xff) & 0xf8) === 0 &&
  message[4] === 0 &&
  message[5] === 1 &&
  message.subarray(6, 11).every((byte) => byte === 0) &&
  (message[11] ?? 0xff) <= 2;

/** The name of the first question of a DNS query (RFC 1035, 4.1), without the final dot; undefined for an answer or what is none. */
export function decodeQuery(message: Uint8Array): string | undefined {
  const isAnswer = (message[2] ?? 0x80) & 0x80;
  const questions = ((message[4] ?? 0) << 8) | (message[5] ?? 0);
  if (message.length <= HEADER_BYTES || isAnswer || questions === 0) return undefined;
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let length = message[at]!; length !== 0; length = message[at]!) {
    // A pointer has nothing to point back to in a first question.
    if (length > 63 || at + 1 + length >= message.length) return undefined;
    labels.push(labelOf(message.subarray(at + 1, at + 1 + length)));
    at += 1 + length;
    if (at - HEADER_BYTES > MAX_NAME) return undefined;
  }
  return labels.length === 0 ? "." : labels.join(".").slice(0, MAX_NAME);
}

/** In the presentation of master files (RFC 1035, 5.1): a byte that is not printable is \DDD, a dot inside a label \. */
const labelOf = (bytes: Uint8Array) =>
  Array.from(bytes, (byte) => {
    if (byte === 0x2e || byte === 0x5c) return `\\${String.fromCharCode(byte)}`;
    return byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\${String(byte).padStart(3, "0")}`;
  }).join("");
