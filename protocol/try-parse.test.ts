import { expect, test } from "vitest";
import { decodeBatch, encodeBatch } from "./batch.ts";
import { SensorEvent } from "./event.ts";
import { DeviceStatus } from "./status.ts";
import { tryParse } from "./try-parse.ts";

const odd = { length: { toString: 1 }, size: { toString: 1 } };

test("what cannot even be compared is refused like any other bad value", () => {
  expect(tryParse(DeviceStatus, { v: 1, state: "online", version: odd }).success).toBe(false);
  expect(
    tryParse(SensorEvent, {
      v: 1,
      device: "pi",
      epoch: "aaaaaaaa",
      seq: 0,
      timeMs: 1,
      type: "log.line",
      body: { source: odd, message: "x" },
    }).success,
  ).toBe(false);
  expect(tryParse(DeviceStatus, { v: 1, state: "offline", epoch: "aaaaaaaa" }).success).toBe(true);
});

test("one such event in a batch is left out and counted, and the others are read", () => {
  const line = (source: unknown) => JSON.stringify({ type: "log.line", timeMs: 1, body: { source, message: "x" } });
  const event = (seq: number): SensorEvent => ({
    v: 1,
    device: "pi",
    epoch: "aaaaaaaa",
    seq,
    timeMs: 1,
    type: "log.line",
    body: { source: "a", message: "x" },
  });
  const batch = encodeBatch({ boot: "11111111-1111-4111-8111-111111111111", oldest: 0, events: [event(0), event(1)] });
  const head = batch.subarray(0, batch.indexOf(0x0a) + 1);
  const { events, refused } = decodeBatch(Buffer.concat([head, Bun.zstdCompressSync(Buffer.from(`${line(odd)}\n${line("a")}`))]));
  expect({ seqs: events.map(({ seq }) => seq), refused }).toEqual({ seqs: [1], refused: 1 });
});
