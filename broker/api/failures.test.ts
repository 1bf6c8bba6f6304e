import { expect, test } from "vitest";
import { Failures } from "./failures.ts";

const limits = { burst: 2, refillMs: 1000, addresses: 3 };

function failed(...addresses: string[]): Failures {
  const failures = new Failures(limits);
  for (const address of addresses) failures.note(address, 0);
  return failures;
}

test.each([
  { name: "an address that never failed need not wait", after: [], at: 0, waitMs: 0 },
  { name: "nor one that may fail once more", after: ["10.0.0.1"], at: 0, waitMs: 0 },
  { name: "one that failed too often waits", after: ["10.0.0.1", "10.0.0.1"], at: 0, waitMs: 1000 },
  { name: "less as time goes by", after: ["10.0.0.1", "10.0.0.1"], at: 400, waitMs: 600 },
  { name: "until it may try again", after: ["10.0.0.1", "10.0.0.1"], at: 1000, waitMs: 0 },
  { name: "others do not wait for it", after: ["10.0.0.2", "10.0.0.2"], at: 0, waitMs: 0 },
  { name: "a clock that goes back frees nobody", after: ["10.0.0.1", "10.0.0.1"], at: -5000, waitMs: 1000 },
])("$name", ({ after, at, waitMs }) => {
  expect(failed(...after).waitMs("10.0.0.1", at)).toBe(waitMs);
});

test("all addresses of one IPv6 network count together, however they are written", () => {
  const failures = failed("2001:db8:1:2::1", "2001:db8:1:2:aaaa::7");
  expect(failures.waitMs("2001:db8:1:2:ffff:ffff:ffff:ffff", 0)).toBe(1000);
  expect(failures.waitMs("2001:db8:1:3::1", 0)).toBe(0);
  expect(failed("::1", "::1").waitMs("::1", 0)).toBe(1000);
});

test("inventing addresses costs no memory: the one that failed longest ago is forgotten", () => {
  const failures = failed("a", "a", "b", "b", "c", "c", "d", "d");
  expect(failures.waitMs("a", 0)).toBe(0);
  expect(failures.waitMs("d", 0)).toBe(1000);
});
