import { expect, test } from "vitest";
import { backoffMs } from "./backoff.ts";
import { packetGuard } from "./guard.ts";

/** A PUBLISH with `size` bytes after its fixed header. */
function packet(size: number): number[] {
  const bytes = [0x30];
  let rest = size;
  do {
    bytes.push((rest % 128) | (rest >= 128 ? 0x80 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return [...bytes, ...new Array<number>(size).fill(0xff)];
}

test.each([1, 2, 3, 7, 1000, 100_000])("packets up to the limit pass whatever pieces of %i bytes they come in", (piece) => {
  const guard = packetGuard(20_000);
  const bytes = Uint8Array.from([
    ...packet(0),
    ...packet(1),
    ...packet(127),
    ...packet(128),
    ...packet(16_384),
    ...packet(20_000),
    ...packet(2),
  ]);
  for (let at = 0; at < bytes.length; at += piece) expect(guard(bytes.subarray(at, at + piece))).toBeUndefined();
  const bad = Uint8Array.from(packet(20_001).slice(0, 4));
  const said = [...bad].map((byte) => guard(Uint8Array.of(byte)));
  expect(said).toEqual([undefined, undefined, undefined, 20_001]);
});

test("waiting times double from 50 ms to 12.8 s, of which a random half to all", () => {
  const most = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1000].map((failures) => backoffMs(failures, () => 1));
  expect(most).toEqual([50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 12_800, 12_800]);
  expect(backoffMs(9, () => 0)).toBe(6400);
});
