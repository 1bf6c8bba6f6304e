// The arm64 executables, in emulation where this machine is another: they say and decide what those of this machine do.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { models } from "../../detector/model-scores.ts";
import { makeDistribution } from "../../distribution.ts";
import { run } from "../e2e/program.ts";
import { arm64Runner } from "./emulator.ts";

const root = new URL("../../", import.meta.url).pathname;
const runner = await arm64Runner();
const why = "why" in runner ? runner.why : "";
const host = process.arch === "arm64" ? "arm64" : "x64";
/** Emulation takes seconds to start a program, and a busy machine a multiple. */
const LIMIT_MS = 240_000;
const armTest = (name: string, body: () => Promise<void>) => test.skipIf(why !== "")(`${name}${why && ` (${why})`}`, body, LIMIT_MS);

let dir: string;
let events: string;

beforeAll(async () => {
  if (why) return;
  dir = mkdtempSync(join(tmpdir(), "picket-arm64-"));
  makeDistribution("arm64", join(dir, "arm64"));
  makeDistribution(host, join(dir, host));
  events = join(dir, "events.ndjson");
  writeFileSync(events, recorded());
}, LIMIT_MS);

afterAll(() => {
  if (dir) rmSync(dir, { recursive: true, force: true });
});

/** Hits and misses of every shipped rule, one minute after the other. */
function recorded(): string {
  const files = [...new Bun.Glob("rules/builtin/**/*.samples.ndjson").scanSync({ cwd: root })].toSorted();
  const lines = files.flatMap((file) => readFileSync(join(root, file), "utf8").split("\n").filter(Boolean));
  return lines.map((line, at) => `${JSON.stringify({ ...JSON.parse(line), timeMs: 1_767_225_600_000 + at * 60_000 })}\n`).join("");
}

const onArm = (program: "picket" | "picket-agent", ...args: string[]) =>
  said([...("why" in runner ? [] : runner), join(dir, "arm64", program), ...args]);
const here = (program: "picket" | "picket-agent", ...args: string[]) => said([join(dir, host, program), ...args]);

async function said(argv: readonly string[]): Promise<{ code: number; stdout: string }> {
  const { code, stdout, stderr } = await run(argv, { timeoutMs: LIMIT_MS });
  expect(stderr, argv.join(" ")).not.toMatch(/panic|Segmentation fault|Illegal instruction/);
  return { code, stdout };
}

armTest("arm64: both executables start and say their version", async () => {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  expect(await onArm("picket", "--version")).toEqual({ code: 0, stdout: `${version}\n` });
  expect(await onArm("picket-agent", "--version")).toEqual({ code: 0, stdout: `${version}\n` });
});

armTest("arm64: the agent's configuration is the same", async () => {
  const { code, stdout } = await onArm("picket-agent", "config", "--print");
  expect(code).toBe(0);
  expect(stdout).toContain("/var/lib/picket/agent");
  expect(stdout).toBe((await here("picket-agent", "config", "--print")).stdout);
});

armTest("arm64: rules load the same", async () => {
  const args = ["rules", "check", join(root, "rules/builtin"), "--json"];
  const { code, stdout } = await onArm("picket", ...args);
  expect(code).toBe(0);
  expect(JSON.parse(stdout).loaded).toBeGreaterThan(50);
  expect(stdout).toBe((await here("picket", ...args)).stdout);
});

armTest("arm64: a recorded file gives the same alerts, byte for byte", async () => {
  const { code, stdout } = await onArm("picket", "replay", events, "--json");
  expect(code).toBe(0);
  expect(stdout.split("\n").length).toBeGreaterThan(50);
  expect(stdout).toBe((await here("picket", "replay", events, "--json")).stdout);
});

armTest("arm64: YARA finds the same in a file", async () => {
  const file = join(dir, "eicar");
  // In two parts, or a scanner would take this test for what it tests.
  writeFileSync(file, ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].join(""));
  const { stdout } = await onArm("picket", "rules", "scan", file, "--json");
  expect(JSON.parse(stdout).matches).not.toEqual([]);
  expect(stdout).toBe((await here("picket", "rules", "scan", file, "--json")).stdout);
});

for (const name of Object.keys(models))
  armTest(`arm64: the model ${name} scores the same, to 1e-4`, async () => {
    const scores = ({ stdout }: { stdout: string }) =>
      stdout
        .split("\n")
        .filter(Boolean)
        .map((line): { id: string; score: number } => JSON.parse(line));
    const ours = scores(await onArm("picket", "model", "score", name, events, "--json"));
    const theirs = scores(await here("picket", "model", "score", name, events, "--json"));
    expect(ours.length).toBeGreaterThan(0);
    expect(ours.map(({ id }) => id)).toEqual(theirs.map(({ id }) => id));
    const distances = ours.map(({ score }, at) => Math.abs(score - theirs[at]!.score));
    expect(Math.max(...distances)).toBeLessThan(1e-4);
  });
