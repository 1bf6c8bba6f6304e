// Batches a stolen device might send, each within the size of a message.
import { zstdCompressSync } from "node:zlib";
import { BOOT } from "./site.ts";

type Header = Readonly<Record<string, unknown>>;
const head = (device: string, of: Header) =>
  Buffer.from(`${JSON.stringify({ v: 1, device, boot: BOOT, epoch: "epoch000", runs: [[0, 1]], oldest: 0, ...of })}\n`);

/** By what is wrong with them. */
export function hostileBatches(device: string): Readonly<Record<string, () => Buffer>> {
  const batch = (body: Uint8Array, of: Header = {}) => Buffer.concat([head(device, of), body]);
  const packed = (text: string | Buffer, of: Header = {}) => batch(zstdCompressSync(text), of);
  const zeros = (bytes: number) => zstdCompressSync(Buffer.alloc(bytes));
  /** A frame of run-length blocks (RFC 8878, 3.1.1.2.2): 128 KiB for every four bytes, under a size it does not keep to. */
  const liar = (says: number) => {
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(says));
    const block = (last: boolean) => {
      const header = ((128 << 10) << 3) | (1 << 1) | (last ? 1 : 0);
      return Buffer.from([header & 0xff, (header >> 8) & 0xff, (header >> 16) & 0xff, 0x20]);
    };
    const blocks = Array.from({ length: 200_000 }, (_, at) => block(at === 199_999));
    return Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xc0, 0x58]), size, ...blocks]);
  };
  return {
    "a bomb that says what it is": () => batch(zeros(256 << 20)),
    "a bomb that says it is small": () => batch(liar(1000)),
    "a bomb that says 2^62": () => batch(liar(2 ** 62)),
    "many frames": () => batch(Buffer.concat(Array.from({ length: 100 }, () => zeros(4 << 20)))),
    "skippable frames": () => batch(Buffer.concat([Buffer.from([0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]), zeros(100)])),
    "four megabytes of nothing": () => batch(zeros(4 << 20)),
    "arrays two million deep": () => packed("[".repeat(2_000_000)),
    "objects deep within a megabyte": () => packed(`{"a":`.repeat(200_000)),
    "more lines than announced": () => packed("{}\n".repeat(1_000_000)),
    "a million runs": () => packed("{}", { runs: Array.from({ length: 1_000_000 }, (_, at) => [at * 2, 1]) }),
    "a header of a megabyte": () => packed("{}", { padding: "x".repeat(1 << 20) }),
    "a header without an end": () => Buffer.alloc(1 << 20, 0x7b),
    "a version from the future": () => packed("{}", { v: 99 }),
    "numbers beyond counting": () => packed("{}", { runs: [[Number.MAX_SAFE_INTEGER, 1]] }),
    "more events than a batch has": () => packed("{}\n".repeat(500), { runs: [[0, 501]] }),
    "a name that is none": () => packed("{}", { device: "../../etc" }),
    garbage: () => crypto.getRandomValues(Buffer.alloc(60_000)),
  };
}
