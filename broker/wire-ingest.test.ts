import { expect, test } from "vitest";
import { Changes } from "./changes.ts";
import { BrokerConfig } from "./config.ts";
import { Quotas } from "./quota/quotas.ts";
import { listAlerts } from "./store/alerts.ts";
import { openStore } from "./store/schema.ts";
import { sweepFloods } from "./wire-ingest.ts";

test("a device held back for over a minute raises one alert an hour; one that only catches up raises none", async () => {
  using store = openStore(":memory:");
  const clock = { nowMs: 0 };
  const quotas = new Quotas({
    limits: BrokerConfig.parse({}).quota,
    nowMs: () => clock.nowMs,
    later: () => ({ [Symbol.dispose]: () => {} }),
  });
  const told: string[] = [];
  const changes = new Changes();
  changes.listen((change) => told.push(change.kind));
  const given = { site: { site: "yard" }, store, nowMs: () => 3_600_000 + clock.nowMs } as unknown as Parameters<typeof sweepFloods>[0];
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const push = async () => {
    // Far more than the quota gives between two looks.
    quotas.spend("gw-1", { messages: 10_000 });
    quotas.pass({ link: {}, device: "gw-1", lane: "events", bytes: 1 })?.catch(() => {});
    quotas.pass({ link: {}, device: "gw-2", lane: "events", bytes: 1 })?.catch(() => {});
    await turn();
    await turn();
    await sweepFloods(given, changes, quotas);
  };
  await push();
  for (let n = 0; n < 6; n++) {
    clock.nowMs += 9_000;
    await push();
  }
  expect(listAlerts(store, { limit: 10 })).toEqual([]);
  for (let n = 0; n < 3; n++) {
    clock.nowMs += 9_000;
    await push();
  }
  const alerts = listAlerts(store, { limit: 10 });
  expect(alerts).toMatchObject([
    { device: "gw-1", rule: { id: "picket-broker-flood" }, summary: expect.stringContaining("Nothing is lost") },
  ]);
  expect(told).toContain("alert");
  quotas[Symbol.dispose]();
});
