// What the kernel filters by, made from the prefixes a user wrote.
import { nameBits, near, starts, watchBits, watchKey } from "./layout.gen.ts";
import type { Libbpf } from "./libbpf.ts";

export type Watch = { readonly read: readonly string[]; readonly write: readonly string[] };

/** Value of each prefix in the kernel's trie. The longest one found must speak for all shorter ones that cover it. */
export function trieOf(watch: Watch): Map<string, number> {
  const own = new Map<string, number>();
  for (const [prefixes, bit] of [
    [watch.read, watchBits.read],
    [watch.write, watchBits.write],
  ] as const) {
    for (const prefix of prefixes) own.set(key(prefix), (own.get(key(prefix)) ?? 0) | bit);
  }
  const covering = (prefix: string) => [...own].filter(([other]) => prefix.startsWith(other)).reduce((bits, [, bit]) => bits | bit, 0);
  return new Map([...own.keys()].map((prefix) => [prefix, covering(prefix)]));
}

// The trie holds this much; user space compares the rest.
const key = (prefix: string) => Buffer.from(prefix).subarray(0, watchKey.pathSize).toString("latin1");

const START_PRIME = 0x9e3779b97f4a7c15n;

/** The table `starts` of watch.bpf.h: what any path must begin with to be below one of these prefixes. */
export function startsOf(prefixes: Iterable<string>): Buffer {
  const table = Buffer.alloc(starts.size);
  for (const prefix of prefixes) {
    const bytes = Buffer.from(prefix, "latin1");
    const length = [12, 8, 6, 5].find((most) => bytes.length >= most);
    if (length === undefined) {
      table.writeUInt32LE(1, starts.shorter);
      continue;
    }
    const start = Buffer.alloc(12);
    bytes.copy(start, 0, 0, length);
    const hash = (start.readBigUInt64LE() + BigInt(start.readUInt32LE(8)) * START_PRIME) * START_PRIME;
    const bit = Number(BigInt.asUintN(64, hash) >> 48n);
    table[starts.bits + (bit >> 3)]! |= 1 << (bit & 7);
  }
  return table;
}

/** Names and directories through which a watched path can be reached without being written out, by hash. */
export function namesOf(watch: Watch): Map<bigint, number> {
  const names = new Map<bigint, number>();
  const add = (text: string, bits: number) => names.set(pathHash(text), (names.get(pathHash(text)) ?? 0) | bits);
  for (const prefix of [...watch.read, ...watch.write]) {
    const parts = prefix.split("/").slice(1);
    const last = parts.pop() ?? "";
    if (last !== "" && watch.read.includes(prefix)) add(last, nameBits.file);
    for (let depth = 1; depth <= parts.length; depth++) {
      add(parts[depth - 1]!, nameBits.dir);
      add(`/${parts.slice(0, depth).join("/")}`, nameBits.whole);
    }
  }
  return names;
}

/** FNV-1a, 64 bits, as watch.bpf.h computes it. */
export function pathHash(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text)) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffff_ffff_ffff_ffffn;
  return hash;
}

/** True when a relative path in `directory` could lead to a watched one without "..": it is inside or above a prefix. */
export function isNear(directory: string, prefixes: readonly string[]): boolean {
  const inside = directory.endsWith("/") ? directory : `${directory}/`;
  return prefixes.some((prefix) => prefix.startsWith(inside) || inside.startsWith(prefix));
}

/** Fills the kernel's filter. Returns how many entries did not fit. */
export function writeWatch(lib: Libbpf, fds: { watch: number; starts: number; names: number }, watch: Watch): number {
  const value = Buffer.alloc(4);
  let refused = 0;
  const put = (map: number, entry: Buffer, bits: number) => {
    value.writeUInt32LE(bits);
    if (lib.bpf_map_update_elem(map, entry, value, 0n) !== 0) refused++;
  };
  const trie = trieOf(watch);
  if (lib.bpf_map_update_elem(fds.starts, Buffer.alloc(4), startsOf(trie.keys()), 0n) !== 0) refused++;
  for (const [prefix, bits] of trie) {
    const entry = Buffer.alloc(watchKey.size);
    entry.writeUInt32LE(prefix.length * 8, watchKey.bits);
    entry.write(prefix, watchKey.path, "latin1");
    put(fds.watch, entry, bits);
  }
  for (const [hash, bits] of namesOf(watch)) {
    const entry = Buffer.alloc(8);
    entry.writeBigUInt64LE(hash);
    put(fds.names, entry, bits);
  }
  return refused;
}

/** Tells the kernel that this process can reach watched paths through its working directory. */
export function setNear(lib: Libbpf, nears: number, pid: number): void {
  const { id, value } = readNear(lib, nears, pid);
  const bits = Buffer.alloc(4);
  bits.writeUInt32LE((value | near.cwd) >>> 0);
  lib.bpf_map_update_elem(nears, id, bits, 0n);
}

/** Takes that back, when the process has not moved again since `seen`, the value that came with its last move. */
export function clearNear(lib: Libbpf, nears: number, pid: number, seen: number): void {
  const { id, value } = readNear(lib, nears, pid);
  // The counter in the upper bits tells of a newer move, whose record is still on its way.
  if (value === 0 || Math.floor(value / near.move) !== Math.floor(seen / near.move)) return;
  const bits = Buffer.alloc(4);
  bits.writeUInt32LE((value & ~near.cwd) >>> 0);
  lib.bpf_map_update_elem(nears, id, bits, 0n);
}

function readNear(lib: Libbpf, nears: number, pid: number): { id: Buffer; value: number } {
  const id = Buffer.alloc(4);
  const value = Buffer.alloc(4);
  id.writeUInt32LE(pid);
  return { id, value: lib.bpf_map_lookup_elem(nears, id, value) === 0 ? value.readUInt32LE() : 0 };
}
