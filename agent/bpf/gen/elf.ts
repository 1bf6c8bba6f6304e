/** The bytes of each named section of a little-endian ELF64 file (elf(5)). Throws when it is something else. */
export function elfSections(file: Uint8Array): Map<string, Uint8Array> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.getUint32(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1) throw new Error("not a little-endian ELF64 object");
  const table = Number(view.getBigUint64(0x28, true));
  const entrySize = view.getUint16(0x3a, true);
  const count = view.getUint16(0x3c, true);
  const section = (index: number) => {
    const at = table + index * entrySize;
    const offset = Number(view.getBigUint64(at + 0x18, true));
    return { name: view.getUint32(at, true), bytes: file.subarray(offset, offset + Number(view.getBigUint64(at + 0x20, true))) };
  };
  const names = section(view.getUint16(0x3e, true)).bytes;
  const sections = new Map<string, Uint8Array>();
  for (let index = 1; index < count; index++) {
    const { name, bytes } = section(index);
    sections.set(cString(names, name), bytes);
  }
  return sections;
}

/** The NUL-terminated string at `offset`. */
export function cString(bytes: Uint8Array, offset: number): string {
  return new TextDecoder().decode(bytes.subarray(offset, bytes.indexOf(0, offset)));
}
