// An agent without a site: events as NDJSON to standard output or a file, for a first look, tests and log shippers.
import type { SensorEvent } from "@picket/protocol/event";
import type { AgentConfig } from "./config.ts";
import { startMetrics } from "./host/metrics.ts";
import { hostLabel, thisHost, version } from "./host.ts";
import { startHostSources } from "./host-sources.ts";
import { openLocalRules } from "./local-rules.ts";
import type { Log } from "./log.ts";
import { keepSmall } from "./memory.ts";
import { jsonLine } from "./output/line.ts";
import type { Output } from "./output/output.ts";
import { createPipeline } from "./pipeline.ts";
import { maskOf } from "./privacy.ts";
import { type RuleState, withinBudget } from "./rule-budget.ts";
import { type Sensor, startSensor } from "./sensor.ts";
import { createShedder, type Strain } from "./shed.ts";
import { createStamp, newEpoch } from "./stamp.ts";

/** Beyond this much unread output events are shed, and counted: a reader that stopped must not fill our memory. */
const MAX_UNREAD_BYTES = 16 << 20;
const LOSS_EVERY_MS = 1000;

/** Prints every event until `stop`. */
export function printEvents(config: AgentConfig, output: Output, log: Log): { stop(why: string): void } {
  const host = thisHost();
  const stamp = createStamp(hostLabel(), newEpoch());
  let strain: Strain = 0;
  const rates = { eventsPerS: config.eventsPerS, eventsPerProcessPerS: config.eventsPerProcessPerS };
  const withinRate = createShedder(
    rates,
    () => performance.now(),
    () => strain,
  );
  // Later: an event is being taken just now.
  const onRules = (state: RuleState) =>
    queueMicrotask(() => emit({ type: "sensor.state", timeMs: Date.now(), body: { collector: "rules", ...state } }));
  const pipeline = createPipeline({
    stamp,
    match: config.rules.local ? withinBudget(openLocalRules(true).match, () => performance.now(), onRules) : () => [],
    keeps: (event: SensorEvent) => (event.type === "sensor.lost" || output.unreadBytes() < MAX_UNREAD_BYTES) && withinRate(event),
    mask: maskOf(config),
    sink: (event) => output.write(jsonLine(event)),
    onFailure: (error, draft) => log("error", "an event could not be taken", { type: draft.type, error: String(error) }),
  });
  const { emit } = pipeline;
  emit({ type: "agent.start", timeMs: Date.now(), body: { version, bootId: host.boot, arch: host.arch, kernel: host.kernel } });
  let sensor: Sensor | undefined;
  try {
    const { read, write } = config.watch;
    sensor = startSensor({ ignorePid: process.pid, watchRead: read, watchWrite: write, ringBytes: config.sensor.ringBytes }, emit);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    log("error", "the sensor could not be started", { error: why });
    emit({ type: "sensor.state", timeMs: Date.now(), body: { collector: "sensor", level: "off", why: why.slice(0, 512) } });
  }
  const countLoss = () => {
    const count = pipeline.takeShed();
    if (count > 0) emit({ type: "sensor.lost", timeMs: Date.now(), body: { collector: "agent", count, where: "shed" } });
  };
  const own = keepSmall({
    limits: { cpuPercent: config.own.cpuPercent, rssBytes: config.own.rssBytes },
    onStrain: (now) => {
      strain = now;
    },
    onState: (state) => emit({ type: "sensor.state", timeMs: Date.now(), body: { collector: "agent", ...state } }),
  });
  const metrics = startMetrics(config.metricsS * 1000, emit);
  const sources = startHostSources({ config, state: undefined, emit });
  const losses = setInterval(countLoss, LOSS_EVERY_MS);
  return {
    stop: (why) => {
      own[Symbol.dispose]();
      metrics[Symbol.dispose]();
      sources[Symbol.dispose]();
      clearInterval(losses);
      sensor?.[Symbol.dispose]();
      countLoss();
      emit({ type: "agent.stop", timeMs: Date.now(), body: { why } });
    },
  };
}
