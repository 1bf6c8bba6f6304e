// The detector against the real broker: real certificates, TLS, SQLite, and kill -9.
import { join } from "node:path";
import { decodeBatch } from "@picket/protocol/batch";
import { eventId } from "@picket/protocol/event";
import { builtinRules } from "@picket/rules/builtin";
import { compileRules } from "@picket/rules/engine";
import { expect, test } from "vitest";
import { listAlerts } from "../broker/store/alerts.ts";
import { detectorState } from "../broker/store/detector.ts";
import { listLanes } from "../broker/store/lanes.ts";
import { nextOffset, readBatches } from "../broker/store/log.ts";
import { openStore } from "../broker/store/schema.ts";
import { connect, enrol, mine, SITE, type TestSite, testSite } from "../broker/testing/site.ts";
import { DetectorConfig, refuseUnverifiedTls } from "./config.ts";
import { checkSite } from "./feed/connection.ts";
import { detectorOptions, startDetector } from "./main.ts";
import { Order, perform } from "./order.ts";
import { createPipeline } from "./pipeline.ts";
import { randomLog } from "./testing/random.ts";

const quiet = () => {};
const optionsFor = (site: TestSite, log: Parameters<typeof detectorOptions>[1] = quiet) =>
  detectorOptions(
    DetectorConfig.parse({ dir: site.dir, host: "localhost", port: site.broker.mqttPort, warmUpExecs: 20, scan: false }),
    log,
  );

/** Enrols the three devices of a random log and returns a way to publish its batches. */
async function devicesOf(site: TestSite) {
  const devices = await Promise.all([0, 1, 2].map((at) => enrol(site, `gw-${at}`)));
  const clients = await Promise.all(devices.map((who) => connect(site, who)));
  return {
    publish: (batch: Uint8Array) => {
      const at = Number(decodeBatch(batch).header.device.at(-1));
      return clients[at]!.publishAsync(mine(devices[at]!, "events"), Buffer.from(batch), { qos: 1 });
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(clients.map((client) => client.endAsync(true)));
    },
  };
}

const read = <T>(site: TestSite, look: (store: ReturnType<typeof openStore>) => T): T => {
  using store = openStore(join(site.dir, "site.db"));
  return look(store);
};
/** Waits for as long as a loaded machine may take, and leaves the thread to the detector, which shares it. */
async function caughtUp(site: TestSite): Promise<void> {
  using store = openStore(join(site.dir, "site.db"));
  for (const endMs = Date.now() + 90_000; detectorState(store).cursor < nextOffset(store); await Bun.sleep(50))
    if (Date.now() > endMs) throw new Error(`the cursor is at ${detectorState(store).cursor} of ${nextOffset(store)}`);
}
const brief = ({ id, rule, count, revision }: { id: string; rule: { id: string }; count: number; revision: number }) => ({
  id,
  rule: rule.id,
  count,
  revision,
});
const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1);
const alertsAt = (site: TestSite) =>
  read(site, (store) => listAlerts(store, { limit: 10_000 }))
    .filter(({ rule }) => rule.engine !== "broker")
    .map(brief)
    .sort(byId);

/** What one run over the stored log decides. */
function expected(site: TestSite) {
  const pipeline = createPipeline({
    site: SITE,
    rules: builtinRules(),
    matcher: compileRules(builtinRules()),
    warmUpExecs: 20,
  });
  const order = new Order();
  for (const { batch, receivedMs } of read(site, (store) => readBatches(store, 0, 1e9))) {
    const { header, events } = decodeBatch(batch);
    const reports = events.map((event) => ({ event, arrival: { id: eventId(event), boot: header.boot, receivedMs, silent: false } }));
    for (const step of order.take({ header, receivedMs, silent: false, reports })) perform(pipeline, step);
  }
  return pipeline
    .take()
    .alerts.map(({ detection }) => brief(detection))
    .sort(byId);
}

test("kill -9 of the detector while it works: each alert exists once, with all its events", async () => {
  await using site = await testSite();
  await using devices = await devicesOf(site);
  const batches = randomLog(20, 240).map(({ batch }) => batch);
  const start = async () => {
    const argv = ["bun", new URL("testing/child.ts", import.meta.url).pathname, site.dir, String(site.broker.mqttPort)];
    const child = Bun.spawn(argv, { stdout: "pipe", stderr: "ignore" });
    await child.stdout.getReader().read();
    return child;
  };
  const ROUNDS = 8;
  for (let round = 0; round < ROUNDS; round++) {
    const child = await start();
    const part = batches.slice((round * batches.length) / ROUNDS, ((round + 1) * batches.length) / ROUNDS);
    // It is killed in the middle of what is arriving, each time after another number of batches.
    for (const [at, batch] of part.entries()) {
      if (at === 3 + round * 3) child.kill("SIGKILL");
      await devices.publish(batch);
    }
    child.kill("SIGKILL");
    await child.exited;
  }
  await using _last = await startDetector(await optionsFor(site));
  await caughtUp(site);
  // However busy the machine is: no device did anything that holds up others.
  expect(read(site, listLanes)).toEqual([]);
  expect(alertsAt(site)).toEqual(expected(site));
  expect(alertsAt(site).length).toBeGreaterThan(10);
}, 180_000);

test("a broker that goes away is waited for", async () => {
  // The same port after the restart, and one that nobody has.
  const free = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: quiet } });
  free.stop(true);
  await using site = await testSite({ config: { mqttPort: free.port } });
  const lines: string[] = [];
  await using detector = await startDetector(await optionsFor(site, (level, message) => lines.push(`${level} ${message}`)));
  await detector.ready;
  await site.restart();
  await using devices = await devicesOf(site);
  for (const { batch } of randomLog(21, 20)) await devices.publish(batch);
  await caughtUp(site);
  expect(alertsAt(site)).toEqual(expected(site));
  expect(lines).toContain("warn not connected to the broker");
}, 60_000);

test("a device's certificate does not get the feed", async () => {
  await using site = await testSite();
  const device = await enrol(site, "gw-9");
  const refused = Promise.withResolvers<void>();
  const options = await optionsFor(site);
  await using detector = await startDetector({ ...options, ...device, log: (level) => level === "warn" && refused.resolve() });
  await refused.promise;
  expect(detector.status()).toMatchObject({ connected: false, committed: 0 });
});

test.each([
  ["the site's", "site", "localhost", undefined],
  ["a device's", "device", "localhost", /role "device"/],
  ["another host's", "site", "elsewhere", /elsewhere/],
])("a server certificate: %s", (_, role, host, reason) => {
  const problem = checkSite(host, { subject: { CN: "localhost", OU: role }, subjectaltname: "DNS:localhost" } as never);
  if (reason) expect(problem?.message).toMatch(reason);
  else expect(problem).toBeUndefined();
});

test("certificate checks cannot be switched off from outside", () => {
  expect(() => refuseUnverifiedTls({ NODE_TLS_REJECT_UNAUTHORIZED: "0" })).toThrow("unset it");
  expect(() => refuseUnverifiedTls({})).not.toThrow();
});

test("a site that is not there says what to do", async () => {
  await expect(detectorOptions(DetectorConfig.parse({ dir: "/nonexistent" }), quiet)).rejects.toThrow("picket site init");
});
