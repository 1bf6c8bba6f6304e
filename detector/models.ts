// The engines that compute ONNX models, or the reason why there are none: a detector without the native part judges by everything else.
import { startFiles } from "@picket/models/behaviour/start";
import { cmdlineModel } from "@picket/models/cmdline/model";
import type { DetectorConfig } from "./config.ts";
import { behaviourEngine } from "./engines/onnx/behaviour.ts";
import { modelsFolder } from "./engines/onnx/behaviour-folder.ts";
import { BehaviourModels } from "./engines/onnx/behaviour-models.ts";
import { cmdlineEngine } from "./engines/onnx/cmdline.ts";
import { CmdlineScorer } from "./engines/onnx/cmdline-scorer.ts";
import { loadRuntime, type Runtime } from "./engines/onnx/runtime.ts";
import type { Engine } from "./finding.ts";
import type { Log } from "./log.ts";

/**
 * Makes the engines of a session; `siteDir` is where the site keeps what it learnt. Never throws: what cannot be used is logged with what to do, and the rest runs.
 */
export async function modelEngines(config: DetectorConfig["models"], log: Log, siteDir?: string): Promise<() => readonly Engine[]> {
  let runtime: Runtime;
  try {
    runtime = loadRuntime();
  } catch (error) {
    log("error", "no ONNX models: rules and lists judge alone", { problem: error instanceof Error ? error.message : String(error) });
    return () => [];
  }
  const makers = [await cmdlineMaker(runtime, config, log), await behaviourMaker(runtime, config, log, siteDir)];
  return () => makers.flatMap((make) => (make ? [make()] : []));
}

async function cmdlineMaker(runtime: Runtime, config: DetectorConfig["models"], log: Log): Promise<(() => Engine) | undefined> {
  if (!config.cmdline) return undefined;
  try {
    const { onnx, calibration } = await cmdlineModel();
    const scorer = new CmdlineScorer(runtime, onnx);
    return () => cmdlineEngine({ scorer, calibration, alertsPerDeviceDay: config.cmdlineAlertsPerDeviceDay });
  } catch (error) {
    log("error", "the command-line model cannot be used", { problem: error instanceof Error ? error.message : String(error) });
    return undefined;
  }
}

type Maker = (() => Engine) | undefined;

async function behaviourMaker(runtime: Runtime, config: DetectorConfig["models"], log: Log, siteDir: string | undefined): Promise<Maker> {
  if (!config.behaviour) return undefined;
  try {
    const models = new BehaviourModels({
      runtime,
      start: await startFiles(),
      folder: siteDir === undefined ? undefined : modelsFolder(siteDir),
      alertsPerDeviceDay: config.behaviourAlertsPerDeviceDay,
      log,
    });
    return () => behaviourEngine(models);
  } catch (error) {
    log("error", "the behaviour model cannot be used", { problem: error instanceof Error ? error.message : String(error) });
    return undefined;
  }
}
