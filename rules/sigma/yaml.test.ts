import { expect, test } from "vitest";
import { get, MAX_DOCUMENT, readYaml, splitDocuments } from "./yaml.ts";

const read = (text: string) => readYaml({ text, line: 1 });

test("documents keep the lines of their file, and comments alone are none", () => {
  const documents = splitDocuments("%YAML 1.2\n# head\n---\na: 1\n---\n# nothing\n---\nb: 2\n");
  expect(documents.map(({ line }) => line)).toEqual([3, 7]);
  expect(get(readYaml(documents[1]!), "b")).toMatchObject({ text: "2", line: 8 });
});

test("a value knows its line", () => {
  const map = read("a: 1\nb:\n  - x\n  - y: 2\n");
  expect(get(map, "b")).toMatchObject({
    kind: "list",
    items: [
      { text: "x", line: 3 },
      { kind: "map", line: 4 },
    ],
  });
});

test("numbers keep how they are written, dates stay texts", () => {
  const map = read("a: 0777\nb: 1.10\nc: 2024-09-02\nd: true\ne: yes\nf:\n");
  expect(["a", "b", "c", "d", "e"].map((key) => get(map, key))).toMatchObject([
    { text: "0777" },
    { text: "1.10" },
    { type: "string", text: "2024-09-02" },
    { type: "boolean", text: "true" },
    { type: "string", text: "yes" },
  ]);
  expect(get(map, "f")).toMatchObject({ kind: "null" });
});

test("an alias stands for its anchor", () => {
  expect(get(read("a: &x [1, 2]\nb: *x\n"), "b")).toMatchObject({ kind: "list", items: [{ text: "1" }, { text: "2" }] });
});

test("merge keys give what the map itself does not say", () => {
  const map = read("base: &b { x: 1, y: 2 }\nother: &o { y: 3, z: 4 }\nall: { <<: [*b, *o], x: 5 }\n");
  const all = get(map, "all");
  expect(all?.kind === "map" && all.entries.map(({ key, value }) => [key, value.kind === "scalar" && value.text])).toEqual([
    ["x", "5"],
    ["y", "2"],
    ["z", "4"],
  ]);
});

const bomb = (levels: number) =>
  ["a0: &a0 [x]", ...Array.from({ length: levels }, (_, n) => `a${n + 1}: &a${n + 1} [${Array(9).fill(`*a${n}`).join(", ")}]`)].join("\n");

test.each([
  ["an alias bomb", bomb(9), /aliases/],
  ["an alias inside its own anchor", "a: &a [*a]", /nested deeper|aliases/],
  ["an alias without anchor", "a: *nope", /anchor|alias/i],
  ["deep flow nesting", `a: ${"[".repeat(50_000)}`, /YAML/],
  ["deep block nesting", Array.from({ length: 100 }, (_, n) => `${" ".repeat(n)}a:`).join("\n"), /nested deeper/],
  ["a huge document", `a: ${"x".repeat(MAX_DOCUMENT)}`, /larger than/],
  ["a key twice", "a: 1\nb: 2\na: 3", /"a" occurs twice \(first at line 1\)/],
  ["a key that is a list", "? [a]\n: 1", /a key must be plain text/],
  ["a tag of another language", "a: !!python/object:os.system x", /tag .*is not used in rules/],
  ["a binary", "a: !!binary aGk=", /tag .*is not used in rules/],
  ["a merge of a text", "a: { <<: x }", /merges maps/],
  ["bad syntax", "a: 'x", /not valid YAML/],
  ["bad indentation", "a:\n  b: 1\n c: 2", /not valid YAML/],
])("%s is an error", (_, text, message) => {
  expect(() => read(text)).toThrow(message);
});

test("ten thousand keys are read in one pass", () => {
  const map = read(Array.from({ length: 10_000 }, (_, n) => `k${n}: 1`).join("\n"));
  expect(map.kind === "map" && map.entries.length).toBe(10_000);
});
