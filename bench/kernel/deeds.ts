// Storms of program starts and of connections, alone and under each watcher.

import { cpuSeconds } from "../program.ts";
import type { Bench, Result } from "../result.ts";
import { median, note } from "../result.ts";
import { quiet } from "./quiet.ts";
import type { Deeds, Scene } from "./scene.ts";
import type { Seen, Watcher } from "./watcher.ts";
import { wireBytes } from "./wire.ts";

const COUNT = 5000;
const ROUNDS = 3;

type What = "exec" | "connect";
/** `due`: events a storm causes. A connection is one on both ends. */
const storms = {
  exec: { due: COUNT, seen: ({ execs }: Seen) => execs, types: ["process.exec"] },
  connect: { due: 2 * COUNT, seen: ({ connects, accepts }: Seen) => connects + accepts, types: ["net.connect", "net.accept"] },
} as const;

type Run = {
  readonly storm: Deeds;
  readonly seen: number;
  readonly lost: number;
  readonly watcherCpuS: number;
  readonly wire: number | undefined;
};

/** `watchers` in turn, after a storm alone each round, so that all had the same host. */
export async function* deedStorms(scene: Scene, what: What, watchers: readonly { label: string; watcher: Watcher }[]): ReturnType<Bench> {
  const { deed } = scene;
  if (!deed) {
    note(`kernel: no C compiler: no ${what} storm`);
    return;
  }
  const alone: Deeds[] = [];
  const runs = new Map(watchers.map(({ label }) => [label, [] as Run[]]));
  for (let round = 0; round < ROUNDS; round++) {
    alone.push(await deed(what, COUNT));
    for (const { label, watcher } of watchers) {
      await using watching = await watcher.start(scene);
      await quiet(watching);
      const cpu = () => watching.pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
      const before = cpu();
      const storm = await deed(what, COUNT);
      await quiet(watching);
      const watcherCpuS = cpu() - before;
      const seen = await watching.seen();
      const wire = watcher.name === "picket" ? await wireBytes(watching.output, storms[what].types, scene) : undefined;
      runs.get(label)!.push({ storm, seen: storms[what].seen(seen), lost: seen.lost, watcherCpuS, wire });
    }
  }
  for (const [label, list] of runs) yield* figures(what, label, alone, list);
}

function* figures(what: What, label: string, alone: readonly Deeds[], runs: readonly Run[]): Iterable<Result> {
  const prefix = `${what}_${label}`;
  const value = (pick: (run: Run) => number, digits = 3) => Number(median(runs.map(pick)).toFixed(digits));
  const { due } = storms[what];
  const aloneS = median(alone.map(({ seconds }) => seconds));
  const aloneCpuS = median(alone.map(({ cpuSeconds }) => cpuSeconds));
  const inKernel = ({ storm }: Run) => ((storm.cpuSeconds - aloneCpuS) * 1e6) / due;
  yield { metric: `${prefix}seen_ratio`, value: value(({ seen }) => seen / due, 4), unit: "ratio" };
  yield { metric: `${prefix}missing`, value: value(({ seen }) => due - seen, 0), unit: "events" };
  yield { metric: `${prefix}told_lost`, value: value(({ lost }) => lost, 0), unit: "events" };
  yield { metric: `${prefix}slowdown_ratio`, value: value(({ storm }) => storm.seconds / aloneS), unit: "ratio" };
  yield { metric: `${prefix}cpu_us_per_event`, value: value((run) => inKernel(run) + (run.watcherCpuS * 1e6) / due, 1), unit: "us" };
  yield { metric: `${prefix}cpu_us_per_event_in_kernel`, value: value(inKernel, 1), unit: "us" };
  if (runs.every(({ wire }) => wire !== undefined))
    yield { metric: `${prefix}wire_bytes_per_event`, value: value(({ wire }) => wire!, 1), unit: "bytes" };
}
