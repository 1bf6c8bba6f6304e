// The site at a glance.
import type { SinkStatus, SiteStatus } from "@picket/protocol/rest";
import { alertCounts } from "./store/alerts.ts";
import type { Store } from "./store/database.ts";
import { countDeadLetters } from "./store/dead-letters.ts";
import { detectorState } from "./store/detector.ts";
import { deviceCounts } from "./store/devices.ts";
import { incidentCounts } from "./store/incidents.ts";
import { detectorLag } from "./store/lanes.ts";
import { logTotals } from "./store/log.ts";
import { sampleTotals } from "./store/samples.ts";

/** Everything is read from the store, but what only the running broker knows. */
export function siteStatus(
  store: Store,
  of: Pick<SiteStatus, "site" | "version" | "startedMs" | "anchor" | "keysVersion"> & {
    detectorConnected: boolean;
    sinks: SinkStatus[];
    nowMs: number;
  },
): SiteStatus {
  const { detectorConnected, nowMs, ...rest } = of;
  const { cursor, refused } = detectorState(store);
  const { live, aside } = detectorLag(store, nowMs);
  return {
    ...rest,
    nowMs,
    devices: deviceCounts(store),
    alerts: alertCounts(store),
    incidents: incidentCounts(store),
    log: logTotals(store),
    detector: {
      ...{ connected: detectorConnected, cursor, refused },
      ...{ lagBatches: live.batches, lagEvents: live.events, lagSeconds: live.seconds, aside },
    },
    deadLetters: countDeadLetters(store),
    samples: sampleTotals(store),
  };
}
