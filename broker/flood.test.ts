// One stolen device at full speed over several connections, beside devices that behave: real TLS, real sockets. Judged by counts and order, never by time.

import { join } from "node:path";
import type { Finding } from "@picket/protocol/rest";
import type { MqttClient } from "mqtt";
import { expect, test } from "vitest";
import { logTotals, readBatches } from "./store/log.ts";
import { openStore } from "./store/schema.ts";
import { closed, connect, type Enrolled, enrol, makeBatch, mine, testSite, until } from "./testing/site.ts";

const quota = { messagesPerS: 20, eventsPerS: 10_000, bytesPerS: 1 << 20, connectionsPerMinute: 12 };
/** What a device may send at once, broker/quota/quotas.ts. */
const BURST = 2000;
const WELL_BEHAVED = 6;
const ROUNDS = 25;

test("others are served at their own pace while one floods; the flood is held to its quota and loses nothing", async () => {
  await using site = await testSite({ config: { quota } });
  const hostile = await enrol(site, "hostile");
  const others: Enrolled[] = [];
  for (let n = 0; n < WELL_BEHAVED; n++) others.push(await enrol(site, `gw-${n}`));
  let sent = 0;
  let acknowledged = 0;
  let over = false;
  // As one that is not ours would: each connection pushes as much as it can. The newest takes the client id over, the others are cut.
  const flood = async () => {
    while (!over) {
      const client = await connect(site, hostile, { keepalive: 300 }).catch(() => undefined);
      if (!client) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        continue;
      }
      client.on("error", () => {});
      while (!over && client.connected && sent < 4 * BURST) {
        const batch = makeBatch("hostile", "flooding", sent++ % 50, 1);
        client.publish(mine(hostile, "events"), batch, { qos: 1 }, (error) => {
          if (!error) acknowledged++;
        });
        if (sent % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      if (!over) await Promise.race([closed(client), new Promise((resolve) => setTimeout(resolve, 200))]);
      client.end(true);
    }
  };
  const floods = [flood(), flood(), flood()];
  await until(() => acknowledged > BURST / 2, "the flood");
  const clients = await Promise.all(others.map((who) => connect(site, who)));
  // Each message of a device that behaves waits for at most so many of the flood's: what one turn of the event loop takes, some turns over.
  const overtaken: number[] = [];
  const behave = async (client: MqttClient, who: Enrolled) => {
    for (let round = 0; round < ROUNDS; round++) {
      const before = acknowledged;
      await client.publishAsync(mine(who, "events"), makeBatch(who.name, "behaving", round * 5, 5), { qos: 1 });
      overtaken.push(acknowledged - before);
    }
  };
  await Promise.all(clients.map((client, at) => behave(client, others[at]!)));
  over = true;
  for (const client of clients) client.end(true);
  await Promise.all(floods);
  overtaken.sort((a, b) => a - b);
  const p99 = overtaken[Math.floor(overtaken.length * 0.99)]!;
  expect(overtaken).toHaveLength(WELL_BEHAVED * ROUNDS);
  expect(p99).toBeLessThanOrEqual(4 * 128);
  // Beyond its burst the flood got what its quota gives, not what it pushed.
  expect(acknowledged).toBeLessThan(sent);
  const { findings } = (await site.api("GET", "/v1/doctor")).json as { findings: Finding[] };
  expect(findings.map(({ what }) => what)).toEqual(
    expect.arrayContaining([expect.stringContaining("hostile connects more often than it may")]),
  );
  using store = openStore(join(site.dir, "site.db"));
  const stored = readBatches(store, 0, 1e6).filter(({ device }) => device !== "hostile");
  expect(stored).toHaveLength(WELL_BEHAVED * ROUNDS);
  expect(logTotals(store).events).toBe(WELL_BEHAVED * ROUNDS * 5 + 50);
}, 90_000);
