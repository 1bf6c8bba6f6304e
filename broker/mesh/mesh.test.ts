import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { until } from "../testing/site.ts";
import { commitAlerts, detectionAt, joinSites, meshSite } from "./testing/sites.ts";

/** Asks until the answer is good. */
const some = <T>(ask: () => Promise<T>, good: (answer: T) => boolean): Promise<T> =>
  until(async () => {
    const answer = await ask();
    return good(answer) ? { answer } : undefined;
  }, String(good)).then(({ answer }) => answer);

const ids = (alerts: readonly { id: string }[]) => alerts.map(({ id }) => id).sort();

test("an alert of one site is shown at its peer with its origin, once, and grows there", async () => {
  await using north = await meshSite("north");
  await using south = await meshSite("south");
  await joinSites(south, north);
  const first = detectionAt("north", { summary: "one" });
  const other = detectionAt("south");
  await north.raise(first);
  await south.raise(other);
  const [seen] = await some(
    () => south.alerts("mesh"),
    (alerts) => alerts.length === 1,
  );
  expect(seen).toMatchObject({ id: first.id, device: "gw-014", origin: { site: "north", via: "north", trust: "peer" }, status: "open" });
  await until(async () => ids(await north.alerts("mesh")).includes(other.id), "south's alert at north");
  expect(ids(await south.alerts("own"))).toEqual([other.id]);

  await north.raise({ ...first, revision: 3, count: 9, summary: "nine" });
  const [grown] = await some(
    () => south.alerts("mesh"),
    (alerts) => alerts[0]?.count === 9,
  );
  expect(grown).toMatchObject({ id: first.id, summary: "nine" });
  const { peers } = await north.status();
  expect(peers).toMatchObject([{ site: "south", state: "connected", lag: 0, lost: 0, refused: {}, muted: false }]);
});

test("what was said while a peer was away arrives when it is back, the last word only, also after both were restarted", async () => {
  await using north = await meshSite("north");
  await using south = await meshSite("south");
  await joinSites(south, north);
  await some(
    () => north.status(),
    ({ peers }) => peers[0]?.state === "connected" && peers[0].lag === 0,
  );
  await south.stop();
  await until(async () => (await north.status()).peers[0]?.state === "away", "the end of it");
  const many = Array.from({ length: 120 }, () => detectionAt("north"));
  await north.raise(...many);
  for (let revision = 1; revision < 4; revision++) await north.raise({ ...many[0]!, revision, count: revision });
  expect((await north.status()).peers).toMatchObject([{ site: "south", lag: 120 }]);
  await north.stop();
  await north.start();
  await south.start();
  const seen = await some(
    () => south.alerts("mesh"),
    (alerts) => alerts.length === 120,
  );
  expect(ids(seen)).toEqual(ids(many));
  expect(seen.find(({ id }) => id === many[0]!.id)?.count).toBe(3);
  await some(
    () => north.status(),
    ({ peers }) => peers[0]?.lag === 0,
  );
});

test("a peer whose database came back from a backup gets again what it lost, once", async () => {
  await using north = await meshSite("north");
  await using south = await meshSite("south");
  await joinSites(south, north);
  const [early, late] = [detectionAt("north"), detectionAt("north")];
  await north.raise(early);
  await some(
    () => south.alerts("mesh"),
    (alerts) => alerts.length === 1,
  );
  await south.stop();
  const files = ["site.db", "site.db-wal"].filter((name) => existsSync(join(south.dir, name)));
  const backup = files.map((name) => [name, readFileSync(join(south.dir, name))] as const);
  await south.start();
  await north.raise(late);
  await some(
    () => south.alerts("mesh"),
    (alerts) => alerts.length === 2,
  );
  await south.stop();
  for (const name of ["site.db", "site.db-wal", "site.db-shm"]) rmSync(join(south.dir, name), { force: true });
  for (const [name, bytes] of backup) writeFileSync(join(south.dir, name), bytes);
  await south.start();
  const again = await some(
    () => south.alerts("mesh"),
    (alerts) => alerts.length === 2,
  );
  expect(ids(again)).toEqual(ids([early, late]));
});

