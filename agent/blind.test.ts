import { expect, test } from "vitest";
import { blindness } from "./blind.ts";

const now = { boot: "one", nowMs: 65_300, wallMs: 1_000_000 };

test.each([
  [
    "stopped",
    63_000,
    "one",
    "nothing was seen for 2.3 s, 1970-01-01T00:16:37.700Z to 1970-01-01T00:16:40.000Z: the agent was stopped and started again",
  ],
  [
    "cut off",
    63_000,
    "one",
    "nothing was seen for 2.3 s, 1970-01-01T00:16:37.700Z to 1970-01-01T00:16:40.000Z: the agent was killed, and what the kernel had ready for it is lost and not counted",
  ],
  [
    "cut off",
    63_000,
    "other",
    "nothing was seen for 65.3 s, 1970-01-01T00:15:34.700Z to 1970-01-01T00:16:40.000Z: the machine started, and the agent after it",
  ],
  ["stopped", 0, "one", undefined],
  ["stopped", 70_000, "one", undefined],
] as const)("%s, last seen at %i in boot %s", (ended, seenMs, boot, words) => {
  expect(blindness({ boot, ended, seenMs }, now)).toBe(words);
});
