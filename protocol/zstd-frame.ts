// What a zstd frame says of itself (RFC 8878), read before anything is inflated.

/** Largest window a reader is asked to keep. Batches are small: their window is their size. */
const MAX_WINDOW_BYTES = 8 << 20;
const MAGIC = 0xfd2fb528;
const DICTIONARY_BYTES = [0, 1, 2, 4];

/** The bytes are not one whole zstd frame that says how much it unfolds into. */
export class BadFrame extends Error {
  override name = "BadFrame";
}

type Head = { readonly contentBytes: number; readonly headerBytes: number; readonly checksum: boolean };

/** A little-endian number. Read for every message: a DataView would cost more than the rest of this file. */
function numberAt(bytes: Uint8Array, at: number, length: number): number {
  let value = 0;
  for (let byte = length - 1; byte >= 0; byte--) value = value * 256 + bytes[at + byte]!;
  return value;
}

/** Section 3.1.1.1. Throws `BadFrame`. */
function readHead(bytes: Uint8Array): Head {
  if (bytes.length < 6 || numberAt(bytes, 0, 4) !== MAGIC) throw new BadFrame("not a zstd frame");
  const flags = bytes[4]!;
  const single = (flags & 0x20) !== 0;
  if (flags & 0x08) throw new BadFrame("a zstd frame with a reserved bit set");
  if (DICTIONARY_BYTES[flags & 3] !== 0) throw new BadFrame("a zstd frame that needs a dictionary");
  const sizeBytes = [single ? 1 : 0, 2, 4, 8][flags >> 6]!;
  if (sizeBytes === 0) throw new BadFrame("a zstd frame that does not say how much it unfolds into");
  const at = single ? 5 : 6;
  if (bytes.length < at + sizeBytes) throw new BadFrame("a zstd frame that ends in its header");
  if (!single) {
    const base = 2 ** (10 + (bytes[5]! >> 3));
    const window = base + (base / 8) * (bytes[5]! & 7);
    if (window > MAX_WINDOW_BYTES) throw new BadFrame(`a zstd frame with a window of ${window} bytes`);
  }
  // Section 3.1.1.1.4: a size of two bytes is told less 256.
  const contentBytes = numberAt(bytes, at, sizeBytes) + (sizeBytes === 2 ? 256 : 0);
  return { contentBytes, headerBytes: at + sizeBytes, checksum: (flags & 0x04) !== 0 };
}

/**
 * Bytes the frame unfolds into, as it says itself; whoever inflates must hold it to that. Throws `BadFrame` unless `bytes` are exactly one
 * frame: a second one, or a skippable one, would unfold into more than the first says.
 */
export function readFrame(bytes: Uint8Array): { contentBytes: number } {
  const { contentBytes, headerBytes, checksum } = readHead(bytes);
  let at = headerBytes;
  for (let last = false; !last; ) {
    if (at + 3 > bytes.length) throw new BadFrame("a zstd frame that ends early");
    const block = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16);
    const type = (block >> 1) & 3;
    if (type === 3) throw new BadFrame("a zstd frame with a block of no known type");
    last = (block & 1) === 1;
    // Section 3.1.1.2.2: a block of type 1 holds one byte, to be repeated.
    at += 3 + (type === 1 ? 1 : block >> 3);
  }
  if (at + (checksum ? 4 : 0) !== bytes.length) throw new BadFrame("more or less than one zstd frame");
  return { contentBytes };
}
