import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { compile } from "../compile.ts";
import { DetectorConfig } from "./config.ts";
import { modelEngines } from "./models.ts";

const dir = mkdtempSync(join(tmpdir(), "picket-models-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const models = (of: object = {}) => DetectorConfig.parse({ models: of }).models;
const silent = () => {};

test("the command-line model is asked by default, and not when it is switched off", async () => {
  const names = async (of: object) => (await modelEngines(models(of), silent))().map(({ name }) => name);
  expect(await names({})).toContain("cmdline");
  expect(await names({ cmdline: false })).not.toContain("cmdline");
});

test("each session has engines of its own", async () => {
  const make = await modelEngines(models(), silent);
  expect(make()[0]).not.toBe(make()[0]);
});

test("an executable without the folder onnxruntime says what is missing and where, and runs on", () => {
  const entry = join(dir, "program.ts");
  writeFileSync(
    entry,
    `import { DetectorConfig } from ${JSON.stringify(new URL("./config.ts", import.meta.url).pathname)};
     import { modelEngines } from ${JSON.stringify(new URL("./models.ts", import.meta.url).pathname)};
     const make = await modelEngines(DetectorConfig.parse({}).models, (level, message, details) => console.log(level, message, details?.problem));
     console.log(make().length, "engines");`,
  );
  const out = join(dir, "program");
  compile({ entry, out });
  const { stdout, exitCode } = Bun.spawnSync([out], { cwd: dir });
  expect(stdout.toString()).toContain(
    `error no ONNX models: rules and lists judge alone ${join(dir, "onnxruntime", "onnxruntime_binding.node")} is missing: put the folder`,
  );
  expect(stdout.toString()).toContain("0 engines");
  expect(exitCode).toBe(0);
});

test("an executable with the folder beside it computes the model it holds", async () => {
  const native = join(dir, "onnxruntime");
  const { nativePath } = await import("./engines/onnx/runtime.ts");
  Bun.spawnSync(["ln", "-sfn", join(nativePath(), ".."), native]);
  const { stdout, stderr } = Bun.spawnSync([join(dir, "program")], { cwd: "/" });
  expect(stderr.toString()).toBe("");
  expect(stdout.toString()).toMatch(/^[12] engines\n$/);
});
