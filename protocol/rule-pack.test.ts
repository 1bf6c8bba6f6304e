import { expect, test } from "vitest";
import { MAX_PACK_RULES, MAX_RULES_BYTES, openRules, type PackedRule, packRules, type RulePack } from "./rule-pack.ts";

const rule = (id: string, of: Partial<PackedRule> = {}): PackedRule => ({
  ...{ id, title: `Rule ${id}`, level: "high", version: "2026-11-22", score: 55, alerts: true },
  attack: { tactics: ["execution"], techniques: ["T1059"] },
  detection: { events: ["process.exec"], condition: { op: "constant", value: true } },
  ...of,
});
const pack = (of: Partial<RulePack> = {}): RulePack => ({ rules: [rule("a")], disable: [], samples: [], ...of });
const zstd = (bytes: Uint8Array) => ({ format: 1, zstd: Buffer.from(bytes).toString("base64") });
const compressed = (text: string) => Bun.zstdCompressSync(Buffer.from(text));

test("a pack comes out as it went in", () => {
  const given = pack({ disable: ["b"] });
  expect(openRules(packRules(given))).toEqual(given);
});

/** RFC 8878, section 3.1.1: says that it unfolds into 1 GiB, and holds one block that repeats a byte. */
const bomb = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x40, 0x03, 0, 0, 0]);
const many = Array.from({ length: MAX_PACK_RULES + 1 }, (_, at) => rule(`r${at}`));
test.each<[string, unknown, RegExp]>([
  ["no payload", undefined, /not a rule pack/],
  ["a later format", { ...packRules(pack()), format: 2 }, /not a rule pack this version knows \(format/],
  ["a key it does not know", { ...packRules(pack()), until: 5 }, /not a rule pack/],
  ["garbage", zstd(Buffer.from("garbage")), /not a zstd frame/],
  ["a frame that was cut", zstd(compressed(JSON.stringify(pack())).subarray(0, -4)), /ends early|more or less/],
  ["two frames", zstd(Buffer.concat([compressed("{}"), compressed("{}")])), /more or less than one/],
  ["a bomb", zstd(bomb), /unfolds into \d+ bytes; 2097152 are allowed/],
  ["what unfolds into too much", zstd(compressed(" ".repeat(MAX_RULES_BYTES + 1))), /2097152 are allowed/],
  ["what is no JSON", zstd(compressed("{")), /cannot be unfolded/],
  ["what nests too deep", zstd(compressed(`${"[".repeat(100_000)}${"]".repeat(100_000)}`)), /nests deeper than 64/],
  ["two rules of one id", packRules(pack({ rules: [rule("a"), rule("a")] })), /two of its rules have one id/],
  [`${MAX_PACK_RULES + 1} rules`, packRules(pack({ rules: many })), /rules: /],
  [
    "a rule that says more than is known",
    packRules(pack({ rules: [{ ...rule("a"), only: "x" } as PackedRule] })),
    /not rules this version knows/,
  ],
  ["a score that is none", packRules(pack({ rules: [rule("a", { score: Number.NaN })] })), /rules\.0\.score/],
  ["samples of nothing", { ...packRules({ rules: [], disable: [], samples: [{ rule: "a", hit: true, event: 1 as never }] }) }, /samples/],
])("%s is refused", (_, payload, why) => {
  expect(openRules(payload)).toMatch(why);
});

test("ten thousand rules are refused before they are looked at one by one", () => {
  const text = JSON.stringify({ rules: Array.from({ length: 10_000 }, (_, at) => rule(`r${at}`)), disable: [], samples: [] });
  expect(openRules(zstd(compressed(text)))).toMatch(/rules: |are allowed/);
});
