// What the broker tells Prometheus. docs/metrics.md explains each.
import type { Server } from "node:https";
import type { MeshPeer } from "@picket/protocol/mesh";
import { exposition, METRICS_TYPE, type Metrics, processMetrics, processValues, type Sample, type Values } from "@picket/protocol/metrics";
import type { Device, SinkStatus } from "@picket/protocol/rest";
import type { FastifyInstance } from "fastify";
import type { VitalSigns } from "../vitals.ts";
import type { ApiDeps, SiteFacts } from "./deps.ts";

export const METRICS_PATH = "/metrics";
/** Devices with series of their own. Of more, those with the least coverage are told. */
export const MAX_DEVICES = 1000;

export type MetricsFacts = SiteFacts & { readonly vitals: VitalSigns };

export const brokerMetrics = {
  picket_broker_info: { type: "gauge", help: "Always 1; the labels say which broker this is.", labels: ["site", "version"] },
  picket_ingest_events_total: { type: "counter", help: "Events stored since the broker started.", labels: [] },
  picket_ingest_batches_total: { type: "counter", help: "Batches stored since the broker started.", labels: [] },
  picket_ingest_bytes_total: { type: "counter", help: "Bytes of these batches as they came, compressed.", labels: [] },
  picket_ingest_stored_age_seconds: { type: "gauge", help: "Since events were last stored.", labels: [] },
  picket_ingest_commit_seconds: { type: "histogram", help: "One commit of the store with its fsync.", labels: [] },
  picket_ingest_outage: { type: "gauge", help: "1 while events wait on their devices because of the site's disk.", labels: [] },
  picket_puback_withheld_total: {
    type: "counter",
    help: "Acknowledgements that had to wait: for the disk, for the detector (pace), or for the device's quota.",
    labels: ["why"],
  },
  picket_quota_devices_throttled: { type: "gauge", help: "Devices held back by their quota now.", labels: [] },
  picket_quota_refused_connections_total: { type: "counter", help: "Connections refused to devices that connect too often.", labels: [] },
  picket_dead_letters_total: { type: "counter", help: "Messages that could not be read, since the site was made.", labels: [] },
  picket_log_batches: { type: "gauge", help: "Batches in the log.", labels: [] },
  picket_log_events: { type: "gauge", help: "Events in the log.", labels: [] },
  picket_log_bytes: { type: "gauge", help: "Bytes of batches in the log.", labels: [] },
  picket_log_let_go_events_total: { type: "counter", help: "Events that retention let go, since the site was made.", labels: [] },
  picket_log_let_go_unread_events_total: { type: "counter", help: "Of them, those the detector had not read.", labels: [] },
  picket_detector_connected: { type: "gauge", help: "1 while a detector follows the log.", labels: [] },
  picket_detector_lag_batches: { type: "gauge", help: "Batches the detector has not decided.", labels: ["lane"] },
  picket_detector_lag_events: { type: "gauge", help: "Events the detector has not decided.", labels: ["lane"] },
  picket_detector_lag_seconds: { type: "gauge", help: "Since the oldest of them was received.", labels: ["lane"] },
  picket_detector_unreadable_events_total: {
    type: "counter",
    help: "Events the detector could not read, since the site was made.",
    labels: [],
  },
  picket_alerts_open: { type: "gauge", help: "Alerts nobody has closed or acknowledged.", labels: ["severity"] },
  picket_alerts_kept: { type: "gauge", help: "Alerts in the store, closed ones too.", labels: [] },
  picket_devices: { type: "gauge", help: "Enrolled devices.", labels: ["presence"] },
  picket_devices_isolated: { type: "gauge", help: "Devices that are isolated.", labels: [] },
  picket_devices_without_series: { type: "gauge", help: "Devices beyond the bound, which have no series of their own below.", labels: [] },
  picket_device_up: { type: "gauge", help: "1 while the device is online.", labels: ["device"] },
  picket_device_coverage_ratio: {
    type: "gauge",
    help: "Stored events of those caused and not waiting, since enrolment.",
    labels: ["device"],
  },
  picket_device_events_stored_total: { type: "counter", help: "Events stored, since enrolment.", labels: ["device"] },
  picket_device_events_lost_total: { type: "counter", help: "Events lost on the way, since enrolment.", labels: ["device"] },
  picket_device_buffer_events: { type: "gauge", help: "Events that waited on the device at its last heartbeat.", labels: ["device"] },
  picket_device_last_seen_timestamp_seconds: { type: "gauge", help: "Last sign of life, Unix time.", labels: ["device"] },
  picket_device_certificate_expiry_timestamp_seconds: { type: "gauge", help: "When its certificate ends, Unix time.", labels: ["device"] },
  picket_sink_queued_alerts: { type: "gauge", help: "Alerts that wait to be delivered.", labels: ["sink"] },
  picket_sink_delivered_total: { type: "counter", help: "Alerts delivered.", labels: ["sink"] },
  picket_sink_failed_total: { type: "counter", help: "Alerts given up or refused by the receiver.", labels: ["sink"] },
  picket_sink_dropped_total: { type: "counter", help: "Alerts let go because the queue was full.", labels: ["sink"] },
  picket_sink_failing: { type: "gauge", help: "1 while the last delivery failed.", labels: ["sink"] },
  picket_samples_waiting_files: { type: "gauge", help: "Files that wait to be scanned.", labels: [] },
  picket_samples_bytes: { type: "gauge", help: "Bytes of files kept for scanning.", labels: [] },
  picket_mesh_peer_connected: { type: "gauge", help: "1 while the peer site is connected.", labels: ["peer"] },
  picket_mesh_peer_lag_items: { type: "gauge", help: "Items that wait for the peer site.", labels: ["peer"] },
  picket_mesh_peer_lost_items_total: { type: "counter", help: "Items that went before the peer site had them.", labels: ["peer"] },
  picket_disk_free_bytes: { type: "gauge", help: "Free on the file system of the site.", labels: [] },
  picket_disk_size_bytes: { type: "gauge", help: "Size of the file system of the site.", labels: [] },
  picket_broker_certificate_expiry_timestamp_seconds: { type: "gauge", help: "When the broker's certificate ends, Unix time.", labels: [] },
  ...processMetrics,
} as const satisfies Metrics;

