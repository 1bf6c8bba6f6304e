import { expect, test } from "vitest";
import { FAIR_MS, Meter } from "./meter.ts";

function measured() {
  const clock = { nowMs: 0, workedMs: 0, asked: 0 };
  const meter = new Meter({
    nowMs: () => clock.nowMs,
    workedMs: () => {
      clock.asked++;
      return clock.workedMs;
    },
  });
  meter.start();
  const pass = (ms: number, workedMs: number) => {
    clock.nowMs += ms;
    clock.workedMs += workedMs;
  };
  return { meter, clock, pass };
}

test("a device pays for what was worked, not for the time in which others had the processor", () => {
  const { meter, pass } = measured();
  pass(500, 2);
  expect(meter.lap(1)).toBe(2);
  pass(30, 30);
  expect(meter.lap(1)).toBe(30);
});

test("and never for more than the time that passed, whatever was worked before", () => {
  const { meter, clock, pass } = measured();
  for (let event = 0; event < 100; event++) {
    pass(FAIR_MS / 2, FAIR_MS / 2);
    expect(meter.lap(1)).toBeCloseTo(FAIR_MS / 2);
  }
  // Events that cost what events do: the dear clock was only asked at the start.
  expect(clock.asked).toBe(1);
  pass(1, 0.5);
  expect(meter.lap(1)).toBeCloseTo(1);
  expect(meter.nowMs).toBe(clock.nowMs);
});
