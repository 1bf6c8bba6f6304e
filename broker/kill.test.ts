// Promise 1: kill -9 of the broker under load loses nothing that was acknowledged, stores nothing twice, and tears no commit of the detector apart.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeBatch } from "@picket/protocol/batch";
import { decodeData } from "@picket/protocol/feed";
import { topic } from "@picket/protocol/topics";
import { alertId } from "@picket/protocol/uuid5";
import mqtt, { type MqttClient } from "mqtt";
import { expect, test } from "vitest";
import { createIdentity, readAuthority } from "./pki/certificates.ts";
import { initSite, readSite } from "./site.ts";
import { listAlerts } from "./store/alerts.ts";
import { detectorState } from "./store/detector.ts";
import { addCertificate, addDevice } from "./store/devices.ts";
import { nextOffset, readBatches } from "./store/log.ts";
import { openStore } from "./store/schema.ts";
import { startKillable } from "./testing/killable.ts";
import { anchor, type Credentials, closed, makeBatch, mine, optionsOf, SITE, urlOf } from "./testing/site.ts";

const ROUNDS = 12;
const EPOCH = "killed00";

/** A site with registered identities, made without a running broker. */
async function makeSite() {
  const root = mkdtempSync(join(tmpdir(), "pkbrk-kill-"));
  const dir = join(root, "site");
  const { ca } = await initSite({ dir, site: SITE, hosts: ["localhost"], operator: { anchor: anchor() } });
  const authority = await readAuthority(readSite(dir).ca);
  const nowMs = Date.now();
  const register = async (role: "device" | "detector", name: string): Promise<Credentials> => {
    const { key, certificate, serial, notAfterMs } = await createIdentity(authority, { role, name, nowMs });
    using store = openStore(join(dir, "site.db"));
    store.commitNow(() => {
      if (role === "device") addDevice(store, name, nowMs);
      addCertificate(store, { serial, role, name, issuedMs: nowMs, notAfterMs });
    });
    return { role, name, key, cert: certificate };
  };
  return { root, dir, ca, register };
}

const dial = (port: number, ca: string, who: Credentials) => mqtt.connectAsync(urlOf(port), optionsOf({ ca }, who), false);

