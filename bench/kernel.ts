// What watching costs the watched: storms of opens, program starts and connections, alone and beside Picket, auditd and bpftrace; and what the agent
// itself takes over time. Needs root.
import { statSync } from "node:fs";
import { compileAgent } from "./agent.ts";
import { auditd } from "./kernel/auditd.ts";
import { bpftrace } from "./kernel/bpftrace.ts";
import { deedStorms } from "./kernel/deeds.ts";
import { picket, rssMegabytes } from "./kernel/picket.ts";
import { quiet } from "./kernel/quiet.ts";
import { createScene, type Scene, type Storm } from "./kernel/scene.ts";
import { startUp } from "./kernel/start.ts";
import { mixed, soak } from "./kernel/steady.ts";
import type { Seen, Watcher, Watching } from "./kernel/watcher.ts";
import { cpuSeconds } from "./program.ts";
import { type BenchOptions, median, note, type Result } from "./result.ts";

const OPENS = 300_000;
const EXECS = 200;
/** As deployed, one open in a hundred is of something watched; then none at all; then every one. Of the storms of a round the quickest counts. */
const RARE = { prefix: "", every: 100, rounds: 5, storms: 3, eventsPerS: undefined };
const NONE = { prefix: "filtered_", every: 0, rounds: 5, storms: 3, eventsPerS: undefined };
const ALL = { prefix: "all_", every: 1, rounds: 3, storms: 1, eventsPerS: 1_000_000 };
const STORMS_ALONE = 3;
const IDLE_S = 20;
const MIXED_MINUTES = 1;
const SOAK_MINUTES = 2;
/** More than any host does. */
const UNLIMITED = 1_000_000;

/** A round of one watcher: its quickest storm, what it should have reported of all of them, and what it did. */
type Run = { readonly best: Storm; readonly due: number; readonly seen: Seen; readonly cpuSeconds: number; readonly rssMb: number };

type Stage = {
  readonly scene: Scene;
  /** Path of the compiled agent. */
  readonly agent: string;
  readonly tracer: Watcher | undefined;
  readonly auditor: () => Watcher | undefined;
  readonly minutes: number | undefined;
};

/** By the name of `--scene`. */
const scenes: Record<string, (stage: Stage) => AsyncIterable<Result>> = {
  open: opens,
  exec: (stage) => deeds(stage, "exec"),
  connect: (stage) => deeds(stage, "connect"),
  start: ({ scene, agent }) => startUp(scene, agent),
  idle: ({ scene, agent }) => idle(scene, picket(agent)),
  mixed: ({ scene, agent, minutes }) => mixed(scene, picket(agent), minutes ?? MIXED_MINUTES),
  soak: ({ scene, minutes }) => soak(scene, minutes ?? SOAK_MINUTES),
};

export default async function* kernel({ scene: only, minutes }: BenchOptions): AsyncIterable<Result> {
  if (only !== undefined && !(only in scenes))
    throw new Error(`kernel: there is no scene ${JSON.stringify(only)}: choose from ${Object.keys(scenes).join(", ")}`);
  if (process.getuid?.() !== 0) {
    note("kernel: needs root to watch the kernel: nothing was measured");
    return;
  }
  using scene = createScene();
  const agent = compileAgent(scene.dir);
  const tracer = bpftrace();
  if (!tracer) note("kernel: bpftrace is not installed (apt-get install bpftrace): no comparison with it");
  for (const [name, run] of Object.entries(scenes))
    if (only === undefined || only === name) yield* run({ scene, agent, tracer, auditor: auditd, minutes });
}

async function* deeds({ scene, agent, tracer, auditor }: Stage, what: "exec" | "connect"): AsyncIterable<Result> {
  const mine = [
    { label: "", watcher: picket(agent, UNLIMITED) },
    // Above its limits it must tell how many it let go of.
    { label: "default_", watcher: picket(agent) },
  ];
  yield* deedStorms(scene, what, [...mine, ...(tracer ? [{ label: "bpftrace_", watcher: tracer }] : [])]);
  const audit = auditor();
  if (audit) yield* deedStorms(scene, what, [{ label: "auditd_", watcher: audit }]);
}

async function* opens({ scene, agent, tracer, auditor: auditorOf }: Stage): AsyncIterable<Result> {
  const auditor = auditorOf();
  for (const of of [RARE, NONE, ALL]) {
    const mine = picket(agent, of.eventsPerS);
    yield* compare(scene, of, [mine, ...(tracer ? [tracer] : [])]);
    // With a baseline of its own: once audited, the kernel keeps an audit context for every new process until it is rebooted.
    if (auditor) yield* compare(scene, of, [auditor]);
  }
}

