import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { compile } from "./compile.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "picket-compile-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test("an executable takes neither code nor environment from the folder it is started in", () => {
  const entry = join(dir, "program.ts");
  writeFileSync(entry, "console.log(String(process.env.NODE_TLS_REJECT_UNAUTHORIZED));");
  const out = join(dir, "program");
  compile({ entry, out });

  const hostile = join(dir, "hostile");
  mkdirSync(hostile);
  writeFileSync(join(hostile, "bunfig.toml"), 'preload = ["./theirs.ts"]\n');
  writeFileSync(join(hostile, "theirs.ts"), 'console.log("theirs");\n');
  writeFileSync(join(hostile, ".env"), "NODE_TLS_REJECT_UNAUTHORIZED=0\n");
  writeFileSync(join(hostile, "tsconfig.json"), "not JSON");
  writeFileSync(join(hostile, "package.json"), "not JSON");
  const { NODE_TLS_REJECT_UNAUTHORIZED: _, ...env } = process.env;
  const ran = Bun.spawnSync([out], { cwd: hostile, env, stdout: "pipe", stderr: "pipe" });
  expect({ stdout: ran.stdout.toString(), stderr: ran.stderr.toString() }).toEqual({ stdout: "undefined\n", stderr: "" });
});

test("what cannot be compiled is an error that names it", () => {
  expect(() => compile({ entry: join(dir, "absent.ts"), out: join(dir, "absent") })).toThrow(/absent\.ts cannot be compiled/);
});
