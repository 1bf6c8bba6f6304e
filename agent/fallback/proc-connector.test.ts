import { describe, expect, test } from "vitest";
import { parseMessages, Sequence } from "./proc-connector.ts";

const FORK = 1;
const EXEC = 2;
const UID = 4;
const EXIT = 0x80000000;

/** One message as the kernel lays it out: nlmsghdr (16), cn_msg (20), proc_event (16) and what happened. */
function message(what: number, words: readonly number[], { seq = 0, cpu = 0, timeNs = 0n } = {}): Uint8Array {
  const bytes = Buffer.alloc(76);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt32LE(seq, 24);
  bytes.writeUInt32LE(what, 36);
  bytes.writeUInt32LE(cpu, 40);
  bytes.writeBigUInt64LE(timeNs, 44);
  for (const [index, word] of words.entries()) bytes.writeUInt32LE(word, 52 + index * 4);
  return bytes;
}

const changes = (...bytes: Uint8Array[]) => parseMessages(Buffer.concat(bytes), 0n).map(({ change }) => change);

describe("messages of the proc connector", () => {
  test.each([
    { name: "a process", what: FORK, words: [10, 10, 20, 20], change: { kind: "fork", parent: 10, pid: 20, bootNs: 0n } },
    { name: "a process made by a thread", what: FORK, words: [11, 10, 20, 20], change: { kind: "fork", parent: 10, pid: 20, bootNs: 0n } },
    { name: "a thread", what: FORK, words: [10, 10, 21, 20], change: undefined },
    { name: "a program", what: EXEC, words: [20, 20], change: { kind: "exec", pid: 20, bootNs: 0n } },
    { name: "a user", what: UID, words: [20, 20, 1000, 0], change: { kind: "uid", pid: 20, uid: 1000 } },
    { name: "an end", what: EXIT, words: [21, 20, 0x700, 17], change: { kind: "exit", tid: 21, pid: 20, status: 0x700, bootNs: 0n } },
    { name: "what is of no interest", what: 0x200, words: [20, 20], change: undefined },
  ])("$name", ({ what, words, change }) => expect(changes(message(what, words))).toEqual([change]));

  test("several in one read; the time is since boot, sleep included", () => {
    const both = Buffer.concat([message(EXEC, [1, 1], { timeNs: 5n }), message(EXEC, [2, 2], { timeNs: 6n })]);
    expect(parseMessages(both, 100n).map(({ change }) => change)).toEqual([
      { kind: "exec", pid: 1, bootNs: 105n },
      { kind: "exec", pid: 2, bootNs: 106n },
    ]);
  });

  test("what is cut off, or claims to be longer or shorter than it can be, ends the reading", () => {
    const whole = message(EXEC, [1, 1]);
    expect(changes(whole, whole.subarray(0, 50))).toHaveLength(1);
    for (const length of [0, 16, 75, 77, 0xffffffff]) {
      const bad = Buffer.from(whole);
      bad.writeUInt32LE(length, 0);
      expect(changes(whole, bad), String(length)).toHaveLength(1);
    }
  });
});

test("what is missing is counted for each processor by itself, and numbers go round", () => {
  const sequence = new Sequence();
  const take = (cpu: number, seq: number, what = EXEC) => sequence.take({ cpu, seq, what });
  expect([take(0, 7), take(1, 100), take(0, 8), take(0, 12), take(1, 101)]).toEqual([0, 0, 0, 3, 0]);
  expect([take(2, 0xffffffff), take(2, 0), take(2, 2)]).toEqual([0, 0, 1]);
  // The kernel's answer to a subscription has the number of who asked.
  expect([take(0, 0, 0), take(0, 13)]).toEqual([0, 0]);
});
