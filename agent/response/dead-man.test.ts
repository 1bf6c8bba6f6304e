import { expect, test } from "vitest";
import { count, reached, resumed, whole } from "./dead-man.ts";

const hour = 3_600_000;
const at = (hours: number, boot = "a") => ({ boot, uptimeMs: () => hours * hour });

test("while the broker is reachable it stands, full", () => {
  expect(count(reached(whole(24 * hour), true, at(1)), at(100)).leftMs).toBe(24 * hour);
});

test("while it is not, it runs with the boot-time clock", () => {
  expect(count(reached(whole(24 * hour), false, at(1)), at(6)).leftMs).toBe(19 * hour);
});

test("being told twice that it is away starts nothing anew", () => {
  const running = reached(whole(24 * hour), false, at(1));
  expect(reached(running, false, at(6)).leftMs).toBe(19 * hour);
});

test("reached again, it is full again", () => {
  const running = reached(whole(24 * hour), false, at(1));
  expect(reached(running, true, at(20))).toEqual(whole(24 * hour));
});

test("it ends at nothing", () => {
  expect(count(reached(whole(hour), false, at(1)), at(50)).leftMs).toBe(0);
});

test("after a reboot what is on disk counts, and the new boot's clock goes on", () => {
  const onDisk = count(reached(whole(24 * hour), false, at(1)), at(5));
  const rebooted = resumed(onDisk, at(0.1, "b"));
  expect(rebooted.leftMs).toBe(20 * hour);
  expect(count(rebooted, at(1.1, "b")).leftMs).toBe(19 * hour);
});

test("time without an agent counts in the same boot, when the broker was away before", () => {
  expect(resumed(reached(whole(24 * hour), false, at(1)), at(11)).leftMs).toBe(14 * hour);
  expect(resumed(reached(whole(24 * hour), true, at(1)), at(11)).leftMs).toBe(24 * hour);
});

test("a start leaves a minute to reach the broker first", () => {
  expect(resumed(reached(whole(hour), false, at(1)), at(50)).leftMs).toBe(60_000);
});

test("an agent that crashes every half minute still comes to the end", () => {
  let countdown = reached(whole(hour / 60), false, at(0));
  for (let start = 0; start < 4; start++) countdown = count(resumed(countdown, at(start / 120)), at((start + 1) / 120));
  expect(countdown.leftMs).toBe(0);
});
