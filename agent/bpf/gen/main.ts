// `bun run gen`: compiles the kernel side and writes what user space must know about it. The results are committed, so that nobody else needs a compiler.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { clangVersion, compile, sourceDir, sourceHash } from "./compile.ts";
import { layoutOf } from "./layout.ts";

const object = compile();
const manifest = {
  sources: sourceHash(),
  clang: clangVersion(),
  object: new Bun.CryptoHasher("sha256").update(object).digest("hex"),
};
writeFileSync(join(sourceDir, "sensor.bpf.o"), object);
writeFileSync(join(sourceDir, "layout.gen.ts"), layoutOf(object));
writeFileSync(join(sourceDir, "manifest.gen.json"), `${JSON.stringify(manifest, null, 2)}\n`);
console.log(`sensor.bpf.o: ${object.length} bytes, clang ${manifest.clang}`);
