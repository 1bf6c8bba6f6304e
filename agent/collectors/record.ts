// Decodes what all kernel records share. `decode` trusts our own kernel side for structure, never for text.
import { record as at } from "../bpf/layout.gen.ts";
import type { Head } from "../processes.ts";

export function decodeHead(record: DataView): Head {
  return {
    bootNs: record.getBigUint64(at.bootNs, true),
    cgroup: record.getBigUint64(at.cgroup, true),
    pid: record.getUint32(at.pid, true),
    tid: record.getUint32(at.tid, true),
    uid: record.getInt32(at.uid, true),
    comm: text(record, at.comm, at.commSize),
  };
}

// Paths and arguments are bytes chosen by the process we watch. Invalid UTF-8 becomes U+FFFD instead of
// throwing, and a BOM stays: dropped, it would let a second name pass for the first.
const utf8 = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

/** The text at `offset` up to its NUL, at most `length` bytes. */
export function text(record: DataView, offset: number, length: number): string {
  const bytes = bytesAt(record, offset, length);
  const end = bytes.indexOf(0);
  return utf8.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** Texts, each with its NUL; a piece without one at the end is kept. */
export function texts(record: DataView, offset: number, length: number): string[] {
  const list = utf8.decode(bytesAt(record, offset, length)).split("\0");
  if (list.at(-1) === "") list.pop();
  return list;
}

function bytesAt(record: DataView, offset: number, length: number): Uint8Array {
  const room = Math.max(0, record.byteLength - offset);
  return new Uint8Array(record.buffer, record.byteOffset + offset, Math.min(length, room));
}
