// ELF files (elf(5)) as the rules' samples need them: headers and data, no instruction. Nothing here can run.

export type ElfOptions = {
  readonly bits?: 32 | 64;
  readonly byteOrder?: "little" | "big";
  /** e_type; default "executable". */
  readonly type?: "executable" | "shared" | "relocatable" | "core";
  /** False: no section headers. */
  readonly sections?: boolean;
  /** p_flags of each PT_LOAD: 4 read, 2 write, 1 execute. Default: one of code (5), one of data (6). */
  readonly loads?: readonly number[];
  /** What lies behind the headers, in this order. Texts end with a zero byte. */
  readonly data?: readonly (string | Uint8Array)[];
  /** Zeros are added until the file is this long. Bytes. */
  readonly sizeBytes?: number;
};

const typeNumber = { relocatable: 1, executable: 2, shared: 3, core: 4 } as const;
const PT_LOAD = 1;
const SECTIONS = 3;

export function elf(of: ElfOptions = {}): Uint8Array {
  const { bits = 64, byteOrder = "little", type = "executable", sections = true, loads = [5, 6], data = [] } = of;
  const wide = bits === 64;
  const little = byteOrder === "little";
  const [headerSize, programSize, sectionSize] = wide ? [64, 56, 64] : [52, 32, 40];
  const parts = data.map((part) => (typeof part === "string" ? Buffer.from(`${part}\0`, "latin1") : part));
  const head = headerSize + loads.length * programSize;
  const body = parts.reduce((sum, { length }) => sum + length, 0);
  const tail = sections ? SECTIONS * sectionSize : 0;
  const size = Math.max(head + body + tail, of.sizeBytes ?? 0);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  const short = (at: number, value: number) => view.setUint16(at, value, little);
  const word = (at: number, value: number) => view.setUint32(at, value, little);
  const long = (at: number, value: number) => (wide ? view.setBigUint64(at, BigInt(value), little) : word(at, value));

  bytes.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, little ? 1 : 2, 1]);
  short(16, typeNumber[type]);
  short(18, wide ? 62 : 40);
  word(20, 1);
  const [phoff, shoff, counts] = wide ? [32, 40, 52] : [28, 32, 40];
  long(phoff, headerSize);
  if (sections) long(shoff, size - tail);
  const lengths = [headerSize, programSize, loads.length, sectionSize, sections ? SECTIONS : 0, sections ? SECTIONS - 1 : 0];
  for (const [index, value] of lengths.entries()) short(counts + index * 2, value);
  for (const [index, flags] of loads.entries()) {
    const at = headerSize + index * programSize;
    word(at, PT_LOAD);
    word(at + (wide ? 4 : 24), flags);
  }
  let at = head;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A text as bots hide theirs: every byte exclusive-or `key`. */
export const hidden = (text: string, key: number): Uint8Array => Buffer.from(text, "latin1").map((byte) => byte ^ key);
