import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import manifest from "../manifest.gen.json";
import { objectBytes } from "../object.ts";
import { clangVersion, compile, sourceDir, sourceHash } from "./compile.ts";
import { elfSections } from "./elf.ts";
import { layoutOf } from "./layout.ts";

const sha256 = (bytes: Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
const committed = objectBytes();

test("the object was made from these sources: else run `bun run gen`", () => {
  expect(manifest.sources).toBe(sourceHash());
});

test("the object is the one the manifest describes", () => {
  expect(sha256(committed)).toBe(manifest.object);
});

test("the layout is the one of the object", () => {
  expect(readFileSync(join(sourceDir, "layout.gen.ts"), "utf8")).toBe(layoutOf(committed));
});

test("the object carries no path of the machine it was made on", () => {
  const text = Buffer.from(committed).toString("latin1");
  for (const folder of ["/home/", "/root/", "/work", "/tmp", "/Users/"]) expect(text).not.toContain(folder);
});

test("the object carries no debug information but BTF", () => {
  const names = [...elfSections(committed).keys()];
  expect(names).toContain(".BTF");
  expect(names.filter((name) => name.startsWith(".debug"))).toEqual([]);
});

const clang = clangVersion();
const skip = clang === manifest.clang ? "" : ` (skipped: clang ${manifest.clang} made it, here is ${clang ?? "none"})`;
test.skipIf(skip !== "")(`compiling again gives the same layout${skip}`, () => {
  expect(layoutOf(compile())).toBe(layoutOf(committed));
});
