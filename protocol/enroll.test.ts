import { expect, test } from "vitest";
import { type EnrolToken, formatToken, parseToken } from "./enroll.ts";

const token: EnrolToken = {
  v: 1,
  site: "north",
  https: "[::1]:8443",
  mqtt: "gw.example:8883",
  ca: "a".repeat(43),
  anchor: "b".repeat(43),
  secret: "s".repeat(43),
};

test("a token survives being pasted with spaces around it", () => {
  expect(parseToken(`\n  ${formatToken(token)} \n`)).toEqual(token);
});

test.each([
  ["something else", "hello"],
  ["half a token", formatToken(token).slice(0, 60)],
  ["a token without a CA", formatToken({ ...token, ca: "" })],
  ["an address without a port", formatToken({ ...token, mqtt: "gw.example" })],
])("%s is refused without repeating the secret", (_, text) => {
  let message = "";
  try {
    parseToken(text);
  } catch (error) {
    message = String(error);
  }
  expect(message).toMatch(/token/);
  expect(message).not.toContain(token.secret);
});
