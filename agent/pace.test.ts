import { expect, test } from "vitest";
import { createPace } from "./pace.ts";

test("so many bytes a second, with a short burst, however long it was idle", async () => {
  let nowMs = 0;
  let slept = 0;
  const pace = createPace(
    1000,
    () => nowMs,
    async (ms) => {
      slept += ms;
      nowMs += ms;
    },
  );
  for (let n = 0; n < 10; n++) await pace(1000);
  expect(slept).toBeCloseTo(9750);
  nowMs += 3600_000;
  slept = 0;
  for (let n = 0; n < 4; n++) await pace(1000);
  expect(slept).toBeCloseTo(3750);
});