/** Publishes from `next` on, several batches at a time, until the connection breaks. Returns the end of what was acknowledged without a gap. */
async function publishUntilCut(client: MqttClient, who: Credentials, from: number, size: number): Promise<number> {
  const acknowledged = new Set<number>();
  let next = from;
  let cut = false;
  const gone = closed(client).then(() => {
    cut = true;
  });
  const worker = async () => {
    while (!cut) {
      const first = next;
      next += size;
      const sent = client.publishAsync(mine(who, "events"), makeBatch(who.name, EPOCH, first, size), { qos: 1 });
      if (
        await Promise.race([
          sent.then(
            () => true,
            () => false,
          ),
          gone.then(() => false),
        ])
      )
        acknowledged.add(first);
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  client.end(true);
  let done = from;
  while (acknowledged.has(done)) done += size;
  return done;
}

/** How often each number of a device is in the log. */
function stored(dir: string, device: string): Map<number, number> {
  using store = openStore(join(dir, "site.db"));
  const times = new Map<number, number>();
  for (const row of readBatches(store, 0, 1e9)) {
    if (row.device !== device) continue;
    for (const event of decodeBatch(row.batch).events) times.set(event.seq, (times.get(event.seq) ?? 0) + 1);
  }
  return times;
}

test(`kill -9 under load, ${ROUNDS} times: every acknowledged event is in the log exactly once`, async () => {
  const { root, dir, ca, register } = await makeSite();
  const devices = await Promise.all(["gw-1", "gw-2"].map((name) => register("device", name)));
  const next = new Map(devices.map(({ name }) => [name, 0]));
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const broker = await startKillable(dir);
      const clients = await Promise.all(devices.map((who) => dial(broker.mqttPort, ca, who)));
      // Another batch size each round: what is sent again overlaps what was stored in other pieces.
      const size = 20 + ((round * 37) % 90);
      const loads = devices.map((who, at) => publishUntilCut(clients[at]!, who, next.get(who.name)!, size));
      await Bun.sleep(20 + ((round * 53) % 140));
      await broker.kill();
      const ends = await Promise.all(loads);
      for (const [at, { name }] of devices.entries()) next.set(name, ends[at]!);
      for (const { name } of devices) {
        const times = stored(dir, name);
        for (let seq = 0; seq < next.get(name)!; seq++) expect(times.get(seq), `${name} seq ${seq} after round ${round}`).toBe(1);
        expect(Math.max(0, ...times.values()), `${name} after round ${round}`).toBeLessThanOrEqual(1);
      }
    }
    // The load was real: something was acknowledged, and something had been stored without its PUBACK getting through or sent in vain.
    for (const end of next.values()) expect(end).toBeGreaterThan(ROUNDS * 20);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}, 120_000);

const alertOf = (offset: number, detail: string) => ({
  group: "",
  detection: {
    id: alertId({ site: SITE, rule: "test-rule", device: "gw-1", group: "", anchor: String(offset) }),
    site: SITE,
    device: "gw-1",
    timeMs: offset,
    rule: { id: "test-rule", title: "Test", engine: "sigma" },
    severity: "high",
    score: 50,
    attack: { tactics: [], techniques: ["T1059.004"] },
    events: [],
    tree: [],
    summary: detail,
    count: 1,
    firstMs: offset,
    lastMs: offset,
    revision: 0,
  },
});

/** A small detector: one alert a batch, committed batch by batch, until the connection breaks. Resolves when it listens, with its end. */
async function detectUntilCut(client: MqttClient): Promise<{ over: Promise<void> }> {
  const publish = (name: "want" | "commit", body: unknown) => client.publish(topic(name, SITE), JSON.stringify(body), { qos: 1 });
  let cursor = 0;
  let session = "";
  client.on("message", (_topic, payload) => {
    const data = decodeData(payload);
    if ("state" in data) {
      ({ cursor, session } = data.state);
      return;
    }
    if (!("header" in data)) return;
    publish("want", { kind: "more", session, credits: 1 });
    const { offset } = data.header;
    if (offset < cursor) return;
    const alerts = [alertOf(offset, "first"), alertOf(offset + 1_000_000, "second")];
    publish("commit", {
      session,
      next: offset + 1,
      alerts,
      seen: [{ device: "gw-1", kind: "pair", key: "all", count: offset }],
      read: 1,
      refused: 0,
    });
  });
  await client.subscribeAsync(topic("data", SITE), { qos: 1 });
  publish("want", { kind: "hello", credits: 8 });
  return { over: closed(client).then(() => void client.end(true)) };
}

test(`kill -9 while the detector commits, ${ROUNDS} times: alerts and cursor move together, and no alert exists twice`, async () => {
  const { root, dir, ca, register } = await makeSite();
  const device = await register("device", "gw-1");
  const detector = await register("detector", SITE);
  let sent = 0;
  let cursor = 0;
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const broker = await startKillable(dir);
      const [source, reader] = await Promise.all([dial(broker.mqttPort, ca, device), dial(broker.mqttPort, ca, detector)]);
      const load = publishUntilCut(source, device, sent, 1);
      const reading = await detectUntilCut(reader);
      await Bun.sleep(40 + ((round * 53) % 160));
      await broker.kill();
      [sent] = await Promise.all([load, reading.over]);
      using store = openStore(join(dir, "site.db"));
      const before = cursor;
      ({ cursor } = detectorState(store));
      expect(cursor).toBeGreaterThanOrEqual(before);
      expect(cursor).toBeLessThanOrEqual(nextOffset(store));
      const ids = new Set(listAlerts(store, { limit: 1_000_000 }).map(({ id }) => id));
      const expected = Array.from({ length: cursor - 1 }, (_, at) => at + 1).flatMap((offset) => [
        alertOf(offset, "").detection.id,
        alertOf(offset + 1_000_000, "").detection.id,
      ]);
      expect(ids, `round ${round}`).toEqual(new Set(expected));
    }
    expect(cursor).toBeGreaterThan(ROUNDS);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}, 120_000);
