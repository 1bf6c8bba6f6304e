import { expect, test } from "vitest";
import { Twins } from "./twins.ts";

test("an agent that restarts again and again is one agent", () => {
  const twins = new Twins();
  for (const epoch of ["a", "a", "b", "c", "c", "d"]) expect(twins.heartbeat("gw-1", epoch)).toBe(false);
});

test("an epoch that comes back after another is a second agent", () => {
  const twins = new Twins();
  expect(["a", "b", "a"].map((epoch) => twins.heartbeat("gw-1", epoch))).toEqual([false, false, true]);
  expect(twins.heartbeat("gw-1", "b")).toBe(true);
  expect(twins.heartbeat("gw-2", "a")).toBe(false);
});

test("a device that changes its network once is one device; one that flaps between two is not", () => {
  const twins = new Twins();
  const there = { oldAddress: "192.0.2.1", newAddress: "192.0.2.2" };
  const back = { oldAddress: "192.0.2.2", newAddress: "192.0.2.1" };
  expect([twins.takeover("gw-1", there, 0), twins.takeover("gw-1", back, 1000), twins.takeover("gw-1", there, 2000)]).toEqual([
    false,
    false,
    false,
  ]);
  expect(twins.takeover("gw-1", back, 3000)).toBe(true);
  expect(twins.takeover("gw-1", there, 120_000)).toBe(false);
  for (let n = 0; n < 10; n++) expect(twins.takeover("gw-2", { oldAddress: "192.0.2.1", newAddress: "192.0.2.1" }, n)).toBe(false);
});