type Scenario = typeof RARE | typeof NONE | typeof ALL;

/** Storms alone and under each watcher, in turn. */
async function* compare(scene: Scene, of: Scenario, watchers: readonly Watcher[]): AsyncIterable<Result> {
  const alone: Storm[] = [];
  const runs = new Map<Watcher, Run[]>(watchers.map((watcher) => [watcher, []]));
  const storm = () => scene.storm({ opens: OPENS, every: of.every, execs: EXECS });
  for (let round = 0; round < of.rounds; round++) {
    const storms: Storm[] = [];
    for (let count = 0; count < STORMS_ALONE; count++) storms.push(await storm());
    alone.push(quickest(storms));
    for (const [watcher, list] of runs) list.push(await watched(scene, watcher, { storms: of.storms, storm }));
  }
  for (const [watcher, list] of runs) yield* figures(of, watcher, alone, list);
}

async function watched(scene: Scene, watcher: Watcher, of: { storms: number; storm: () => Promise<Storm> }): Promise<Run> {
  await using watching = await watcher.start(scene);
  await quiet(watching);
  const storms: Storm[] = [];
  const used: number[] = [];
  for (let count = 0; count < of.storms; count++) {
    const before = cpuOf(watching);
    storms.push(await of.storm());
    await quiet(watching);
    used.push(cpuOf(watching) - before);
  }
  const due = storms.reduce((sum, { watched, execs }) => sum + watched + execs, 0);
  const rssMb = rssMegabytes(watching.pids[0]!);
  return { best: quickest(storms), due, seen: await watching.seen(), cpuSeconds: median(used), rssMb };
}

const quickest = (storms: readonly Storm[]) => storms.toSorted((a, b) => a.seconds - b.seconds)[0]!;
const cpuOf = ({ pids }: Watching) => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);

function* figures(of: Scenario, { name }: Watcher, alone: readonly Storm[], runs: readonly Run[]): Iterable<Result> {
  const prefix = `${of.prefix}${name === "picket" ? "" : `${name}_`}`;
  const value = (pick: (run: Run) => number, digits = 3) => Number(median(runs.map(pick)).toFixed(digits));
  const aloneS = median(alone.map(({ seconds }) => seconds));
  const aloneCpuS = median(alone.map(({ cpuSeconds }) => cpuSeconds));
  const seen = value((run) => (run.seen.opens + run.seen.execs) / run.due);
  yield { metric: `${prefix}seen_ratio`, value: seen, unit: "ratio" };
  yield { metric: `${prefix}told_lost`, value: value(({ seen }) => seen.lost, 0), unit: "events" };
  yield { metric: `${prefix}slowdown_ratio`, value: value(({ best }) => best.seconds / aloneS), unit: "ratio" };
  const storm = (run: Run) => ((run.best.cpuSeconds - aloneCpuS) * 1e6) / OPENS;
  yield { metric: `${prefix}cpu_us_per_event`, value: value((run) => storm(run) + (run.cpuSeconds * 1e6) / OPENS), unit: "us" };
  yield { metric: `${prefix}cpu_us_per_event_in_kernel`, value: value(storm), unit: "us" };
  yield { metric: `${prefix}kernel_events_per_s`, value: value(({ best }) => OPENS / best.seconds, 0), unit: "events/s" };
  yield { metric: `${prefix}rss_mb`, value: value(({ rssMb }) => rssMb, 1), unit: "MB" };
}

/** The agent beside a host that does what it does anyway. */
async function* idle(scene: Scene, watcher: Watcher): AsyncIterable<Result> {
  await using watching = await watcher.start(scene);
  await quiet(watching);
  const before = cpuOf(watching);
  const bytes = statSync(watching.output).size;
  await Bun.sleep(IDLE_S * 1000);
  const lines = (await Bun.file(watching.output).slice(bytes).text()).split("\n").length - 1;
  yield { metric: "idle_cpu_percent", value: Number((((cpuOf(watching) - before) / IDLE_S) * 100).toFixed(2)), unit: "% of a core" };
  yield { metric: "idle_events_per_s", value: Number((lines / IDLE_S).toFixed(1)), unit: "events/s" };
  yield { metric: "idle_rss_mb", value: rssMegabytes(watching.pids[0]!), unit: "MB" };
}
