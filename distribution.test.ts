// What is handed out works where there is no checkout, no Bun and no node_modules.
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Architecture, makeDistribution, type Part } from "./distribution.ts";
import { run } from "./test/e2e/program.ts";

const arch: Architecture = process.arch === "arm64" ? "arm64" : "x64";
const checkout = new URL(".", import.meta.url).pathname;
const root = process.getuid?.() === 0;

let dir: string;
let dist: string;
let parts: readonly Part[];

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "picket-distribution-"));
  const built = join(dir, "built");
  writeFileSync(join(dir, "events.ndjson"), readFileSync(join(checkout, "rules/builtin/execution/pipe-shell.samples.ndjson")));
  writeFileSync(join(dir, "rule.yar"), 'rule marked { strings: $a = "marked" condition: $a }\n');
  parts = makeDistribution(arch, built);
  dist = join(dir, "elsewhere");
  renameSync(built, dist);
}, 60_000);

afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Runs it where the checkout is not: hidden, as far as we may. */
function picket(...args: string[]) {
  const argv = ["env", "-i", "-C", dir, "PATH=/usr/bin:/bin", `HOME=${dir}`, join(dist, "picket"), ...args];
  // The temporary folder may lie in the checkout's file system, but not below the checkout.
  const hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', checkout];
  return run(root && canMount && !dir.startsWith(checkout) ? [...hidden, ...argv] : argv);
}
const canMount = Bun.spawnSync(["unshare", "--mount", "true"], { stderr: "ignore" }).exitCode === 0;

test("it has both executables, the ONNX runtime's native part, and a checksum for each file", async () => {
  expect(parts.map(({ path }) => path)).toEqual([
    "picket-agent",
    "picket",
    "onnxruntime/libonnxruntime.so.1",
    "onnxruntime/onnxruntime_binding.node",
  ]);
  expect(parts.every(({ sizeBytes }) => sizeBytes > 100_000)).toBe(true);
  const files = [...new Bun.Glob("**").scanSync({ cwd: dist, onlyFiles: true })].toSorted();
  expect(files).toEqual(["SHA256SUMS", ...parts.map(({ path }) => path)].toSorted());
  const checked = await run(["sh", "-c", 'cd "$0" && sha256sum --check --strict SHA256SUMS', dist]);
  expect(checked.stdout.trim().split("\n")).toEqual(parts.map(({ path }) => `${path}: OK`));
});

test("it says its version", async () => {
  const { version } = JSON.parse(readFileSync(join(checkout, "package.json"), "utf8"));
  expect(await picket("--version")).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
});

test("it replays with all its engines", async () => {
  const { code, stdout, stderr } = await picket("replay", "events.ndjson", "--json");
  expect(code, stderr).toBe(0);
  const engines = stdout.split("\n").flatMap((line) => (line ? [JSON.parse(line).rule.engine as string] : []));
  expect(engines).toContain("sigma");
});

test("it checks YARA rules and scans with them, in its Worker", async () => {
  const checked = await picket("rules", "check", "rule.yar", "--json");
  expect(JSON.parse(checked.stdout), checked.stderr).toMatchObject({ loaded: 1, byFormat: { yara: 1 }, errors: [] });
  writeFileSync(join(dir, "sample"), "marked");
  const scanned = await picket("rules", "scan", "sample", "--rules", "rule.yar", "--no-builtin", "--json");
  expect(scanned.stdout, scanned.stderr).toContain('"marked"');
});

test("its model scores; without the folder onnxruntime it says what is missing", async () => {
  const scored = await picket("model", "score", "cmdline", "events.ndjson", "--json");
  expect(scored.code, scored.stderr).toBe(0);
  expect(JSON.parse(scored.stdout.split("\n")[0]!).score).toBeGreaterThan(0.5);

  renameSync(join(dist, "onnxruntime"), join(dir, "aside"));
  const missing = await picket("model", "score", "cmdline", "events.ndjson", "--json");
  const replayed = await picket("replay", "events.ndjson", "--json");
  renameSync(join(dir, "aside"), join(dist, "onnxruntime"));
  expect(missing.code).toBe(1);
  expect(missing.stderr).toContain("put the folder onnxruntime of the release beside the executable");
  expect(replayed.code, replayed.stderr).toBe(0);
  expect(replayed.stdout).toContain('"engine":"sigma"');
});
