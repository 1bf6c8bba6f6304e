import { expect, test } from "vitest";
import { apart } from "./versions.ts";

test.each([
  ["1.2.3", "1.2.9", undefined],
  ["1.3.0", "1.2.9", "newer"],
  ["0.9.0", "0.10.0", "older"],
  ["2.0.0", "1.9.0", "newer"],
  ["1.2.0-rc.1", "1.2.0", undefined],
  ["unknown", "1.2.0", undefined],
] as const)("%s beside %s", (one, other, which) => {
  expect(apart(one, other)).toBe(which);
});
