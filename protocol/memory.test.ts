import { expect, test } from "vitest";
import { addressOf, encodeTable, memoryPath, pidOfMemory, readTable } from "./memory.ts";

const places = [
  { address: "7f0000001000", size: 4096, what: "rwx anonymous" },
  { address: "5000", size: 10, what: "rw- [heap]" },
];
const sample = (pages: number, of: Parameters<typeof encodeTable>[0] = places) => Buffer.concat([Buffer.alloc(pages), encodeTable(of)]);

test("a place in the sample is a place in the process", () => {
  const table = readTable(sample(4106))!;
  expect([0, 4095, 4096, 4105].map((at) => addressOf(table, at))).toEqual([
    "0x7f0000001000 (rwx anonymous)",
    "0x7f0000001fff (rwx anonymous)",
    "0x5000 (rw- [heap])",
    "0x5009 (rw- [heap])",
  ]);
  expect(addressOf(table, 4106)).toBeUndefined();
});

test.each([
  ["an ordinary file", Buffer.from("hello]")],
  ["nothing", Buffer.alloc(0)],
  ["a table of more pages than there are", sample(4105)],
  ["a table of nothing", sample(0, [])],
  ["an address that is none", sample(1, [{ address: "../x", size: 1, what: "" }])],
  ["more than a table", Buffer.concat([sample(4106), Buffer.from("x")])],
])("no memory: %s", (_, bytes) => {
  expect(readTable(bytes)).toBeUndefined();
});

test("a path says whose memory it is", () => {
  expect(pidOfMemory(memoryPath(4711))).toBe(4711);
  expect(pidOfMemory("/tmp/proc/1/mem")).toBeUndefined();
  expect(pidOfMemory("/proc/1/mem/x")).toBeUndefined();
});
