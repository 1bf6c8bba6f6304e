import { expect, test } from "vitest";
import { GIVE_UP_AFTER_MS, nextTry, waitMs } from "./retry.ts";

const down = { error: "HTTP 503", rejected: false };
const wrong = { error: "HTTP 400", rejected: true };
const middle = { ageMs: 0, failure: down, random: 0.5 };

test.each([
  [1, 5_000],
  [2, 10_000],
  [3, 20_000],
  [10, 2_560_000],
  [11, 3_600_000],
  [1000, 3_600_000],
])("after failure %i it waits %i ms", (attempts, expected) => {
  expect(nextTry({ ...middle, attempts })).toBe(expected);
});

test("chance spreads it by a fifth either way", () => {
  expect(nextTry({ ...middle, attempts: 1, random: 0 })).toBe(4_000);
  expect(nextTry({ ...middle, attempts: 1, random: 1 })).toBe(6_000);
});

test.each([
  { name: "young and often tried: goes on", attempts: 100, ageMs: GIVE_UP_AFTER_MS - 1, failure: down, givesUp: false },
  { name: "three days old: given up", attempts: 80, ageMs: GIVE_UP_AFTER_MS, failure: down, givesUp: true },
  { name: "old only because the clock jumped: tried some more", attempts: 2, ageMs: 50 * GIVE_UP_AFTER_MS, failure: down, givesUp: false },
  { name: "refused for what it is: given up soon", attempts: 5, ageMs: 0, failure: wrong, givesUp: true },
  { name: "but not at once: a proxy may be wrong for a minute", attempts: 4, ageMs: 0, failure: wrong, givesUp: false },
])("$name", ({ attempts, ageMs, failure, givesUp }) => {
  expect(nextTry({ attempts, ageMs, failure, random: 0.5 }) === "give up").toBe(givesUp);
});

test("a receiver that asks for more time gets it, up to an hour", () => {
  expect(nextTry({ ...middle, attempts: 1, failure: { ...down, retryAfterMs: 60_000 } })).toBe(60_000);
  expect(nextTry({ ...middle, attempts: 1, failure: { ...down, retryAfterMs: 1e12 } })).toBe(3_600_000);
  expect(nextTry({ ...middle, attempts: 3, failure: { ...down, retryAfterMs: 1_000 } })).toBe(20_000);
});

test("a plan made by a clock that was set back since is due now", () => {
  expect(waitMs(5_000, 1_000)).toBe(4_000);
  expect(waitMs(1_000, 5_000)).toBe(0);
  expect(waitMs(1_800_000_000_000, 1_000)).toBe(0);
});
