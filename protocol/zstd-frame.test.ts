import { constants, zstdCompressSync } from "node:zlib";
import { expect, test } from "vitest";
import { BadFrame, readFrame } from "./zstd-frame.ts";

const text = Buffer.from("picket ".repeat(1000));
const good = () => Buffer.from(zstdCompressSync(text));

test.each([0, 1, 5, 255, 256, 257, 70_000, 300_000, 3_000_000])("a frame of %i bytes says so", (size) => {
  const bytes = crypto.getRandomValues(Buffer.alloc(Math.min(size, 60_000)));
  const content = Buffer.concat(Array.from({ length: Math.ceil(size / 60_000) || 1 }, () => bytes)).subarray(0, size);
  for (const level of [1, 3, 19])
    for (const checksum of [0, 1])
      expect(
        readFrame(
          zstdCompressSync(content, { params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: checksum } }),
        ),
      ).toEqual({ contentBytes: size });
  expect(readFrame(Bun.zstdCompressSync(content))).toEqual({ contentBytes: size });
});

/** A header as RFC 8878, section 3.1.1.1 describes it, and one empty last block. */
const made = (flags: number, rest: readonly number[]) => Buffer.from([0x28, 0xb5, 0x2f, 0xfd, flags, ...rest, 1, 0, 0]);

test.each<[string, Buffer, RegExp]>([
  ["nothing", Buffer.alloc(0), /not a zstd frame/],
  ["plain text", Buffer.from("hello, world"), /not a zstd frame/],
  ["a skippable frame first", Buffer.concat([Buffer.from([0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]), good()]), /not a zstd frame/],
  ["a skippable frame after", Buffer.concat([good(), Buffer.from([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0])]), /more or less than one/],
  ["two frames", Buffer.concat([good(), good()]), /more or less than one/],
  ["a byte too many", Buffer.concat([good(), Buffer.from([0])]), /more or less than one/],
  ["a frame that was cut", good().subarray(0, -3), /ends early|more or less/],
  ["no size", made(0x00, [0x58]), /does not say how much/],
  ["a window of 2 GiB", made(0x80, [0xa8, 1, 0, 0, 0]), /window of 2147483648 bytes/],
  ["a dictionary", made(0x21, [7, 1]), /needs a dictionary/],
  ["a reserved bit", made(0x28, [1]), /reserved/],
  ["a header without its size", Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xe0, 1, 2]), /ends in its header/],
  ["a block of no known type", Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x20, 1, 7, 0, 0]), /no known type/],
])("%s is refused before anything is inflated", (_, bytes, why) => {
  expect(() => readFrame(bytes)).toThrow(BadFrame);
  expect(() => readFrame(bytes)).toThrow(why);
});

test("a size of 2^60 is read as what it is", () => {
  expect(readFrame(made(0xe0, [0, 0, 0, 0, 0, 0, 0, 0x10]))).toEqual({ contentBytes: 2 ** 60 });
});

test("whatever the bytes are, it ends with an answer", () => {
  const frame = good();
  for (let at = 0; at < Math.min(frame.length, 64); at++)
    for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
      const bytes = Buffer.from(frame);
      bytes[at] = value;
      try {
        expect(readFrame(bytes).contentBytes).toBeGreaterThanOrEqual(0);
      } catch (error) {
        expect(error).toBeInstanceOf(BadFrame);
      }
    }
});
