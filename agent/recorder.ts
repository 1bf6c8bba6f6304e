// From draft to disk: rules, shedding, numbers, buffer; and what was lost on that way.
import { join } from "node:path";
import type { EventDraft } from "@picket/protocol/event";
import { blindness } from "./blind.ts";
import { EventBuffer } from "./buffer/buffer.ts";
import { mirrorPath } from "./buffer/mirror.ts";
import type { AgentConfig } from "./config.ts";
import { thisHost, version } from "./host.ts";
import { type LocalRules, openLocalRules } from "./local-rules.ts";
import type { Log } from "./log.ts";
import { createPipeline } from "./pipeline.ts";
import { maskOf } from "./privacy.ts";
import { type RuleState, withinBudget } from "./rule-budget.ts";
import { createShedder, type Strain } from "./shed.ts";
import { createStamp, newEpoch } from "./stamp.ts";
import { runFolder, runName } from "./status-file.ts";

/** How often counted loss becomes an event. */
const LOSS_EVERY_MS = 1000;

export type Recorder = {
  readonly epoch: string;
  readonly buffer: EventBuffer;
  /** Never throws. Does nothing after `stop`. */
  emit(draft: EventDraft): void;
  /** Events numbered so far. */
  produced(): number;
  /** Those by type; counted only for a status page. */
  byType(): ReadonlyMap<string, number>;
  lost(): { shed: number; buffer: number };
  /** `lost().buffer` by what the events were worth. */
  bufferLost(): { plain: number; hit: number; result: number };
  /** From now on this many events are kept per second, on average. */
  limit(eventsPerS: number): void;
  /** How much is to be let go of, so that the agent keeps to its share of the machine. */
  strain(strain: Strain): void;
  /** The sensor had nothing more to read at this time, milliseconds since boot. */
  saw(atMs: number): void;
  /** The sensor sees from this time on, milliseconds since boot: says for how long nobody saw, since the last run or since boot. Nothing where there was no run before. */
  sees(atMs: number): void;
  /** Why the buffer does not work as it should. */
  trouble(): string | undefined;
  /** Counts the last loss, records `agent.stop`, after which nothing comes, and puts all on disk. The buffer stays open. */
  stop(why: string): void;
};

/** Opens the buffer and records `agent.start`. Throws `BufferBusy`, or an error when the folder cannot be written; nothing stays open then. */
export function startRecorder(
  config: AgentConfig,
  device: string,
  log: Log,
  match: LocalRules["match"] = openLocalRules(config.rules.local).match,
): Recorder {
  const { boot, arch, kernel } = thisHost();
  const epoch = newEpoch();
  const lost = { shed: 0, buffer: 0 };
  const bufferLost = { plain: 0, hit: 0, result: 0 };
  const byType = new Map<string, number>();
  let trouble: string | undefined;
  let strain: Strain = 0;
  let stopped = false;
  const onTrouble = (why: string | undefined) => {
    trouble = why;
    log(why === undefined ? "info" : "error", why === undefined ? "the buffer works again" : `buffer: ${why}`);
    const level = why === undefined ? ("live" as const) : ("degraded" as const);
    const body = { collector: "buffer", level, why: (why ?? "works again").slice(0, 512) };
    // Later: the buffer reports damage while it is being opened, before there is anything to number events with.
    queueMicrotask(() => pipeline.emit({ type: "sensor.state", timeMs: Date.now(), body }));
  };
  const buffer = new EventBuffer({
    path: join(config.state, "buffer.db"),
    mirror: mirrorPath(`${runName(config.state)}.tail`, [runFolder() ?? "/run", "/dev/shm"]),
    ...config.buffer,
    epoch: { epoch, boot, device },
    onTrouble,
    onUnclean: (last) =>
      log("warn", "the last run ended without a stop: it was killed, or power was lost", {
        epoch: last.epoch,
        ...(last.recovered === undefined ? { lostAtMost: last.atMost } : { recovered: last.recovered }),
      }),
  });
  // Later: an event is being taken just now.
  const onRules = (state: RuleState) =>
    queueMicrotask(() => pipeline.emit({ type: "sensor.state", timeMs: Date.now(), body: { collector: "rules", ...state } }));
  const stamp = createStamp(device, epoch);
  const mask = maskOrClose(config, buffer);
  const rates = { eventsPerS: config.eventsPerS, eventsPerProcessPerS: config.eventsPerProcessPerS };
  const pipeline = createPipeline({
    stamp,
    match: config.rules.local ? withinBudget(match, () => performance.now(), onRules) : () => [],
    keeps: createShedder(
      rates,
      () => performance.now(),
      () => strain,
    ),
    mask,
    onShed: (count) => buffer.untold(count),
    sink:
      config.status.port === 0
        ? (event) => buffer.append(event)
        : (event) => {
            buffer.append(event);
            byType.set(event.type, (byType.get(event.type) ?? 0) + 1);
          },
    onFailure: (error, draft) => log("error", "an event could not be taken", { type: draft.type, error: String(error) }),
  });
  const countLoss = () => {
    const shed = pipeline.takeShed();
    lost.shed += shed;
    if (shed > 0) {
      buffer.untold(0);
      pipeline.emit({ type: "sensor.lost", timeMs: Date.now(), body: { collector: "agent", count: shed, where: "shed" } });
    }
    for (const loss of buffer.takeLost()) {
      const { count, by, atMost } = loss;
      if (by) for (const worth of ["plain", "hit", "result"] as const) bufferLost[worth] += by[worth];
      if (by) lost.buffer += count;
      const of = { ...(by && { by }), ...(loss.epoch !== epoch && { epoch: loss.epoch }), ...(atMost && { atMost }) };
      pipeline.emit({ type: "sensor.lost", timeMs: Date.now(), body: { collector: "agent", count, where: "buffer", ...of } });
    }
  };
  pipeline.emit({ type: "agent.start", timeMs: Date.now(), body: { version, bootId: boot, arch, kernel } });
  const timer = setInterval(countLoss, LOSS_EVERY_MS);
  return {
    epoch,
    buffer,
    emit: (draft) => {
      if (!stopped) pipeline.emit(draft);
    },
    produced: () => stamp.next,
    byType: () => byType,
    lost: () => lost,
    bufferLost: () => bufferLost,
    limit: (eventsPerS) => {
      rates.eventsPerS = eventsPerS;
    },
    strain: (now) => {
      strain = now;
    },
    saw: (atMs) => {
      if (!stopped) buffer.saw(atMs);
    },
    sees: (atMs) => {
      // Once what is said below is where a kill does not reach it.
      queueMicrotask(() => queueMicrotask(() => buffer.saw(atMs)));
      const wall = Date.now();
      const state = (level: "degraded" | "live", why: string) =>
        pipeline.emit({ type: "sensor.state", timeMs: wall, body: { collector: "sensor", level, why } });
      const why = buffer.before && blindness(buffer.before, { boot, nowMs: atMs, wallMs: wall });
      if (why === undefined) return;
      log("warn", why);
      state("degraded", why);
      state("live", "sees again");
    },
    trouble: () => trouble,
    stop: (why) => {
      clearInterval(timer);
      buffer.flush();
      countLoss();
      pipeline.emit({ type: "agent.stop", timeMs: Date.now(), body: { why } });
      stopped = true;
      buffer.finish();
    },
  };
}

/** What a full disk refuses here must not leave the buffer locked. */
function maskOrClose(config: AgentConfig, buffer: EventBuffer): ReturnType<typeof maskOf> {
  try {
    return maskOf(config, config.state);
  } catch (error) {
    buffer[Symbol.dispose]();
    throw error;
  }
}
