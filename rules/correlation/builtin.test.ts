import { expect, test } from "vitest";
import { builtinRules } from "../builtin.ts";
import { readBuiltin } from "../gen.ts";
import { builtinCorrelations } from "./builtin.ts";
import { generateCorrelations, parseBuiltinCorrelations } from "./gen.ts";

const { rules, correlations } = builtinCorrelations();

test("the generated module holds what the files say; `bun rules/gen.ts` renews it", async () => {
  const parsed = parseBuiltinCorrelations(await readBuiltin("correlations"), builtinRules());
  expect({ rules, correlations }).toEqual(parsed);
  const path = new URL("./builtin.gen.ts", import.meta.url).pathname;
  expect(await Bun.file(path).text()).toBe(generateCorrelations(parsed));
});

test("rules in these files are only there for correlations, and no title stands twice", () => {
  expect(rules.filter(({ part, alerts }) => !part || alerts)).toEqual([]);
  const titles = [...builtinRules(), ...rules, ...correlations].map(({ title }) => title);
  expect(titles.filter((title, at) => titles.indexOf(title) !== at)).toEqual([]);
});

test.each([...rules, ...correlations].map((of) => [of.title, of] as const))("%s says what an operator needs", (_, of) => {
  expect(of.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-[45][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(of.author).toBe("Picket");
  expect(of.version).toMatch(/^\d{4}-\d{2}-\d{2}$/);
  expect(of.description).toBeTruthy();
  expect(of.todo).toBeTruthy();
  expect(of.falsepositives).not.toEqual([]);
  expect(of.attack.techniques).not.toEqual([]);
  if (!of.part) expect(of.attack.tactics).toContain(of.file.split("/")[1]);
});
