import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeBatch, inflateBatch, openBatch } from "./batch.ts";
import { spanOf, timesOf } from "./batch-times.ts";
import type { SensorEvent } from "./event.ts";

/** The plain way: each line apart, its first key with digits counts. */
function plainTimes(inflated: Buffer): number[] {
  let timeMs = 0;
  return inflated
    .toString("utf8")
    .split("\n")
    .map((line) => {
      timeMs += Number(/"timeMs":(-?\d{1,16})/.exec(line)?.[1] ?? 0);
      return timeMs;
    });
}

const pieces = fc.constantFrom('"timeMs":', '"timeMs":-', '\\"timeMs\\":7', "12", "-3", "9007199254740993", "\n", "{", "ä€", "x", '"');

test("times are those of the plain way, whatever the lines hold", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(pieces, fc.string({ maxLength: 4 })), { maxLength: 40 }),
      fc.uint8Array({ maxLength: 6 }),
      (texts, raw) => {
        const inflated = Buffer.concat([Buffer.from(texts.join("")), raw, Buffer.from('{"timeMs":5}')]);
        expect(timesOf(inflated)).toEqual(plainTimes(inflated));
      },
    ),
    { numRuns: 2000 },
  );
});

test("a batch tells of the times its events had, also of a clock that went back", () => {
  const times = [1_700_000_000_000, 1_700_000_000_000, 1_699_999_990_000, 1_700_000_500_000];
  const events = times.map(
    (timeMs, seq): SensorEvent => ({
      ...{ v: 1, device: "gw-1", epoch: "k3m9x0qa", seq, timeMs },
      ...{ type: "log.line", body: { source: "test", message: 'says "timeMs":4' } },
    }),
  );
  const batch = encodeBatch({ boot: "0b3a1c52-6f0e-4f60-9c7e-1d1f0f3a7c11", oldest: 0, events });
  const inflated = inflateBatch(openBatch(batch).body);
  expect(timesOf(inflated)).toEqual(times);
  expect(spanOf(inflated)).toEqual([1_699_999_990_000, 1_700_000_500_000]);
});
