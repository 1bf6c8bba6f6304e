// What each model says of recorded events: for `picket model score`.
import { startFiles } from "@picket/models/behaviour/start";
import { scoreOf } from "@picket/models/cmdline/calibration";
import type { Sight } from "@picket/models/cmdline/features";
import { cmdlineModel } from "@picket/models/cmdline/model";
import { processOf } from "@picket/protocol/event";
import type { Recorded } from "@picket/protocol/recorded";
import { modelsFolder } from "./engines/onnx/behaviour-folder.ts";
import { BehaviourModels } from "./engines/onnx/behaviour-models.ts";
import { scoreMinutes } from "./engines/onnx/behaviour-scores.ts";
import { CmdlineScorer } from "./engines/onnx/cmdline-scorer.ts";
import { loadRuntime } from "./engines/onnx/runtime.ts";
import { deviceTime } from "./replay.ts";

/** 0 to 1, higher is worse. */
export type Scored = { readonly id: string; readonly score: number };
/** Scores events in their order, one result each. */
export type ScoreEvents = (events: AsyncIterable<Recorded>) => AsyncIterable<Scored>;

/** `siteDir`: where a site keeps the models it learnt; without one, what Picket ships is asked. */
type Open = (siteDir?: string) => Promise<ScoreEvents>;

/** By name. Opening one throws `RuntimeMissing` where the native part of the runtime is not there. */
export const models: Readonly<Record<string, { readonly about: string; readonly open: Open }>> = {
  cmdline: { about: "how suspicious a command line is, with the program that started it", open: cmdline },
  behaviour: { about: "how unusual the minute was in which an event was received, for its device", open: behaviour },
};

const BATCH = 500;

/** Events about no process score 0. */
async function cmdline(): Promise<ScoreEvents> {
  const { onnx } = await cmdlineModel();
  const scorer = new CmdlineScorer(loadRuntime(), onnx);
  return async function* (events) {
    let batch: Recorded[] = [];
    for await (const event of events) {
      batch.push(event);
      if (batch.length < BATCH) continue;
      yield* scoreAll(scorer, batch);
      batch = [];
    }
    yield* scoreAll(scorer, batch);
  };
}

function scoreAll(scorer: CmdlineScorer, batch: readonly Recorded[]): Scored[] {
  const sights = batch.map(({ event }): Sight | undefined => {
    const process = processOf(event);
    return process && { argv: process.argv, exe: process.exe, parent: process.parent?.exe };
  });
  const judged = scorer.judge(sights.filter((sight) => sight !== undefined));
  let at = 0;
  return batch.map(({ id }, index) => ({ id, score: sights[index] === undefined ? 0 : Number(scoreOf(judged[at++]!.logit).toFixed(6)) }));
}

/** Throws when the model the site chose cannot be used. */
async function behaviour(siteDir?: string): Promise<ScoreEvents> {
  const models = new BehaviourModels({
    runtime: loadRuntime(),
    start: await startFiles(),
    folder: siteDir === undefined ? undefined : modelsFolder(siteDir),
    // Scores need no threshold.
    alertsPerDeviceDay: 1,
    log: (level, message, details) => {
      if (level === "error") throw new Error(`${message}: ${details?.problem}`);
    },
  });
  return (events) => scoreMinutes(models, events, deviceTime());
}
