// An agent over time, beside a host that does what it does anyway and a little of everything of ours every second.
import { loadavg } from "node:os";
import { cpuSeconds, rssBytes } from "../program.ts";
import { median, note, type Result } from "../result.ts";
import { createSite } from "../site.ts";
import { quiet } from "./quiet.ts";
import type { Scene } from "./scene.ts";
import type { Watcher } from "./watcher.ts";
import { wireBytes } from "./wire.ts";

const EVERY_MS = 1000;
/** Not counted for growth: caches fill, tables are read for the first time. */
const WARM_UP_SHARE = 0.5;
/** What is done every second, and the events of it that are to be seen. */
const OF = { execs: 3, connects: 3, opens: 200, every: 20 };
const DUE = OF.execs + 2 * OF.connects + OF.opens / OF.every;
const ALL_TYPES = ["process.exec", "process.exit", "file.open", "net.connect", "net.accept", "net.listen"];

type Sample = { readonly minute: number; readonly mb: number };

/** `watcher` without a site, so that what it saw can be counted. */
export async function* mixed(scene: Scene, watcher: Watcher, minutes: number): AsyncIterable<Result> {
  await using watching = await watcher.start(scene);
  await quiet(watching);
  const { turns, samples, cpuPercent } = await steady(scene, watching.pids[0]!, minutes);
  await quiet(watching);
  const { opens, execs, connects, accepts, lost } = await watching.seen();
  yield { metric: "mixed_seen_ratio", value: Number(((opens + execs + connects + accepts) / (turns * DUE)).toFixed(4)), unit: "ratio" };
  yield { metric: "mixed_told_lost", value: lost, unit: "events" };
  yield { metric: "mixed_cpu_percent", value: cpuPercent, unit: "% of a core" };
  const lines = (await Bun.file(watching.output).text()).split("\n").length - 1;
  yield { metric: "mixed_events_per_s", value: Number((lines / (minutes * 60)).toFixed(1)), unit: "events/s" };
  yield { metric: "mixed_rss_mb", value: median(samples.map(({ mb }) => mb)), unit: "MB" };
  const wire = await wireBytes(watching.output, ALL_TYPES, scene);
  if (wire !== undefined) yield { metric: "mixed_wire_bytes_per_event", value: Number(wire.toFixed(1)), unit: "bytes" };
}

/** The agent of a device, all collectors on, with broker and detector as processes of their own. */
export async function* soak(scene: Scene, minutes: number): AsyncIterable<Result> {
  using site = await createSite();
  await using broker = await site.startBroker();
  await using _detector = await site.startDetector(broker, []);
  await using agent = await site.startAgent(broker, "bench-device");
  const before = site.storedEvents();
  const { samples, cpuPercent } = await steady(scene, agent.pid, minutes);
  const later = samples.filter(({ minute }) => minute >= minutes * WARM_UP_SHARE);
  yield { metric: "soak_minutes", value: minutes, unit: "min" };
  yield { metric: "soak_events_per_s", value: Number(((site.storedEvents() - before) / (minutes * 60)).toFixed(1)), unit: "events/s" };
  yield { metric: "soak_cpu_percent", value: cpuPercent, unit: "% of a core" };
  yield { metric: "soak_rss_mb", value: median(later.map(({ mb }) => mb)), unit: "MB" };
  yield { metric: "soak_rss_max_mb", value: Math.max(...samples.map(({ mb }) => mb)), unit: "MB" };
  yield { metric: "soak_growth_mb_per_min", value: Number(slope(later).toFixed(2)), unit: "MB/min" };
  for (const { minute, mb } of later.filter((_, at) => at % Math.max(1, Math.ceil(later.length / 10)) === 0))
    yield { metric: `soak_rss_mb_at_${minute.toFixed(1)}_min`, value: mb, unit: "MB" };
}

async function steady(scene: Scene, pid: number, minutes: number) {
  const samples: Sample[] = [];
  const before = cpuSeconds(pid);
  const beganMs = performance.now();
  let turns = 0;
  for (let ms = 0; ms < minutes * 60_000; ms = performance.now() - beganMs) {
    await scene.deed?.("exec", OF.execs);
    await scene.deed?.("connect", OF.connects);
    await scene.storm({ opens: OF.opens, every: OF.every, execs: 0 });
    samples.push({ minute: ms / 60_000, mb: Number((rssBytes(pid) / 2 ** 20).toFixed(1)) });
    await Bun.sleep(Math.max(0, ++turns * EVERY_MS - (performance.now() - beganMs)));
  }
  const cpuPercent = Number((((cpuSeconds(pid) - before) / (performance.now() - beganMs)) * 1e5).toFixed(2));
  note(`kernel: the host's load was ${loadavg()[0]!.toFixed(1)} then`);
  return { turns, samples, cpuPercent };
}

/** Of the line through all samples, by least squares. */
function slope(samples: readonly Sample[]): number {
  const mean = (pick: (sample: Sample) => number) => samples.reduce((sum, sample) => sum + pick(sample), 0) / samples.length;
  const [x, y] = [mean(({ minute }) => minute), mean(({ mb }) => mb)];
  const [top, bottom] = [mean((of) => (of.minute - x) * (of.mb - y)), mean((of) => (of.minute - x) ** 2)];
  return bottom === 0 ? 0 : top / bottom;
}