test("a muted peer keeps what it has for us, whichever way it could come, until it is muted no more", async () => {
  await using north = await meshSite("north");
  await using south = await meshSite("south");
  await using east = await meshSite("east");
  await joinSites(south, north);
  await joinSites(east, south);
  await joinSites(north, east);
  await until(async () => (await north.status()).peers.every(({ state }) => state === "connected"), "the triangle");
  await north.ask("PATCH", "/v1/mesh/peers/south", { muted: true });
  const [quiet, heard] = [detectionAt("south"), detectionAt("east")];
  await south.raise(quiet);
  await some(
    () => east.alerts("mesh"),
    (alerts) => alerts.length === 1,
  );
  await east.raise(heard);
  const seen = await some(
    () => north.alerts("mesh"),
    (alerts) => alerts.length > 0,
  );
  expect(ids(seen)).toEqual([heard.id]);
  await north.ask("PATCH", "/v1/mesh/peers/south", { muted: false });
  await some(
    () => north.alerts("mesh"),
    (alerts) => alerts.some(({ id }) => id === quiet.id),
  );
});

test("what we decide about another site's alert stays here; it goes to no webhook, and its device is not one of ours", async () => {
  let posted = 0;
  const soc = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: () => {
      posted++;
      return new Response();
    },
  });
  try {
    const sinks = [{ name: "soc", url: `http://127.0.0.1:${soc.port}/`, secret: `whsec_${Buffer.alloc(32, 9).toString("base64")}` }];
    await using north = await meshSite("north");
    await using south = await meshSite("south", { config: { sinks } });
    await joinSites(south, north);
    const theirs = detectionAt("north");
    await north.raise(theirs);
    await some(
      () => south.alerts("mesh"),
      (alerts) => alerts.length === 1,
    );
    await south.ask("PATCH", `/v1/alerts/${theirs.id}`, { status: "closed", note: "seen" });
    expect(await south.ask("GET", `/v1/alerts/${theirs.id}`)).toMatchObject({
      alert: { status: "closed", origin: { site: "north" } },
      events: [],
    });
    const own = detectionAt("south");
    await south.raise(own);
    await some(
      () => north.alerts("mesh"),
      (alerts) => alerts.length === 1,
    );
    await until(() => posted > 0, "the own alert at the webhook");
    expect(posted).toBe(1);
    expect((await north.alerts("own"))[0]).toMatchObject({ id: theirs.id, status: "open", notes: [] });
    expect(await south.ask("GET", "/v1/site")).toMatchObject({ alerts: { open: 1, high: 1 } });
  } finally {
    await soc.stop(true);
  }
});

test("what rules found in a file travels by its hash; what they did not find stays", async () => {
  await using north = await meshSite("north");
  await using south = await meshSite("south");
  await joinSites(south, north);
  const [bad, fine] = ["a".repeat(64), "b".repeat(64)];
  const match = { rule: "miner", title: "A miner", severity: "high", score: 80, attack: { tactics: [], techniques: [] }, why: "strings" };
  const verdicts = [
    { sha256: bad, pack: "p1", matches: [match] },
    { sha256: fine, pack: "p1", matches: [] },
  ];
  await commitAlerts({ dir: north.dir, site: "north", port: north.broker.mqttPort, ca: north.ca }, [detectionAt("north")], { verdicts });
  const answer = await some(
    () => south.ask<{ verdicts: object[] }>("GET", `/v1/mesh/verdicts/${bad}`),
    ({ verdicts: found }) => found.length > 0,
  );
  expect(answer.verdicts).toMatchObject([{ sha256: bad, verdict: "malicious", rules: ["miner"], origin: "north" }]);
  expect(await south.ask("GET", `/v1/mesh/verdicts/${fine}`)).toEqual({ verdicts: [] });
});

test("indicators travel; leaving ends it on both sides", async () => {
  await using north = await meshSite("north");
  await using south = await meshSite("south");
  expect(await south.api("POST", "/v1/mesh/iocs", ioc)).toMatchObject({ status: 409 });
  await joinSites(south, north);
  await south.ask("POST", "/v1/mesh/iocs", ioc);
  const { iocs } = await some(
    () => north.ask<{ iocs: object[] }>("GET", "/v1/mesh/iocs"),
    (answer) => answer.iocs.length > 0,
  );
  expect(iocs).toMatchObject([{ ...ioc, origin: "south", via: "south" }]);
  await south.ask("POST", "/v1/mesh/peers/north/remove", {});
  await some(
    () => north.status(),
    ({ peers }) => peers[0]?.state === "left",
  );
  expect((await south.status()).peers).toEqual([]);
  // What came stays; nothing comes any more.
  await south.raise(detectionAt("south"));
  expect(await north.alerts("mesh")).toEqual([]);
});

const ioc = { kind: "domain", value: "updates.example.net", confidence: 80, expiresMs: Date.now() + 86_400_000, source: "incident 17" };
