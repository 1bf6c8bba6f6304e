// `bun run gen`: compiles the kernel side and writes what user space must know about it. The results are committed, so that nobody else needs a compiler.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ways } from "../object.ts";
import { clangVersion, compile, objectFiles, sourceDir, sourceHash } from "./compile.ts";
import { layoutOf } from "./layout.ts";

const objects = { ring: compile("ring"), perf: compile("perf") };
const sha256 = (bytes: Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
const layout = layoutOf(objects.ring);
if (layoutOf(objects.perf) !== layout)
  throw new Error("the two objects are laid out differently: nothing but the way out may depend on PERF");
const manifest = {
  sources: sourceHash(),
  clang: clangVersion(),
  objects: { ring: sha256(objects.ring), perf: sha256(objects.perf) },
};
for (const way of ways) writeFileSync(join(sourceDir, objectFiles[way]), objects[way]);
writeFileSync(join(sourceDir, "layout.gen.ts"), layout);
writeFileSync(join(sourceDir, "manifest.gen.json"), `${JSON.stringify(manifest, null, 2)}\n`);
for (const way of ways) console.log(`${objectFiles[way]}: ${objects[way].length} bytes, clang ${manifest.clang}`);
