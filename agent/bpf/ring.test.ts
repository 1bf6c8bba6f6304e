import { expect, test } from "vitest";
import { recordAt } from "./ring.ts";

const ring = Uint8Array.from({ length: 16 }, (_, index) => index).buffer;

test.each([
  ["inside", 4, 4, [4, 5, 6, 7]],
  ["up to the end", 12, 4, [12, 13, 14, 15]],
  ["over the end", 13, 5, [13, 14, 15, 0, 1]],
  ["nothing", 0, 0, []],
])("a record %s", (_, offset, length, bytes) => {
  const record = recordAt(ring, offset, length);
  expect([...new Uint8Array(record.buffer, record.byteOffset, record.byteLength)]).toEqual(bytes);
});

test("a record that is not cut is not copied", () => {
  expect(recordAt(ring, 0, 16).buffer).toBe(ring);
});
