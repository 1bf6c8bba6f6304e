// The detector's page on loopback: whether it follows the log, and how far behind it is.
import { type Health, health } from "@picket/protocol/health";
import { exposition, type Metrics, processMetrics, processValues } from "@picket/protocol/metrics";
import { type StatusPage, serveStatusPage } from "@picket/protocol/status-page";
import type { FeedStatus } from "./feed/feed.ts";
import type { Log } from "./log.ts";
import pkg from "./package.json" with { type: "json" };

/** What it judges now was received so long ago: alerts come late. */
const LATE_MS = 60_000;
/** Something waits, and for so long nothing was decided or stored. */
const STALLED_MS = 60_000;

export const detectorMetrics = {
  picket_detector_info: { type: "gauge", help: "Always 1; the label says which detector this is.", labels: ["version"] },
  picket_feed_connected: { type: "gauge", help: "1 while the broker's log is followed.", labels: [] },
  picket_feed_cursor: { type: "gauge", help: "Offset of the log up to which all is decided and stored.", labels: [] },
  picket_feed_waiting_batches: { type: "gauge", help: "Batches that came and are not decided.", labels: [] },
  picket_feed_lag_seconds: { type: "gauge", help: "Since the broker received what is judged now.", labels: [] },
  picket_feed_stalled_seconds: { type: "gauge", help: "For how long nothing was decided or stored though something waits.", labels: [] },
  picket_detector_events_total: { type: "counter", help: "Events decided since the detector started.", labels: [] },
  picket_detector_refused_events_total: { type: "counter", help: "Of them, those that could not be read or judged.", labels: [] },
  picket_detector_alerts_total: { type: "counter", help: "Alerts made or grown since the detector started.", labels: [] },
  picket_detector_rules: { type: "gauge", help: "Sigma rules in use.", labels: [] },
  ...processMetrics,
} as const satisfies Metrics;

type Facts = { readonly nowMs: number; readonly feed: FeedStatus; readonly rules: number };

/** The broker's clock gave the time of receipt: on another host it may differ, and a lag below 0 is none. */
const lagMs = ({ nowMs, feed }: Facts) => Math.max(0, nowMs - (feed.progress.oldestMs ?? nowMs));

export function detectorHealth(facts: Facts): Health {
  const { connected, why, progress } = facts.feed;
  const late = lagMs(facts);
  return health("detector", pkg.version, {
    ready: [connected ? undefined : `the broker's log is not followed: ${why ?? "connecting"}`],
    useful: [
      connected ? undefined : "nothing raises alerts while the log is not followed",
      late > LATE_MS ? `what is judged now came ${Math.round(late / 1000)} s ago` : undefined,
      progress.stalledMs > STALLED_MS
        ? `${progress.batches} batches wait, and nothing was decided for ${Math.round(progress.stalledMs / 1000)} s`
        : undefined,
    ],
  });
}

export function detectorExposition(facts: Facts): string {
  const { connected, committed, progress, totals } = facts.feed;
  return exposition(detectorMetrics, {
    picket_detector_info: [{ labels: { version: pkg.version }, value: 1 }],
    picket_feed_connected: Number(connected),
    picket_feed_cursor: committed,
    picket_feed_waiting_batches: progress.batches,
    picket_feed_lag_seconds: lagMs(facts) / 1000,
    picket_feed_stalled_seconds: progress.stalledMs / 1000,
    picket_detector_events_total: totals.events,
    picket_detector_refused_events_total: totals.refused,
    picket_detector_alerts_total: totals.alerts,
    picket_detector_rules: facts.rules,
    ...processValues(facts.nowMs),
  });
}

/** Undefined with port 0, or where the port cannot be had, which is logged: detection goes on. */
export async function openStatusPage(
  port: number,
  of: { readonly feed: () => FeedStatus; readonly rules: () => number; readonly log: Log },
): Promise<StatusPage | undefined> {
  if (port === 0) return undefined;
  const facts = (): Facts => ({ nowMs: Date.now(), feed: of.feed(), rules: of.rules() });
  try {
    const page = await serveStatusPage({ health: () => detectorHealth(facts()), metrics: () => detectorExposition(facts()) }, port);
    of.log("info", "the status page answers", { at: `127.0.0.1:${page.port}` });
    return page;
  } catch (error) {
    of.log("error", `no status page on 127.0.0.1:${port}: choose another detector.status.port`, { error: String(error) });
    return undefined;
  }
}
