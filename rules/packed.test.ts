import { openRules, packRules } from "@picket/protocol/rule-pack";
import { expect, test } from "vitest";
import { builtinRules } from "./builtin.ts";
import { pack, packRoom, unpack } from "./packed.ts";
import type { Rule } from "./rule.ts";

const shipped = builtinRules();
const plain = pack(shipped[0]!);
const withCondition = (condition: unknown, events: unknown = ["process.exec"]) =>
  unpack({ ...plain, detection: { events, condition } }, "pack", packRoom());
const withTest = (test: unknown) => withCondition({ op: "field", field: "Image", tests: [test] });

test("every shipped rule can go with a pack, and matches what it did", () => {
  const opened = openRules(packRules({ rules: shipped.map(pack), disable: [], samples: [] }));
  if (typeof opened === "string") throw new Error(opened);
  const rules = opened.rules.map((one) => unpack(one, "pack", packRoom()) as Rule);
  expect(rules.map(({ id, version, detection }) => ({ id, version, detection }))).toEqual(
    shipped.map(({ id, version, detection }) => ({ id, version, detection })),
  );
});

test.each<[string, () => Rule | string, RegExp]>([
  ["no detection", () => unpack({ ...plain, detection: undefined }, "pack", packRoom()), /asks nothing/],
  ["no event", () => withCondition({ op: "constant", value: true }, []), /no event/],
  [
    "an event of a later version",
    () => withCondition({ op: "constant", value: true }, ["process.dream"]),
    /events this version does not know/,
  ],
  [
    "a detection of a later version",
    () => unpack({ ...plain, detection: { ...(plain.detection as object), until: 1 } }, "pack", packRoom()),
    /later version/,
  ],
  ["a condition of a later version", () => withCondition({ op: "xor", of: [] }), /upgrade the agent/],
  ["a name that every object has", () => withCondition({ op: "constructor" }), /upgrade the agent/],
  ["a condition inside out", () => withCondition({ op: "and", of: { op: "constant", value: true } }), /upgrade the agent/],
  ["a test of a later version", () => withTest({ kind: "sounds-like", text: "sh" }), /upgrade the agent/],
  ["a test that says more than is known", () => withTest({ kind: "exists", wanted: true, since: 1 }), /upgrade the agent/],
  ["a text that is no text", () => withTest({ kind: "contains", text: { toString: 1 }, cased: false }), /"contains" whose text is none/],
  ["a network that is none", () => withTest({ kind: "cidr", network: "10.0.0.0", bits: 8 }), /"cidr" whose network/],
  ["a regular expression that is none", () => withTest({ kind: "regex", source: "(", flags: "" }), /cannot be used/],
  ["one that needs more than linear time", () => withTest({ kind: "regex", source: "(a)\\1", flags: "" }), /cannot be used/],
  [
    "more parts than a rule has",
    () => withCondition({ op: "or", of: Array.from({ length: 20_001 }, () => ({ op: "constant", value: false })) }),
    /more than 20000 parts/,
  ],
])("%s is refused", (_, look, why) => {
  expect(look()).toMatch(why);
});

const slow = (at: number) => ({
  op: "field",
  field: "Image",
  tests: [{ kind: "regex", source: `a${at}${".{0,490}x".repeat(4)}`, flags: "" }],
});

test("a regular expression that becomes a large program is refused before it is compiled, and so are many that do so together", () => {
  // 400,000 steps: two seconds to compile, 180 MB, and a second for 4 KB of text.
  const huge = { kind: "regex", source: "x.{0,999}".repeat(200), flags: "" };
  const before = process.cpuUsage().user;
  expect(withTest(huge)).toMatch(/its counts in braces make 400000 steps of it; 5000 are allowed|64000 steps/);
  expect((process.cpuUsage().user - before) / 1000).toBeLessThan(500);
  const room = packRoom();
  const looks = Array.from({ length: 20 }, (_, at) =>
    unpack({ ...plain, detection: { events: ["process.exec"], condition: slow(at) } }, "pack", room),
  );
  expect(looks.map((one) => typeof one).indexOf("string")).toBe(16);
  expect(looks[16]).toMatch(/more than 64000 steps/);
});
