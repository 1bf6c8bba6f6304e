import { connect } from "node:tls";
import { expect, test } from "vitest";
import type { HealthFacts } from "./deps.ts";
import { brokerHealth } from "./health.ts";
import { startSite } from "./testing/site.ts";

const nowMs = 1_800_000_000_000;
const well: HealthFacts = {
  ...{ nowMs, startedMs: nowMs - 3600_000, version: "1.2.3", certificateExpiresMs: nowMs + 1, outage: undefined },
  ...{ online: 3, storedMs: nowMs - 20_000, canaryS: 60 },
};

test.each<[string, Partial<HealthFacts>, string[], string[]]>([
  ["all is well", {}, [], []],
  ["an old certificate", { certificateExpiresMs: nowMs }, ["certificate has expired"], []],
  ["a disk in its reserve", { outage: { sinceMs: 0, why: "only 3 MiB are free" }, storedMs: 0 }, [], ["only 3 MiB are free"]],
  ["devices that are there and silent", { storedMs: nowMs - 400_000 }, [], ["no event was stored for 400 s, though 3 devices are online"]],
  ["the same, with canaries that come seldom", { storedMs: nowMs - 400_000, canaryS: 600 }, [], []],
  ["no device is there", { storedMs: undefined, online: 0, canaryS: undefined }, [], []],
  ["a broker that has just started", { storedMs: undefined, startedMs: nowMs - 10_000 }, [], []],
])("%s", (_, change, ready, useful) => {
  const health = brokerHealth({ ...well, ...change });
  expect(health).toMatchObject({ part: "broker", live: { ok: true } });
  expect(health.ready).toEqual({ ok: ready.length === 0, why: ready.map((why) => expect.stringContaining(why)) });
  expect(health.useful).toEqual({ ok: useful.length === 0, why: useful.map((why) => expect.stringContaining(why)) });
});

test("anybody may ask, and is told yes or no and nothing else", async () => {
  let outage: HealthFacts["outage"];
  let at = nowMs;
  await using site = await startSite({ deps: { health: () => ({ ...well, outage }), nowMs: () => at } });
  const ask = async (path: string) => {
    const response = await fetch(site.url + path, { tls: { ca: site.ca } });
    return [response.status, await response.json()];
  };
  expect(await ask("/healthz")).toEqual([200, { live: true, ready: true, useful: true }]);
  outage = { sinceMs: 0, why: "secret" };
  // An answer of this very second is given again.
  expect((await ask("/healthz"))[0]).toBe(200);
  at += 2000;
  const brief = { live: true, ready: true, useful: false };
  expect(await Promise.all(["/healthz", "/healthz/live", "/healthz?ready", "/healthz/useful"].map(ask))).toEqual([
    [503, brief],
    [200, brief],
    [200, brief],
    [503, brief],
  ]);
  expect((await ask("/healthz?dead"))[0]).toBe(404);
  expect((await ask("/healthz/dead"))[0]).toBe(404);
});

test("a request that drips is cut", async () => {
  await using site = await startSite({ limits: { idleMs: 200 } });
  const socket = connect({ host: "127.0.0.1", port: site.port, ca: site.ca });
  socket.on("error", () => {});
  socket.write("GET /healthz HTTP/1.1\r\nhost: x\r\n");
  await new Promise<void>((resolve) => socket.once("close", () => resolve()));
});
