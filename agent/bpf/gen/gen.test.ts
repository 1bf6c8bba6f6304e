import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import manifest from "../manifest.gen.json";
import { objectBytes, ways } from "../object.ts";
import { clangVersion, compile, sourceDir, sourceHash } from "./compile.ts";
import { elfSections } from "./elf.ts";
import { layoutOf } from "./layout.ts";

const sha256 = (bytes: Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

test("the object was made from these sources: else run `bun run gen`", () => {
  expect(manifest.sources).toBe(sourceHash());
});

test.each(ways)("the object (%s) is the one the manifest describes", (way) => {
  expect(sha256(objectBytes(way))).toBe(manifest.objects[way]);
});

test.each(ways)("the layout is the one of the object (%s)", (way) => {
  expect(readFileSync(join(sourceDir, "layout.gen.ts"), "utf8")).toBe(layoutOf(objectBytes(way)));
});

test.each(ways)("the object (%s) carries no path of the machine it was made on", (way) => {
  const text = Buffer.from(objectBytes(way)).toString("latin1");
  for (const folder of ["/home/", "/root/", "/work", "/tmp", "/Users/"]) expect(text).not.toContain(folder);
});

test.each(ways)("the object (%s) carries no debug information but BTF", (way) => {
  const names = [...elfSections(objectBytes(way)).keys()];
  expect(names).toContain(".BTF");
  expect(names.filter((name) => name.startsWith(".debug"))).toEqual([]);
});

const clang = clangVersion();
const skip = clang === manifest.clang ? "" : ` (skipped: clang ${manifest.clang} made it, here is ${clang ?? "none"})`;
test.skipIf(skip !== "").each(ways)(`compiling again gives the same layout (%s)${skip}`, (way) => {
  expect(layoutOf(compile(way))).toBe(layoutOf(objectBytes(way)));
});
