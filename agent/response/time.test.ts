import { expect, test } from "vitest";
import { bootIdOfKernel, bootTimeMs, type SavedTime, trustedTime } from "./time.ts";

const year = 365 * 86_400_000;
function device(of: { saved?: SavedTime; wallMs?: number } = {}) {
  const clock = { wallMs: of.wallMs ?? 0, uptimeMs: 5_000 };
  const time = trustedTime({ saved: of.saved ?? { ownMs: 0, toldMs: 0 }, now: () => clock.wallMs, uptimeMs: () => clock.uptimeMs });
  return { clock, time };
}

test("a board without a clock goes on from what is on disk, by its boot-time clock", () => {
  const { clock, time } = device({ saved: { ownMs: 50 * year, toldMs: 0 }, wallMs: 0 });
  clock.uptimeMs += 1_000;
  expect(time.now()).toBe(50 * year + 1_000);
});

test("a wall clock set back takes nothing back", () => {
  const { clock, time } = device({ wallMs: 50 * year });
  expect(time.now()).toBe(50 * year);
  clock.wallMs = 40 * year;
  expect(time.now()).toBe(50 * year);
});

test("the broker may advance it, never set it back", () => {
  const { clock, time } = device();
  time.tell(50 * year);
  expect(time.now()).toBe(50 * year);
  time.tell(49 * year);
  expect(time.now()).toBe(50 * year);
  clock.uptimeMs += 7;
  expect(time.now()).toBe(50 * year + 7);
});

test("it survives a restart", () => {
  const first = device({ wallMs: 50 * year });
  first.time.tell(51 * year);
  expect(device({ saved: first.time.saved() }).time.now()).toBe(51 * year);
});

test("a broker that sent the device into the far future is not believed for ever: what operators signed and the device knew remains", () => {
  const { time } = device({ wallMs: 50 * year });
  time.signed(50 * year + 60_000);
  time.tell(900 * year);
  time.distrustBroker();
  expect(time.now()).toBe(50 * year + 60_000);
});

test("the boot-time clock of this kernel rises, and its boot has an id", () => {
  expect(bootTimeMs()).toBeGreaterThan(0);
  expect(bootIdOfKernel()).toMatch(/^[0-9a-f-]{36}$/);
});
