// What one core decides: batches as the broker sends them, decoded, matched, correlated and scored.
import { readFileSync } from "node:fs";
import { createPipeline } from "../detector/pipeline.ts";
import { together } from "../detector/rule-set.ts";
import { decodeBatch, encodeBatch, MAX_BATCH_EVENTS } from "../protocol/batch.ts";
import { eventId } from "../protocol/event.ts";
import { builtinRules } from "../rules/builtin.ts";
import { compileRules, type Rule } from "../rules/engine.ts";
import { loadRules } from "../rules/load.ts";
import { catchUp } from "./catch-up.ts";
import { mixedEvents } from "./mixed.ts";
import { type BenchOptions, median, note, type Result } from "./result.ts";
import { withCopies } from "./rule-copies.ts";
import { workloadBoot } from "./workload.ts";

const DEVICES = 10;
const BATCHES = 60;
const ROUNDS = 3;
/** The detector commits, and so takes its decisions away, about this often. */
const TAKE_EVERY = 16;
/** How many times the rules there are: what the next hundreds of rules will cost. */
const COPIES = [4, 16];
const SAMPLE = 20_000;

export default async function* detector({ rules: folder }: BenchOptions): AsyncIterable<Result> {
  const batches = workload();
  const shipped = builtinRules();
  yield* measure("", shipped, batches);
  yield* measureCopies("", shipped, batches);
  yield* catchUp(batches);
  if (folder === undefined) {
    note("detector: only the shipped rules were measured: name a folder of Sigma rules with --rules DIR or PICKET_BENCH_RULES");
    return;
  }
  const loaded = await loadRules([folder]);
  note(`detector: ${folder}: ${loaded.rules.length} of ${loaded.documents} rules can fire on our events; ${loaded.errors.length} errors`);
  const all = together(shipped, loaded.rules);
  yield* measure("with_rules_", all, batches);
  yield* measureCopies("with_rules_", all, batches);
}

async function* measureCopies(prefix: string, rules: readonly Rule[], batches: readonly Uint8Array[]): AsyncIterable<Result> {
  const sample = mixedEvents(SAMPLE, { device: "gw-0", epoch: "sample", seed: 0 });
  for (const times of COPIES) {
    const many = withCopies(rules, times, sample);
    for await (const result of measure(`${prefix}${times}x_`, many, batches)) if (!result.metric.endsWith("alerts")) yield result;
  }
}

/** Batches of all devices in turn, as they come from the log. */
function workload(): Uint8Array[] {
  const ofDevice = Array.from({ length: DEVICES }, (_, at) => {
    const events = mixedEvents(BATCHES * MAX_BATCH_EVENTS, { device: `gw-${at}`, epoch: "detector", seed: at });
    return Array.from({ length: BATCHES }, (_, batch) =>
      encodeBatch({ boot: workloadBoot, oldest: 0, events: events.slice(batch * MAX_BATCH_EVENTS, (batch + 1) * MAX_BATCH_EVENTS) }),
    );
  });
  return Array.from({ length: BATCHES }, (_, batch) => ofDevice.map((batches) => batches[batch]!)).flat();
}

async function* measure(prefix: string, rules: readonly Rule[], batches: readonly Uint8Array[]): AsyncIterable<Result> {
  const matcher = compileRules(rules);
  const rates: number[] = [];
  const cpu: number[] = [];
  const ofThread: number[] = [];
  let alerts = 0;
  const events = batches.length * MAX_BATCH_EVENTS;
  // The first round warms the code up and is not counted.
  for (let round = 0; round <= ROUNDS; round++) {
    Bun.gc(true);
    const before = process.cpuUsage();
    const threadBegan = threadCpuMs();
    const began = performance.now();
    alerts = run(batches, rules, matcher);
    const seconds = (performance.now() - began) / 1000;
    const threadSeconds = (threadCpuMs() - threadBegan) / 1000;
    const used = process.cpuUsage(before);
    if (round === 0) continue;
    rates.push(events / seconds);
    ofThread.push(events / threadSeconds);
    cpu.push((used.user + used.system) / events);
  }
  yield { metric: `${prefix}rules`, value: rules.length, unit: "rules" };
  yield { metric: `${prefix}events_per_s`, value: Math.round(median(rates)), unit: "events/s" };
  yield { metric: `${prefix}events_per_cpu_s`, value: Math.round(median(ofThread)), unit: "events/s" };
  // Of all threads: compiling and collecting garbage happen beside the one that judges.
  yield { metric: `${prefix}cpu_us_per_event`, value: Number(median(cpu).toFixed(2)), unit: "us" };
  yield { metric: `${prefix}alerts`, value: alerts, unit: "alerts" };
}

/** Time this thread has run, whatever else ran on its core (proc(5): first field of schedstat, nanoseconds). */
const threadCpuMs = (): number => Number(readFileSync("/proc/thread-self/schedstat", "utf8").split(" ", 1)[0]) / 1e6;

/** One pass of a new pipeline over all batches. Returns how many alerts it made. */
function run(batches: readonly Uint8Array[], rules: readonly Rule[], matcher: ReturnType<typeof compileRules>): number {
  const pipeline = createPipeline({ site: "bench", rules, matcher });
  const ids = new Set<string>();
  const take = () => {
    for (const { detection } of pipeline.take().alerts) ids.add(detection.id);
  };
  for (const [at, batch] of batches.entries()) {
    const { header, events, refused } = decodeBatch(batch);
    if (refused > 0) throw new Error(`detector: ${refused} events of our own batch were refused`);
    const receivedMs = events[0]!.timeMs;
    for (const event of events) pipeline.handle(event, { id: eventId(event), boot: header.boot, receivedMs, silent: false });
    if (at % TAKE_EVERY === 0) take();
  }
  take();
  return ids.size;
}
