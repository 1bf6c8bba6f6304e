import { expect, test } from "vitest";
import { inside, parseAddress, parseNetwork } from "./cidr.ts";
import { encode, windash } from "./encode.ts";

test("base64offset finds a text wherever it starts inside a larger one", () => {
  const forms = encode("/bin/bash", ["base64offset"]);
  expect(forms).toHaveLength(3);
  for (const before of ["", "x", "xy", "xyz", "wxyz"]) {
    for (const after of ["", " ", " -i", " -ic"]) {
      const encoded = Buffer.from(`${before}/bin/bash${after}`).toString("base64");
      expect(
        forms.some((form) => encoded.includes(form)),
        `${before}|${after}`,
      ).toBe(true);
    }
  }
});

test("wide then base64 is what PowerShell takes", () => {
  expect(encode("id", ["wide", "base64"])).toEqual([Buffer.from("i\0d\0").toString("base64")]);
  expect(encode("id", ["utf16be", "base64"])).toEqual([Buffer.from("\0i\0d").toString("base64")]);
  expect(encode("id", ["utf16", "base64"])).toEqual([Buffer.from([0xff, 0xfe, 0x69, 0, 0x64, 0]).toString("base64")]);
});

test("windash writes every dash of a flag in five ways", () => {
  expect(windash(" -a")).toEqual([" -a", " /a", " \u2013a", " \u2014a", " \u2015a"]);
  expect(windash(" -a -b")).toHaveLength(25);
  expect(windash("a-b")).toEqual(["a-b"]);
  expect(windash(" -a -b -c -d -e -f")).toBeUndefined();
});

test.each([
  ["10.0.0.0/8", "10.255.0.1", true],
  ["10.0.0.0/8", "11.0.0.1", false],
  ["172.16.0.0/12", "172.31.255.255", true],
  ["172.16.0.0/12", "172.32.0.0", false],
  ["192.0.2.7", "192.0.2.7", true],
  ["0.0.0.0/0", "203.0.113.9", true],
  ["127.0.0.0/8", "::ffff:127.0.0.1", true],
  ["::1/128", "::1", true],
  ["::1/128", "::2", false],
  ["fe80::/10", "fe80::1:2", true],
  ["2001:db8::/33", "2001:db8:8000::1", false],
  ["2001:db8::/32", "2001:db8:ffff:1:2:3:4:5", true],
  ["0.0.0.0/0", "2001:db8::1", false],
  ["10.0.0.0/8", "not an address", false],
  ["64:ff9b::/96", "64:ff9b::192.0.2.33", true],
])("%s holds %s: %s", (network, address, is) => {
  expect(inside(parseNetwork(network)!, parseAddress(address))).toBe(is);
});

test.each(["10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/8/8", "10.0.0.0/-1", "x", ""])("%s is no network", (text) => {
  expect(parseNetwork(text)).toBeUndefined();
});
