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

const FIRST_MS = 1_767_225_600_000;

/** Half an hour of ordinary work on another device, then hits and misses of every shipped rule, a minute between them. */
function recorded(): string {
  const files = [...new Bun.Glob("rules/builtin/**/*.samples.ndjson").scanSync({ cwd: root })].toSorted();
  const samples = files.flatMap((file) => readFileSync(join(root, file), "utf8").split("\n").filter(Boolean));
  const later = samples.map((line, at) => ({ ...JSON.parse(line), timeMs: FIRST_MS + (60 + at) * 60_000 }));
  return [...ordinaryWork(), ...later].map((event) => `${JSON.stringify(event)}\n`).join("");
}

function ordinaryWork(): object[] {
  const programs = ["ls", "cat", "git", "sleep", "date"];
  return Array.from({ length: 30 }, (_, minute) =>
    programs.slice(0, (minute % programs.length) + 1).map((name, at) => ({
      device: "gw-001",
      timeMs: FIRST_MS + minute * 60_000 + at * 1000,
      type: "process.exec",
      body: { process: { exe: `/usr/bin/${name}`, argv: [name, "--help"], parent: { pid: 900, exe: "/usr/bin/bash" } } },
    })),
  ).flat();
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
    // Scores that are all alike would prove nothing.
    expect(new Set(ours.map(({ score }) => score)).size).toBeGreaterThan(2);
    expect(ours.map(({ id }) => id)).toEqual(theirs.map(({ id }) => id));
    const distances = ours.map(({ score }, at) => Math.abs(score - theirs[at]!.score));
    expect(Math.max(...distances)).toBeLessThan(1e-4);
  });
