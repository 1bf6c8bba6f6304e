import { readFileSync } from "node:fs";
import { builtinYara } from "@picket/rules/yara/builtin";
import { docs, generate, readYara, withTable } from "@picket/rules/yara/gen";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createScanner, type Scanner } from "./scanner.ts";
import { ruleSpans } from "./source.ts";
import { samples } from "./testing/samples.ts";

const files = builtinYara();
const shipped = files.flatMap(({ text }) => ruleSpans(text).filter(({ start }) => !text.startsWith("private", start)));
const names = shipped.map(({ name }) => name);
let scanner: Scanner;

beforeAll(async () => {
  scanner = await createScanner({});
});
afterAll(() => scanner[Symbol.asyncDispose]());

const found = async (bytes: Uint8Array) => {
  const { matches, error } = await scanner.scan(bytes);
  expect(error).toBeUndefined();
  return matches;
};

test("every shipped rule compiles, has a name of its own, samples that hit it and samples that miss it", () => {
  expect(scanner.problems).toEqual([]);
  expect(new Set(names).size).toBe(names.length);
  expect(names.length).toBeGreaterThanOrEqual(25);
  expect(Object.keys(samples).sort()).toEqual([...names].sort());
  for (const [name, { hits, misses }] of Object.entries(samples)) {
    expect(hits, name).not.toEqual([]);
    expect(misses, name).not.toEqual([]);
  }
});

test.each(names)("%s finds its hits, leaves its misses alone, and says what an operator needs", async (name) => {
  const { hits, misses } = samples[name]!;
  for (const [at, hit] of hits.entries()) {
    const match = (await found(hit)).find(({ rule }) => rule === name);
    expect(match, `hit ${at}`).toBeDefined();
    const { title, description, author, attack } = match!.meta;
    expect({ author, described: Boolean(description), technique: attack.techniques.length > 0 }).toEqual({
      author: "Picket",
      described: true,
      technique: true,
    });
    expect(title).not.toBe(name);
  }
  for (const [at, miss] of misses.entries())
    expect(
      (await found(miss)).map(({ rule }) => rule),
      `miss ${at}`,
    ).not.toContain(name);
});

test("the generated module holds what the rule files say; `bun rules/yara/gen.ts` renews it", async () => {
  const read = await readYara();
  expect(files).toEqual(read);
  expect(readFileSync(new URL("../../../rules/yara/builtin.gen.ts", import.meta.url), "utf8")).toBe(generate(read));
});

test("docs/yara.md lists every shipped rule; `bun rules/yara/gen.ts` renews it", () => {
  const text = readFileSync(docs, "utf8");
  expect(text).toBe(withTable(text, files));
  for (const name of names) expect(text).toContain(`[${name}](`);
});
