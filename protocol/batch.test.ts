import { expect, test } from "vitest";
import { BadBatch, countLines, decodeBatch, encodeBatch, inflateBatch, MAX_INFLATED_BYTES, openBatch } from "./batch.ts";
import type { SensorEvent } from "./event.ts";

const boot = "0b3a1c52-6f0e-4f60-9c7e-1d1f0f3a7c11";
const lost = (seq: number, timeMs = 1_000 + seq): SensorEvent => ({
  v: 1,
  device: "gw-014",
  epoch: "k3m9x0qa",
  seq,
  timeMs,
  type: "sensor.lost",
  body: { collector: "exec", count: seq + 1, where: "kernel" },
});
const encode = (events: SensorEvent[], oldest = 0) => encodeBatch({ boot, oldest, events });
const forge = (header: object, text: string) =>
  Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), Bun.zstdCompressSync(Buffer.from(text))]);
const header = { v: 1, device: "gw-014", boot, epoch: "k3m9x0qa", runs: [[0, 1]], oldest: 0 };

test("what goes in comes out", () => {
  const events = [lost(3), lost(4), { ...lost(9, 500), hits: [{ rule: "r", version: "1" }] }];
  expect(decodeBatch(encode(events, 3))).toEqual({
    header: {
      ...header,
      runs: [
        [3, 2],
        [9, 1],
      ],
      oldest: 3,
    },
    events,
    refused: 0,
  });
});

test("a clock that jumps back between two events", () => {
  const events = [lost(0, 1_767_225_600_000), lost(1, 12), lost(2, 1_767_225_600_001)];
  expect(decodeBatch(encode(events)).events).toEqual(events);
});

test("a newline inside a value does not split a line", () => {
  const event: SensorEvent = { ...lost(0), type: "log.line", body: { source: "x", message: "a\nb\u2028c" } };
  expect(decodeBatch(encode([event])).events).toEqual([event]);
});

const curl = { pid: 7, startTicks: 1, ppid: 1, uid: 0, exe: "/usr/bin/curl", argv: ["curl"] };
const open = (seq: number, process: typeof curl): SensorEvent => ({
  ...lost(seq),
  type: "file.open",
  body: { process, file: { path: `/etc/${seq}`, flags: 0 } },
});

test("a process that repeats is sent once and comes back whole", () => {
  const events = [open(0, curl), open(1, { ...curl, pid: 8 }), open(2, curl), lost(3), open(4, { ...curl, pid: 8 })];
  const bytes = encode(events);
  expect(decodeBatch(bytes).events).toEqual(events);
  expect(
    inflateBatch(openBatch(bytes).body)
      .toString()
      .match(/usr.bin.curl/g),
  ).toHaveLength(2);
});

test.each([-1, 1, 0.5, "0", null, "__proto__", "length"])("a line that names process %j, which is not there, is refused", (p) => {
  const lines = [
    { type: "file.open", timeMs: 5, body: open(0, curl).body },
    { type: "file.open", timeMs: 2, p, body: { file: { path: "/x", flags: 0 } } },
  ];
  const result = decodeBatch(forge({ ...header, runs: [[0, 2]] }, lines.map((line) => JSON.stringify(line)).join("\n")));
  expect(result).toMatchObject({ refused: 1, events: [{ seq: 0 }] });
});

test("a process put into a megabyte of text is the body itself: nothing is spread out", () => {
  const lines = [
    { type: "process.exec", timeMs: 5, body: { process: curl } },
    { type: "process.exec", timeMs: 2, p: 0, body: "a".repeat(1_000_000) },
  ];
  const { events } = decodeBatch(forge({ ...header, runs: [[0, 2]] }, lines.map((line) => JSON.stringify(line)).join("\n")));
  for (const { body } of events) expect(body).toEqual({ process: curl });
});

test("an unknown event keeps its number and hides no neighbour", () => {
  const lines = [
    { type: "new.kind", timeMs: 5, body: {} },
    { type: "sensor.lost", timeMs: 2, body: { collector: "x", count: 1, where: "shed" } },
  ];
  const result = decodeBatch(forge({ ...header, runs: [[7, 2]] }, lines.map((line) => JSON.stringify(line)).join("\n")));
  expect(result.refused).toBe(1);
  expect(result.events).toMatchObject([{ seq: 8, timeMs: 7 }]);
});

test.each([
  ["no header", Buffer.from("x".repeat(9000))],
  ["a header that is not JSON", Buffer.from("{\n")],
  ["a schema from the future", forge({ ...header, v: 2 }, "{}")],
  [
    "runs that overlap",
    forge(
      {
        ...header,
        runs: [
          [0, 2],
          [1, 1],
        ],
      },
      "{}",
    ),
  ],
  ["more events than allowed", forge({ ...header, runs: [[0, 501]] }, "{}")],
  ["a run no number can count through", forge({ ...header, runs: [[Number.MAX_SAFE_INTEGER, 2]] }, "{}\n{}")],
  ["a body that is not zstd", Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), Buffer.from("garbage")])],
  ["an empty body", Buffer.from(`${JSON.stringify(header)}\n`)],
  ["fewer lines than announced", forge({ ...header, runs: [[0, 3]] }, "{}\n{}")],
])("%s is a bad batch", (_, bytes) => {
  expect(() => decodeBatch(bytes)).toThrow(BadBatch);
});

test("a zip bomb stops at the limit", () => {
  const bomb = Bun.zstdCompressSync(Buffer.alloc(MAX_INFLATED_BYTES + 1));
  expect(bomb.length).toBeLessThan(10_000);
  expect(() => inflateBatch(bomb)).toThrow(BadBatch);
});

test("no events make no batch", () => {
  expect(() => encode([])).toThrow(BadBatch);
});

test("lines are counted as split would", () => {
  for (const text of ["", "a", "a\nb", "\n", "a\n"]) expect(countLines(Buffer.from(text))).toBe(text === "" ? 0 : text.split("\n").length);
});

test("the header can be read without inflating", () => {
  expect(openBatch(encode([lost(0)])).header).toEqual(header);
});
