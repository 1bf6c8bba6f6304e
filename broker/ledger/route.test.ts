import type { Ledger } from "@picket/protocol/ledger";
import { expect, test } from "vitest";
import { connect, enrol, makeBatch, makeStatus, mine, testSite } from "../testing/site.ts";

test("a running site enters what it stores, and tells it by REST; after a restart too", async () => {
  await using site = await testSite();
  const who = await enrol(site, "gw-1");
  const ledgerOf = async (query = "") => ((await site.api("GET", `/v1/devices/gw-1${query}`)).json as { ledger: Ledger }).ledger;
  expect(await ledgerOf()).toMatchObject({ totals: { caused: 0 }, hours: [] });
  const client = await connect(site, who);
  const status = makeStatus("epoch000", {
    ...{ produced: 30, timeMs: Date.now(), lost: { kernel: 4, shed: 2, buffer: 0 } },
    epochs: [["epoch000", 0, 30]],
  });
  await client.publishAsync(mine(who, "status"), JSON.stringify(status), { qos: 1 });
  await client.publishAsync(mine(who, "events"), makeBatch("gw-1", "epoch000", 0, 20), { qos: 1 });
  await client.publishAsync(mine(who, "events"), makeBatch("gw-1", "epoch000", 10, 15), { qos: 1 });
  const totals = { caused: 36, stored: 25, kernel: 4, shed: 2, waiting: 5 };
  expect((await ledgerOf()).totals).toMatchObject(totals);
  await client.endAsync();
  await site.restart();
  const { totals: after, hours } = await ledgerOf("?hours=9600");
  expect(after).toMatchObject(totals);
  expect(hours.reduce((sum, { caused }) => sum + caused, 0)).toBe(36);
  expect((await site.api("GET", "/v1/devices/gw-1?hours=0")).status).toBe(400);
});
