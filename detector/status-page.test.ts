// The detector's page against the real broker.
import { createServer } from "node:net";
import { readExposition } from "@picket/protocol/testing/exposition";
import { expect, test } from "vitest";
import { connect, enrol, makeBatch, mine, testSite } from "../broker/testing/site.ts";
import { DetectorConfig } from "./config.ts";
import type { FeedStatus } from "./feed/feed.ts";
import { detectorOptions, startDetector } from "./main.ts";
import { detectorExposition, detectorHealth, detectorMetrics } from "./status-page.ts";

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, () => resolve()));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test("a detector that follows the log says so, counts what it decides, and says when the broker is gone", async () => {
  const site = await testSite();
  const port = await freePort();
  const config = {
    dir: site.dir,
    host: "localhost",
    port: site.broker.mqttPort,
    scan: false,
    models: { cmdline: false, behaviour: false },
  };
  await using detector = await startDetector(await detectorOptions(DetectorConfig.parse({ ...config, status: { port } }), () => {}));
  await detector.ready;
  const ask = async (path: string) => fetch(`http://127.0.0.1:${port}${path}`);
  const value = async (name: keyof typeof detectorMetrics) =>
    readExposition(await (await ask("/metrics")).text()).get(name)!.samples[0]!.value;
  expect((await ask("/healthz")).status).toBe(200);
  const device = await enrol(site, "gw-1");
  const client = await connect(site, device);
  await client.publishAsync(mine(device, "events"), makeBatch("gw-1", "epoch000", 0, 5), { qos: 1 });
  await expect.poll(() => value("picket_detector_events_total"), { timeout: 20_000 }).toBe(5);
  expect([...readExposition(await (await ask("/metrics")).text()).keys()].toSorted()).toEqual(Object.keys(detectorMetrics).toSorted());
  await client.endAsync(true);
  await site[Symbol.asyncDispose]();
  await expect.poll(async () => (await ask("/healthz")).status, { timeout: 20_000 }).toBe(503);
  expect(await (await ask("/healthz/ready")).json()).toMatchObject({
    ready: { ok: false, why: [expect.stringContaining("is not followed: ")] },
    live: { ok: true },
  });
}, 60_000);

const nowMs = 1_800_000_000_000;
const well: FeedStatus = {
  ...{ connected: true, why: undefined, committed: 9, totals: { events: 1, refused: 0, alerts: 0 } },
  progress: { batches: 0, oldestMs: undefined, stalledMs: 0 },
};
test.each<[string, Partial<FeedStatus>, boolean, boolean, string]>([
  ["all is well", {}, true, true, ""],
  ["no broker", { connected: false, why: "refused" }, false, false, "not followed: refused"],
  ["late", { progress: { batches: 3, oldestMs: nowMs - 90_000, stalledMs: 0 } }, true, false, "came 90 s ago"],
  [
    "stuck",
    { progress: { batches: 3, oldestMs: nowMs, stalledMs: 61_000 } },
    true,
    false,
    "3 batches wait, and nothing was decided for 61 s",
  ],
  ["a broker whose clock is ahead", { progress: { batches: 3, oldestMs: nowMs + 90_000, stalledMs: 0 } }, true, true, ""],
])("%s", (_, change, ready, useful, why) => {
  const health = detectorHealth({ nowMs, feed: { ...well, ...change }, rules: 1 });
  expect([health.ready.ok, health.useful.ok]).toEqual([ready, useful]);
  expect([...health.ready.why, ...health.useful.why].join("; ")).toContain(why);
});

test("a lag below 0 is none", () => {
  const progress = { batches: 1, oldestMs: nowMs + 1000, stalledMs: 0 };
  const read = readExposition(detectorExposition({ nowMs, feed: { ...well, progress }, rules: 1 }));
  expect(read.get("picket_feed_lag_seconds")!.samples[0]!.value).toBe(0);
});
