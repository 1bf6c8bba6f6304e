import { expect, test } from "vitest";
import { durationText, parseDuration, parseSince } from "./duration.ts";

test.each([
  ["90s", 90_000],
  ["30m", 1_800_000],
  ["24h", 86_400_000],
  [" 7d ", 604_800_000],
])("%s is %d ms", (text, ms) => expect(parseDuration(text)).toBe(ms));

test.each(["", "24", "h", "-1h", "1.5h", "0h", "1 h", "1w", "9999999999d", "1h30m"])("%j is no duration", (text) => {
  expect(() => parseDuration(text)).toThrow(/is not a duration: use a number and s, m, h or d/);
});

test.each(["45s", "90s", "30m", "1h", "24h", "48h", "3d", "30d"])("%s is shown as it was typed", (text) => {
  expect(durationText(parseDuration(text))).toBe(text);
});

test.each([
  ["1h", 10_000_000 - 3_600_000],
  ["9d", 0],
  ["1970-01-01T00:00:05Z", 5000],
  ["1970-01-02", 86_400_000],
])("since %s", (text, ms) => expect(parseSince(text, 10_000_000)).toBe(ms));

test.each(["yesterday", "5", "2026-13-40", ""])("%j is no time", (text) => {
  expect(() => parseSince(text, 0)).toThrow(/is not a time/);
});
