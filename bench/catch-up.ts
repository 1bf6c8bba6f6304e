// A backlog of hours through the real feed: broker and detector as processes, mTLS over loopback.
import { join } from "node:path";
import type { Store } from "../broker/store/database.ts";
import { listLanes } from "../broker/store/lanes.ts";
import { appendBatch } from "../broker/store/log.ts";
import { openStore } from "../broker/store/schema.ts";
import { decodeBatch } from "../protocol/batch.ts";
import { cpuSeconds, rssBytes } from "./program.ts";
import type { Result } from "./result.ts";
import { createSite } from "./site.ts";

const HOUR_MS = 3_600_000;
const LOOK_MS = 50;
/** Share of the backlog that is not measured. */
const WARM_UP = 1 / 3;
/** A machine that has other work takes its time; one on which nothing moves must not hang a bench. */
const PATIENCE_MS = 300_000;

/** How fast, and in how much memory, the detector decides what lay in the log when it came. The figures are of one run: of CPU time. */
export async function* catchUp(batches: readonly Uint8Array[]): AsyncIterable<Result> {
  using site = await createSite();
  const events = store(join(site.dir, "site.db"), batches);
  await using broker = await site.startBroker();
  await using detector = await site.startDetector(broker, []);
  using log = openStore(join(site.dir, "site.db"));
  const restBytes = rssBytes(detector.pid);
  let mostBytes = restBytes;
  const until = async (cursor: number) => {
    const beganMs = performance.now();
    while (lowest(log) < cursor) {
      if (performance.now() - beganMs > PATIENCE_MS) throw new Error(`detector: not caught up after ${PATIENCE_MS / 1000} s`);
      mostBytes = Math.max(mostBytes, rssBytes(detector.pid));
      await Bun.sleep(LOOK_MS);
    }
  };
  // Of the first part much is start-up: YARA rules are read, and code is compiled.
  await until(batches.length * WARM_UP);
  const left = events * (1 - lowest(log) / batches.length);
  const [before, brokerBefore] = [cpuSeconds(detector.pid), cpuSeconds(broker.pid)];
  const began = performance.now();
  await until(Number.POSITIVE_INFINITY);
  const seconds = (performance.now() - began) / 1000;
  const cpu = cpuSeconds(detector.pid) - before;
  yield { metric: "catch_up_events_per_s", value: Math.round(left / seconds), unit: "events/s" };
  yield { metric: "catch_up_events_per_cpu_s", value: Math.round(left / cpu), unit: "events/s" };
  yield {
    metric: "catch_up_broker_cpu_us_per_event",
    value: Number((((cpuSeconds(broker.pid) - brokerBefore) / left) * 1e6).toFixed(2)),
    unit: "us",
  };
  yield { metric: "catch_up_rss_at_start", value: Math.round(restBytes / (1 << 20)), unit: "MiB" };
  yield { metric: "catch_up_rss_most", value: Math.round(mostBytes / (1 << 20)), unit: "MiB" };
}

/** Offset up to which the backlog is decided; infinite when all of it is. */
const lowest = (log: Store): number => listLanes(log)[0]?.cursor ?? Number.POSITIVE_INFINITY;

/** As received from five hours ago to one hour ago. Returns how many events. */
function store(path: string, batches: readonly Uint8Array[]): number {
  using log = openStore(path);
  const beganMs = Date.now() - 5 * HOUR_MS;
  let events = 0;
  log.commitNow(() => {
    for (const [at, batch] of batches.entries()) {
      const { header } = decodeBatch(batch);
      const { device, epoch, runs } = header;
      const [firstSeq, count] = runs[0]!;
      const receivedMs = beganMs + Math.round((at / batches.length) * 4 * HOUR_MS);
      appendBatch(log, { device, epoch, firstSeq, nextSeq: firstSeq + count, receivedMs, count, batch });
      events += count;
    }
  });
  return events;
}
