// What a real broker tells a scraper, through its real HTTPS port.
import { createHash } from "node:crypto";
import { readExposition } from "@picket/protocol/testing/exposition";
import { expect, test } from "vitest";
import { brokerMetrics } from "./api/metrics.ts";
import { connect, enrol, makeBatch, makeStatus, mine, testSite } from "./testing/site.ts";

test("counts what devices send, for whoever has the scrape token, and says yes or no to anyone", async () => {
  const token = "scrape-token-of-this-test";
  await using site = await testSite({ config: { metrics: { tokenSha256: createHash("sha256").update(token).digest("hex") } } });
  const get = (path: string, bearer?: string) =>
    fetch(`https://localhost:${site.broker.httpsPort}${path}`, {
      headers: bearer === undefined ? {} : { authorization: `Bearer ${bearer}` },
      tls: { ca: site.ca },
    });
  const read = async () => readExposition(await (await get("/metrics", token)).text());
  const value = async (name: keyof typeof brokerMetrics) => (await read()).get(name)?.samples[0]?.value;
  const device = await enrol(site, "gw-1");
  const client = await connect(site, device);
  await client.publishAsync(mine(device, "status"), JSON.stringify(makeStatus("epoch000")), { qos: 1 });
  await client.publishAsync(mine(device, "events"), makeBatch("gw-1", "epoch000", 0, 5), { qos: 1 });
  await client.publishAsync(mine(device, "events"), makeBatch("gw-1", "epoch000", 0, 5), { qos: 1 });
  // The second time they are nothing new.
  expect(await value("picket_ingest_events_total")).toBe(5);
  expect(await value("picket_log_events")).toBe(5);
  expect(await value("picket_device_events_stored_total")).toBe(5);
  expect(await value("picket_device_up")).toBe(1);
  expect(await value("picket_detector_connected")).toBe(0);
  const commits = (await read()).get("picket_ingest_commit_seconds")!.samples.find(({ name }) => name.endsWith("_count"))!.value;
  expect(commits).toBeGreaterThan(0);
  expect([...(await read()).keys()].filter((name) => !(name in brokerMetrics))).toEqual([]);
  expect((await get("/metrics")).status).toBe(401);
  expect((await get("/v1/devices", token)).status).toBe(401);
  expect([(await get("/healthz")).status, await (await get("/healthz")).json()]).toEqual([200, { live: true, ready: true, useful: true }]);
  await client.endAsync(true);
});
