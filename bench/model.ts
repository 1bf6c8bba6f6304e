// What one core scores: program starts as features and as scores, in batches and one by one.
import { readFileSync } from "node:fs";
import { CmdlineScorer } from "../detector/engines/onnx/cmdline-scorer.ts";
import { loadRuntime } from "../detector/engines/onnx/runtime.ts";
import type { Sight } from "../models/cmdline/features.ts";
import { cmdlineModel } from "../models/cmdline/model.ts";
import { mixedEvents } from "./mixed.ts";
import { median, percentile, type Result } from "./result.ts";

const LINES = 20_000;
/** As many as a batch of the log holds. */
const BATCH = 500;
const ROUNDS = 5;
const SINGLE = 2000;

export default async function* model(): AsyncIterable<Result> {
  const [made, real] = [generated(), recorded()];
  Bun.gc(true);
  const before = process.memoryUsage.rss();
  const { onnx } = await cmdlineModel();
  using scorer = new CmdlineScorer(loadRuntime(), onnx);
  yield* batched(scorer, "", made);
  yield* batched(scorer, "recorded_", real);
  const single = [...one(scorer, real)];
  yield { metric: "single_p50", value: Number(median(single).toFixed(3)), unit: "ms" };
  yield { metric: "single_p99", value: Number(percentile(single, 0.99).toFixed(3)), unit: "ms" };
  yield { metric: "rss_added", value: Number(((process.memoryUsage.rss() - before) / 1e6).toFixed(1)), unit: "MB" };
  yield { metric: "model_file", value: Number((onnx.length / 1e6).toFixed(2)), unit: "MB" };
}

/** Every line is another one: the engine computes equal ones once. */
function generated(): Sight[] {
  const sights: Sight[] = [];
  for (const event of mixedEvents(LINES * 10, { device: "gw-1", epoch: "model", seed: 1 })) {
    if (event.type !== "process.exec" || sights.length === LINES) continue;
    const { argv, exe, parent } = event.body.process;
    sights.push({ argv: [...argv, `${sights.length}`], exe, parent: parent?.exe });
  }
  return sights;
}

/** What real packages and builds start, some of it long shell text. */
function recorded(): Sight[] {
  const lines = readFileSync(new URL("../models/train/cmdline-trace.ndjson", import.meta.url), "utf8")
    .trim()
    .split("\n");
  return lines.map((line) => JSON.parse(line) as Sight);
}

async function* batched(scorer: CmdlineScorer, prefix: string, sights: readonly Sight[]): AsyncIterable<Result> {
  const rates: number[] = [];
  // The first round warms the code up and is not counted.
  for (let round = 0; round <= ROUNDS; round++) {
    const began = performance.now();
    for (let at = 0; at < sights.length; at += BATCH) scorer.judge(sights.slice(at, at + BATCH));
    if (round > 0) rates.push((sights.length / (performance.now() - began)) * 1000);
  }
  yield { metric: `${prefix}lines_per_s`, value: Math.round(median(rates)), unit: "lines/s" };
}

function* one(scorer: CmdlineScorer, sights: readonly Sight[]): Iterable<number> {
  for (let at = 0; at < SINGLE; at++) {
    const began = performance.now();
    scorer.judge([sights[at % sights.length]!]);
    yield performance.now() - began;
  }
}
