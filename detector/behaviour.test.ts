// The behaviour model in the running detector: another version is chosen, nothing restarts, and its minutes become an alert at the broker.
import { join } from "node:path";
import { MINUTE_MS, minuteOf } from "@picket/models/behaviour/window";
import { encodeBatch } from "@picket/protocol/batch";
import type { SensorEvent } from "@picket/protocol/event";
import { expect, test } from "vitest";
import { listAlerts } from "../broker/store/alerts.ts";
import { appendBatch } from "../broker/store/log.ts";
import { openStore } from "../broker/store/schema.ts";
import { connect, enrol, mine, testSite, until } from "../broker/testing/site.ts";
import { DetectorConfig } from "./config.ts";
import { modelsFolder, useVersion, writeVersion } from "./engines/onnx/behaviour-folder.ts";
import { detectorOptions, startDetector } from "./main.ts";
import { learntFiles, oddMinute, quietMinute } from "./testing/behaviour.ts";
import { BOOT, T0 } from "./testing/events.ts";

test("a running detector takes up a learnt model, and an unusual minute is an alert at the site", async () => {
  await using site = await testSite();
  const device = await enrol(site, "gw-1");
  const client = await connect(site, device);
  const logged: string[] = [];
  const config = DetectorConfig.parse({ dir: site.dir, host: "localhost", port: site.broker.mqttPort, scan: false });
  const options = await detectorOptions(config, (_level, message, details) => logged.push(`${message} ${details?.version ?? ""}`));
  let seq = 0;
  const packed = (events: readonly SensorEvent[]) => {
    const epoch = "abcdefgh";
    const numbered = events.map((event) => ({ ...event, epoch, seq: seq++ }));
    return { numbered, batch: encodeBatch({ boot: BOOT, oldest: 0, events: numbered }) };
  };
  // Stored a minute ago, so that the event below, which the broker stores now, ends that minute.
  const receivedMs = Date.now() - MINUTE_MS;
  const at = minuteOf(receivedMs - T0);
  const { numbered, batch } = packed([...quietMinute("gw-1", at), ...oddMinute("gw-1", at)]);
  {
    using store = openStore(join(site.dir, "site.db"));
    const of = { device: "gw-1", epoch: "abcdefgh", firstSeq: 0, nextSeq: numbered.length, receivedMs, count: numbered.length, batch };
    appendBatch(store, of);
  }
  await using detector = await startDetector(options);
  await detector.ready;
  await until(() => detector.status().committed > 1, "the detector at the log's end");
  expect(logged.join()).not.toContain("behaviour model in use");

  const folder = modelsFolder(site.dir);
  writeVersion(folder, "v1", learntFiles(["gw-1", "gw-2", "gw-3"]), "card");
  useVersion(folder, "v1");
  await client.publishAsync(mine(device, "events"), Buffer.from(packed(quietMinute("gw-1", at + 1)).batch), { qos: 1 });
  const alert = await until(() => {
    using store = openStore(join(site.dir, "site.db"));
    return listAlerts(store, { limit: 100 }).find(({ rule }) => rule.id === "picket-model-behaviour");
  }, "the alert");
  expect(logged).toContain("behaviour model in use v1");
  expect(alert).toMatchObject({ device: "gw-1", rule: { engine: "onnx" }, severity: "high", count: 1 });
  expect(alert.summary).toContain("first time this device ran /usr/bin/nc started by /usr/bin/python3");
  expect(alert.events.length).toBeGreaterThan(2);
  await client.endAsync(true);
}, 60_000);