export const brokerExposition = (facts: MetricsFacts): string =>
  exposition(brokerMetrics, {
    ...ingestValues(facts),
    ...siteValues(facts),
    ...deviceValues(facts.devices),
    ...sinkValues(facts.site.sinks),
    ...peerValues(facts.peers),
    ...processValues(facts.nowMs),
  });

type All = Values<typeof brokerMetrics>;
type Named<P extends string> = Pick<All, Extract<keyof All, `picket_${P}_${string}`>>;

function ingestValues({ vitals, intake, nowMs }: MetricsFacts): Named<"ingest" | "puback" | "quota"> {
  const { events, batches, bytes, storedMs, withheld, commit } = vitals;
  return {
    picket_ingest_events_total: events,
    picket_ingest_batches_total: batches,
    picket_ingest_bytes_total: bytes,
    picket_ingest_stored_age_seconds: storedMs === undefined ? undefined : (nowMs - storedMs) / 1000,
    picket_ingest_commit_seconds: commit,
    picket_ingest_outage: Number(intake.outage !== undefined),
    picket_puback_withheld_total: [
      { labels: { why: "disk" }, value: withheld.disk },
      { labels: { why: "pace" }, value: withheld.pace },
      { labels: { why: "quota" }, value: intake.quota.delayed },
    ],
    picket_quota_devices_throttled: intake.throttled.filter(({ forMs }) => forMs > 0).length,
    picket_quota_refused_connections_total: intake.quota.refusedConnections,
  };
}

type OfSite = Named<"broker" | "dead" | "log" | "detector" | "alerts" | "samples" | "disk">;

