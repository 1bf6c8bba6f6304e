import type { MeshPeer } from "@picket/protocol/mesh";
import type { Device } from "@picket/protocol/rest";
import type { OnlineStatus } from "@picket/protocol/status";
import { readExposition } from "@picket/protocol/testing/exposition";
import { expect, test } from "vitest";
import { addDevice, setPresence } from "../store/devices.ts";
import { Vitals } from "../vitals.ts";
import { brokerExposition, brokerMetrics, MAX_DEVICES, type MetricsFacts } from "./metrics.ts";
import { startSite } from "./testing/site.ts";

const device = (id: string, change: Partial<Device> = {}): Device => ({
  ...{ id, trust: "enrolled", presence: "online", enrolledMs: 0, lastSeenMs: 5000, certificateExpiresMs: 9000, isolationWanted: false },
  ...{ coverage: { stored: 99, lost: 1, ratio: 0.99 }, openAlerts: 0 },
  ...change,
});
const peer: MeshPeer = {
  ...{
    site: "south",
    state: "connected",
    ca: "x",
    joinedMs: 0,
    by: "anna",
    lag: 3,
    sent: 1,
    received: 1,
    lost: 0,
    refused: {},
    muted: false,
  },
};

function facts(change: Partial<MetricsFacts> = {}): MetricsFacts {
  const vitals = new Vitals();
  vitals.stored({
    runs: [
      [0, 5],
      [9, 2],
    ],
    payload: new Uint8Array(100),
    receivedMs: 9000,
  });
  vitals.withhold("disk", Promise.resolve());
  vitals.withhold("disk", undefined);
  vitals.committed(0.004);
  return {
    nowMs: 10_000,
    site: {
      ...{ site: "dock", version: "1.2.3", startedMs: 0, devices: { enrolled: 1, online: 1, isolated: 0 } },
      alerts: { open: 3, low: 1, medium: 0, high: 2, critical: 0 },
      ...{ log: { batches: 1, events: 7, bytes: 100, nextOffset: 2 }, deadLetters: 4, keysVersion: 1, anchor: "x" },
      detector: { connected: true, lagBatches: 1, lagEvents: 7, lagSeconds: 2, cursor: 1, refused: 0 },
      samples: { files: 0, bytes: 0, waiting: 0, wanted: 0, mismatched: 0, forgotten: 0 },
      sinks: [{ name: "soc", kind: "webhook", url: "https://soc.example/", queued: 2, delivered: 5, failed: 0, lastError: "HTTP 500" }],
    },
    devices: [
      device("gw-1", { status: { buffer: { events: 4, bytes: 9 }, isolation: { state: "off" } } as OnlineStatus }),
      device("gw-2", { presence: "offline" }),
      device("gw-3", { trust: "revoked" }),
    ],
    host: { certificateExpiresMs: 1000, disk: { freeBytes: 1, totalBytes: 2 } },
    intake: {
      ...{ outage: undefined, throttled: [], quota: { delayed: 6, refusedConnections: 0 }, deadLetters: [] },
      ...{ letGo: { events: 0, unread: 0 }, alerts: 3 },
    },
    peers: [peer],
    vitals: vitals.signs(),
    ...change,
  };
}

const sampleOf = (read: ReturnType<typeof readExposition>, name: keyof typeof brokerMetrics, labels = {}) =>
  read.get(name)?.samples.find((sample) => expect.objectContaining(labels).asymmetricMatch(sample.labels))?.value;

test("every metric of the table is printed, with its labels and no others", () => {
  const read = readExposition(brokerExposition(facts()));
  // A histogram's own label is not the table's.
  for (const [name, { labels, type }] of Object.entries(brokerMetrics)) {
    expect(read.get(name)?.samples.length, name).toBeGreaterThan(0);
    if (type !== "histogram") for (const sample of read.get(name)!.samples) expect(Object.keys(sample.labels), name).toEqual(labels);
  }
  expect([...read.keys()].toSorted()).toEqual(Object.keys(brokerMetrics).toSorted());
  expect(sampleOf(read, "picket_ingest_events_total")).toBe(7);
  expect(sampleOf(read, "picket_ingest_stored_age_seconds")).toBe(1);
  expect(sampleOf(read, "picket_puback_withheld_total", { why: "disk" })).toBe(1);
  expect(sampleOf(read, "picket_puback_withheld_total", { why: "quota" })).toBe(6);
  expect(sampleOf(read, "picket_ingest_commit_seconds", { le: "0.005" })).toBe(1);
  expect(sampleOf(read, "picket_devices", { presence: "offline" })).toBe(1);
  expect(sampleOf(read, "picket_device_coverage_ratio", { device: "gw-1" })).toBe(0.99);
  expect(sampleOf(read, "picket_device_up", { device: "gw-3" })).toBeUndefined();
});

test("series of devices are bounded: those with the least coverage are told, and how many are not", () => {
  const many = Array.from({ length: MAX_DEVICES + 500 }, (_, at) =>
    device(`gw-${at}`, { coverage: { stored: 1, lost: 0, ratio: at === 1400 ? 0.2 : 1 } }),
  );
  const read = readExposition(brokerExposition(facts({ devices: many })));
  expect(read.get("picket_device_coverage_ratio")!.samples).toHaveLength(MAX_DEVICES);
  expect(sampleOf(read, "picket_device_coverage_ratio", { device: "gw-1400" })).toBe(0.2);
  expect(sampleOf(read, "picket_devices_without_series")).toBe(500);
  expect(sampleOf(read, "picket_devices", { presence: "online" })).toBe(MAX_DEVICES + 500);
});

test("an operator or the scraper may read it; nobody else, and the scraper nothing else", async () => {
  await using site = await startSite({ deps: { mayScrape: (token) => token === "scraper" } });
  addDevice(site.store, "gw-015", 0);
  setPresence(site.store, "gw-015", "online");
  const get = (path: string, token?: string) =>
    fetch(site.url + path, { headers: token === undefined ? {} : { authorization: `Bearer ${token}` }, tls: { ca: site.ca } });
  expect((await get("/metrics")).status).toBe(401);
  expect((await get("/metrics", "guess")).status).toBe(401);
  expect((await get("/v1/devices", "scraper")).status).toBe(401);
  expect((await get("/metrics", site.token)).status).toBe(200);
  const response = await get("/metrics", "scraper");
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const read = readExposition(await response.text());
  expect(sampleOf(read, "picket_device_up", { device: "gw-015" })).toBe(1);
  expect(site.faults).toEqual([]);
});
