// How long a device is not watched when its agent starts.
import { statSync } from "node:fs";
import { agentEnvironment } from "../agent.ts";
import { start } from "../program.ts";
import { median, type Result } from "../result.ts";
import type { Scene } from "./scene.ts";

const STARTS = 5;
const LOOK_MS = 2;
const DEED_MS = 20;
const PATIENCE_MS = 20_000;

/** `start_first_event_ms`: until the agent prints its first event. `start_watching_ms`: until a program is started that it reports. */
export async function* startUp(scene: Scene, agent: string): AsyncIterable<Result> {
  const first: number[] = [];
  const watching: number[] = [];
  for (let run = 0; run < STARTS; run++) {
    const output = `${scene.dir}/start-${run}.ndjson`;
    const beganMs = Date.now();
    await using _ = start([agent, "run", "--stdout"], { env: agentEnvironment(), stdout: output });
    for (let seen = false; first.length === run || !seen; await Bun.sleep(LOOK_MS)) {
      const sinceMs = Date.now() - beganMs;
      if (sinceMs > PATIENCE_MS) throw new Error("kernel: picket-agent reported nothing within 20 s");
      if (first.length === run && (statSync(output, { throwIfNoEntry: false })?.size ?? 0) > 0) first.push(sinceMs);
      if (first.length === run) continue;
      Bun.spawnSync([scene.program]);
      await Bun.sleep(DEED_MS);
      const timeMs = firstStart(await Bun.file(output).text(), scene.program);
      if (timeMs === undefined) continue;
      watching.push(timeMs - beganMs);
      seen = true;
    }
  }
  yield { metric: "start_first_event_ms", value: Math.round(median(first)), unit: "ms" };
  yield { metric: "start_watching_ms", value: Math.round(median(watching)), unit: "ms" };
}

function firstStart(text: string, program: string): number | undefined {
  const line = text.split("\n").find((line) => line.includes('"type":"process.exec"') && line.includes(`"exe":"${program}"`));
  return line === undefined ? undefined : (JSON.parse(line) as { timeMs: number }).timeMs;
}