function siteValues({ site, host, intake }: MetricsFacts): OfSite {
  const { detector, log, samples } = site;
  const lag = (live: number | undefined, aside: number | undefined) => [
    { labels: { lane: "live" }, value: live ?? 0 },
    { labels: { lane: "aside" }, value: aside ?? 0 },
  ];
  return {
    picket_broker_info: [{ labels: { site: site.site, version: site.version }, value: 1 }],
    picket_dead_letters_total: site.deadLetters,
    picket_log_batches: log.batches,
    picket_log_events: log.events,
    picket_log_bytes: log.bytes,
    picket_log_let_go_events_total: intake.letGo.events,
    picket_log_let_go_unread_events_total: intake.letGo.unread,
    picket_detector_connected: Number(detector.connected),
    picket_detector_lag_batches: lag(detector.lagBatches, detector.aside?.batches),
    picket_detector_lag_events: lag(detector.lagEvents, detector.aside?.events),
    picket_detector_lag_seconds: lag(detector.lagSeconds, detector.aside?.seconds),
    picket_detector_unreadable_events_total: detector.refused,
    picket_alerts_open: (["low", "medium", "high", "critical"] as const).map((severity) => ({
      labels: { severity },
      value: site.alerts[severity],
    })),
    picket_alerts_kept: intake.alerts,
    picket_samples_waiting_files: samples?.waiting,
    picket_samples_bytes: samples?.bytes,
    picket_disk_free_bytes: host.disk.freeBytes,
    picket_disk_size_bytes: host.disk.totalBytes,
    picket_broker_certificate_expiry_timestamp_seconds: host.certificateExpiresMs / 1000,
  };
}

function deviceValues(all: readonly Device[]): Named<"device" | "devices"> & Pick<All, "picket_devices"> {
  const enrolled = all.filter(({ trust }) => trust === "enrolled");
  const told =
    enrolled.length <= MAX_DEVICES ? enrolled : enrolled.toSorted((a, b) => a.coverage.ratio - b.coverage.ratio).slice(0, MAX_DEVICES);
  const each = (value: (device: Device) => number | undefined): Sample[] =>
    told.flatMap((device) => {
      const known = value(device);
      return known === undefined ? [] : [{ labels: { device: device.id }, value: known }];
    });
  return {
    picket_devices: (["online", "offline", "stopped", "never"] as const).map((presence) => ({
      labels: { presence },
      value: enrolled.filter((device) => device.presence === presence).length,
    })),
    picket_devices_isolated: enrolled.filter(({ status }) => status?.isolation.state === "isolated").length,
    picket_devices_without_series: enrolled.length - told.length,
    picket_device_up: each(({ presence }) => Number(presence === "online")),
    picket_device_coverage_ratio: each(({ coverage }) => coverage.ratio),
    picket_device_events_stored_total: each(({ coverage }) => coverage.stored),
    picket_device_events_lost_total: each(({ coverage }) => coverage.lost),
    picket_device_buffer_events: each(({ status }) => status?.buffer.events),
    picket_device_last_seen_timestamp_seconds: each(({ lastSeenMs }) => lastSeenMs && lastSeenMs / 1000),
    picket_device_certificate_expiry_timestamp_seconds: each(({ certificateExpiresMs }) => certificateExpiresMs / 1000),
  };
}

function sinkValues(sinks: readonly SinkStatus[]): Named<"sink"> {
  const each = (value: (sink: SinkStatus) => number): Sample[] =>
    sinks.map((sink) => ({ labels: { sink: sink.name }, value: value(sink) }));
  return {
    picket_sink_queued_alerts: each(({ queued }) => queued),
    picket_sink_delivered_total: each(({ delivered }) => delivered),
    picket_sink_failed_total: each(({ failed }) => failed),
    picket_sink_dropped_total: each(({ dropped }) => dropped ?? 0),
    picket_sink_failing: each(({ lastError }) => Number(lastError !== undefined)),
  };
}

function peerValues(peers: readonly MeshPeer[]): Named<"mesh"> {
  const each = (value: (peer: MeshPeer) => number): Sample[] => peers.map((peer) => ({ labels: { peer: peer.site }, value: value(peer) }));
  return {
    picket_mesh_peer_connected: each(({ state }) => Number(state === "connected")),
    picket_mesh_peer_lag_items: each(({ lag }) => lag),
    picket_mesh_peer_lost_items_total: each(({ lost }) => lost),
  };
}

/** Registers `/metrics`. Names of devices and how they do are the site's own business: an operator's credential, or the one for scraping. */
export function serveMetrics(app: FastifyInstance<Server>, deps: ApiDeps): void {
  app.get(METRICS_PATH, { config: { auth: "scrape" } }, async (_request, reply) => {
    await deps.devices.upToDate();
    const text = brokerExposition({
      ...{ nowMs: deps.nowMs(), site: deps.siteStatus(), devices: deps.devices.list(), host: await deps.hostFacts() },
      ...{ intake: deps.intake(), peers: deps.mesh.status().peers, vitals: deps.vitals() },
    });
    return reply.header("content-type", METRICS_TYPE).send(text);
  });
}
