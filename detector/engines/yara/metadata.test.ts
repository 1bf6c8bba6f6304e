import { expect, test } from "vitest";
import { readMetadata } from "./metadata.ts";

const meta = (values: Record<string, unknown>) => Object.entries(values).map(([identifier, value]) => ({ identifier, value }));
const read = (values: Record<string, unknown>, tags: readonly string[] = []) => readMetadata("Some_Rule", meta(values), tags);

const levels: readonly (readonly [Record<string, unknown>, string])[] = [
  [{}, "high"],
  [{ severity: "Critical" }, "critical"],
  [{ severity: "informational" }, "informational"],
  [{ severity: 100 }, "critical"],
  [{ severity: "75" }, "high"],
  [{ severity: 50 }, "medium"],
  [{ severity: 1 }, "low"],
  [{ score: 75 }, "high"],
  [{ severity: "low", score: 100 }, "low"],
  [{ severity: "banana", threat_level: "medium" }, "medium"],
  [{ severity: { toString: () => "x" } }, "high"],
];
test.each(levels)("%j is %s", (values, level) => {
  expect(read(values).severity).toBe(level);
});

const spellings: readonly (readonly [Record<string, unknown>, readonly string[], readonly string[], readonly string[]])[] = [
  [{ attack: "T1059.004, T1105" }, [], ["T1059.004", "T1105"], []],
  [{ mitre_att: "T1496" }, [], ["T1496"], []],
  [{ mitre_attack_technique: "t1027.002" }, [], ["T1027.002"], []],
  [{ technique: "T1059_004 (Unix Shell)" }, [], ["T1059.004"], []],
  [{ t1105: "Ingress Tool Transfer" }, [], ["T1105"], []],
  [{ tactic: "Credential Access, command-and-control" }, [], [], ["credential-access", "command-and-control"]],
  [{ mitre_tactics: "TA0003/TA0011" }, [], [], ["persistence", "command-and-control"]],
  [{}, ["attack_t1505", "T1190", "attack_persistence", "linux"], ["T1505", "T1190"], ["persistence"]],
  // Hashes and names hold such letters too.
  [{ hash: "T1059aabbT1105", description: "T1059", attack: "AT1059 T105 T10599" }, [], [], []],
  [{ attack: 1059 }, [], [], []],
];
test.each(spellings)("ATT&CK in %j and tags %j", (values, tags, techniques, tactics) => {
  expect(read(values, tags).attack).toEqual({ techniques, tactics });
});

test("a title is found, whatever it is called, and is bounded and clean", () => {
  expect(read({}).title).toBe("Some_Rule");
  expect(read({ description: "Detects X" }).title).toBe("Detects X");
  expect(read({ description: "Detects X", threat_name: "Linux.X" })).toMatchObject({ title: "Linux.X", description: "Detects X" });
  const hostile = read({ title: `\u001b[8m${"x".repeat(5000)}`, author: "a\nb" });
  expect(hostile.title).toMatch(/^\uFFFD\[8mx+…$/);
  expect(hostile.title.length).toBe(256);
  expect(hostile.author).toBe("a\uFFFDb");
});
