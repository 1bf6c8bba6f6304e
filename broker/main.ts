// Wires the broker: store, MQTT, ingest, feed, enrolment, devices, API and sinks. What each does is in its own folder.
import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { anchorHash } from "@picket/protocol/command";
import type { SiteStatus } from "@picket/protocol/rest";
import type { TopicName } from "@picket/protocol/topics";
import type { ApiDeps } from "./api/deps.ts";
import { startApi } from "./api/server.ts";
import { hourOf, raise } from "./broker-alert.ts";
import { Changes } from "./changes.ts";
import type { BrokerConfig } from "./config.ts";
import { Presence, SWEEP_MS } from "./devices/presence.ts";
import { createEnrolment, type Enrolment } from "./enroll/enroll.ts";
import { Feed } from "./feed/feed.ts";
import { createIngest } from "./ingest/ingest.ts";
import { type MqttHandlers, type MqttServer, startMqtt } from "./mqtt/server.ts";
import { Outbox } from "./outbox.ts";
import pkg from "./package.json" with { type: "json" };
import type { CertifiedPeer, Link, Log } from "./peer.ts";
import { type Authority, issueDevice, keyOfCsr, readAuthority, spkiHash } from "./pki/certificates.ts";
import { identify, identifyPem, readCertificateEnd } from "./pki/peer.ts";
import { startSinks } from "./sinks/sinks.ts";
import { readSite, type Site } from "./site.ts";
import { siteStatus } from "./status.ts";
import { getAlert, judgeAlert, listAlerts } from "./store/alerts.ts";
import { Commands } from "./store/commands.ts";
import { Credentials } from "./store/credentials.ts";
import type { Store } from "./store/database.ts";
import { getCertificate, getDevice, listDevices } from "./store/devices.ts";
import { Keys } from "./store/keys.ts";
import { batchesWith, offsetSince, readBatches, readBatchesOf, trimLog } from "./store/log.ts";
import { forgetEpochs } from "./store/received.ts";
import { openStore } from "./store/schema.ts";
import { SinkQueue } from "./store/sink-queue.ts";

const DAY_MS = 86_400_000;
const TRIM_MS = 30_000;
const TRIM_ROWS = 2000;
/** A device may come back with old events after a long time; what was received of an epoch is remembered for this long after its last sign. */
const FORGET_EPOCHS_MS = 400 * DAY_MS;

export type Broker = AsyncDisposable & {
  readonly mqttPort: number;
  readonly httpsPort: number;
  status(): SiteStatus;
};

export type BrokerOptions = { readonly log?: Log; readonly nowMs?: () => number };

/** Opens the site in `config.dir` and listens. Rejects when the site, a port or a certificate cannot be used; then nothing is left running. */
export async function startBroker(config: BrokerConfig, options: BrokerOptions = {}): Promise<Broker> {
  const log = options.log ?? printLine;
  const nowMs = options.nowMs ?? Date.now;
  const site = readSite(config.dir);
  await using stack = new AsyncDisposableStack();
  const store = stack.use(openStore(join(config.dir, "site.db")));
  const parts = await assemble({ config, site, store, nowMs, log, authority: await readAuthority(site.ca) });
  stack.use(parts.sinks);
  const mqtt = stack.use(
    await startMqtt({
      ...{ site: site.site, host: config.host, port: config.mqttPort, nowMs, log },
      ...{ ca: site.ca.certificate, certificate: site.broker.certificate, key: site.broker.key },
      env: process.env,
      identify: (der) => identify(parts.authority, der),
      handlers: parts.handlers,
    }),
  );
  const api = stack.use(
    await startApi(parts.api, { host: config.host, port: config.httpsPort, cert: site.broker.certificate, key: site.broker.key }),
  );
  parts.listening(mqtt, api.port);
  stack.use(parts.changes.listen((change) => change.kind === "alert" && parts.sinks.wake()));
  stack.use(every(SWEEP_MS, log, () => parts.presence.sweep()));
  stack.use(every(SWEEP_MS, log, () => parts.outbox.expire()));
  stack.use(every(TRIM_MS, log, () => trim(store, config, nowMs())));
  log("info", "broker listens", { site: site.site, mqtt: mqtt.port, https: api.port });
  const running = stack.move();
  return {
    mqttPort: mqtt.port,
    httpsPort: api.port,
    status: parts.api.siteStatus,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

type Given = {
  readonly config: BrokerConfig;
  readonly site: Site;
  readonly store: Store;
  readonly nowMs: () => number;
  readonly log: Log;
  readonly authority: Authority;
};

async function assemble(given: Given) {
  const { config, site, store, nowMs, log, authority } = given;
  const report = (error: unknown) =>
    log("error", "fault", { why: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  const changes = new Changes(report);
  const keys = new Keys(store, site);
  const commands = new Commands(store, { site: site.site, keys: () => keys.current()?.list });
  const outbox = new Outbox({ store, commands, keys, changes, nowMs, log });
  const presence = new Presence({ site: site.site, store, changes, nowMs });
  const feed = new Feed({ store, changes, nowMs, newSession: () => crypto.randomUUID(), report });
  const ingest = createIngest({ store, nowMs, stored: () => feed.wake(), deadLetter: deadLetterAlert(given, changes) });
  let mqtt: MqttServer | undefined;
  let httpsPort = config.httpsPort;
  const enrolment = createEnrolment({
    ...{ site: site.site, anchor: site.anchor, anchorHash: anchorHash(site.anchor), store, nowMs },
    authority: {
      pem: site.ca.certificate,
      hash: spkiHash(authority.certificate),
      check: keyOfCsr,
      issue: (of) => issueDevice(authority, of),
      identify: (pem) => identifyPem(authority, pem),
    },
    randomName: () => `device-${crypto.getRandomValues(Buffer.alloc(4)).toString("hex")}`,
    currentKeys: () => keys.current()?.jws,
    addresses: () => {
      const host = config.publicHost ?? site.hosts[0]!;
      const named = host.includes(":") ? `[${host}]` : host;
      return { https: `${named}:${httpsPort}`, mqtt: `${named}:${mqtt?.port ?? config.mqttPort}` };
    },
    disconnect: (device, why) => mqtt?.link("device", device)?.close(why),
    changed: (device) => changes.tell({ kind: "device", device }),
  });
  const sinks = startSinks({ site: site.site, webhooks: config.sinks, queue: new SinkQueue(store), nowMs, random: Math.random, report });
  const startedMs = nowMs();
  const status = () =>
    siteStatus(store, {
      ...{ site: site.site, version: pkg.version, startedMs, anchor: anchorHash(site.anchor) },
      ...{ keysVersion: keys.current()?.version ?? 0, detectorConnected: feed.connected, sinks: sinks.status() },
    });
  const api = apiDeps(given, { enrolment, commands, keys, outbox, sinks, changes, status, report });
  const handlers = mqttHandlers(given, { ingest, presence, outbox, feed, changes, report });
  const listening = (server: MqttServer, https: number) => {
    mqtt = server;
    httpsPort = https;
  };
  return { authority, changes, presence, outbox, sinks, api, handlers, listening };
}

type Parts = {
  readonly ingest: ReturnType<typeof createIngest>;
  readonly presence: Presence;
  readonly outbox: Outbox;
  readonly feed: Feed;
  readonly changes: Changes;
  readonly report: (error: unknown) => void;
};

function mqttHandlers({ store, nowMs }: Given, { ingest, presence, outbox, feed, changes, report }: Parts): MqttHandlers {
  const published = async (link: Link, name: TopicName, payload: Uint8Array): Promise<void> => {
    const device = link.peer.name;
    const orReject = (problem: string | undefined) => (problem === undefined ? undefined : ingest.reject(device, name, payload, problem));
    switch (name) {
      case "events":
        return ingest.events(device, payload);
      case "status":
        return orReject(await presence.status(device, payload));
      case "result":
        return orReject(await outbox.result(device, payload));
      case "want":
        return feed.want(link, payload);
      case "commit":
        return feed.commit(link, payload);
      case "cmd":
      case "pack":
      case "data":
        throw new Error(`only the broker publishes ${name}`);
    }
  };
  return {
    refuse: (peer) => refuse(store, peer, nowMs()),
    connected: (link, previous) => {
      if (previous && link.peer.role === "device")
        presence.takeover(link.peer.name, { oldAddress: previous.address, newAddress: link.address }).catch(report);
    },
    published,
    // The Will of a connection that was taken over says nothing about the one that lives.
    vanished: async (link, payload) => {
      if (!link.superseded) await published(link, "status", payload);
    },
    subscribed: (link, name) => {
      outbox.subscribed(link, name);
      if (name === "data") changes.tell({ kind: "site" });
    },
    closed: (link) => {
      outbox.closed(link);
      feed.closed(link);
      if (link.peer.role === "detector") changes.tell({ kind: "site" });
    },
  };
}

/** Why this certificate, though signed by the site CA, lets nobody in. */
function refuse(store: Store, peer: CertifiedPeer, nowMs: number): string | undefined {
  if (peer.role === "site") return "a site's certificate is not for this port";
  const row = getCertificate(store, peer.serial);
  if (!row || row.role !== peer.role || row.name !== peer.name) return "this certificate is not in the site's register";
  if (row.revokedMs !== null) return "this certificate was revoked";
  if (Math.min(row.notAfterMs, peer.notAfterMs) <= nowMs) return "this certificate has expired: renew it";
  if (peer.role === "device" && getDevice(store, peer.name)?.trust !== "enrolled") return "this device was revoked";
  return undefined;
}

function deadLetterAlert({ site, store, nowMs }: Given, changes: Changes) {
  return (device: string, reason: string): (() => void) => {
    const summary = (count: number) => `${count} messages of ${device} within an hour could not be read. The last: ${reason.slice(0, 300)}`;
    const of = { site: site.site, rule: "deadLetter", device, anchorMs: hourOf(nowMs()), nowMs: nowMs(), add: 1, summary } as const;
    const { id, change } = raise(store, of);
    return () => changes.tell({ kind: "alert", id, created: change === "created" });
  };
}

type ApiParts = {
  readonly enrolment: Enrolment;
  readonly commands: Commands;
  readonly keys: Keys;
  readonly outbox: Outbox;
  readonly sinks: ReturnType<typeof startSinks>;
  readonly changes: Changes;
  readonly status: () => SiteStatus;
  readonly report: (error: unknown) => void;
};

function apiDeps({ config, site, store, nowMs }: Given, parts: ApiParts): ApiDeps {
  const { enrolment, commands, keys, outbox, sinks, changes, status, report } = parts;
  return {
    version: pkg.version,
    nowMs,
    report,
    credentials: new Credentials(store),
    siteStatus: status,
    hostFacts: async () => {
      const disk = await statfs(config.dir);
      const size = { freeBytes: disk.bavail * disk.bsize, totalBytes: disk.blocks * disk.bsize };
      return { certificateExpiresMs: readCertificateEnd(site.broker.certificate), disk: size };
    },
    enrolment: { ...enrolment, ca: () => site.ca.certificate },
    devices: {
      list: () => listDevices(store),
      get: (id) => getDevice(store, id),
      revoke: (id) => void enrolment.revoke(id),
    },
    alerts: {
      list: (filter) => listAlerts(store, filter),
      get: (id) => getAlert(store, id),
      judge: (id, judgement, operator) => {
        const alert = judgeAlert(store, id, judgement, { operator, nowMs: nowMs() });
        if (alert) changes.tell({ kind: "alert", id, created: false });
        return alert;
      },
    },
    log: {
      read: ({ offset, device, limit }) =>
        device === undefined ? readBatches(store, offset, limit) : readBatchesOf(store, device, offset, limit),
      offsetSince: (sinceMs) => offsetSince(store, sinceMs),
      holding: (of) => batchesWith(store, of),
    },
    commands: {
      submit: async (of) => {
        const command = await commands.submit({ ...of, nowMs: nowMs() });
        outbox.submitted(command);
        return command;
      },
      get: (jti) => commands.get(jti),
      ofDevice: (device) => commands.ofDevice(device),
    },
    keys: {
      put: async (jws, operator) => {
        const put = await keys.put(jws, operator, nowMs());
        outbox.keysChanged();
        return put;
      },
    },
    sinks: { status: () => sinks.status(), test: (name) => sinks.test(name) },
    changes,
  };
}

/** Old batches go in pieces, so that ingest never waits long for them. */
async function trim(store: Store, config: BrokerConfig, nowMs: number): Promise<void> {
  const limits = { beforeMs: nowMs - config.log.keepDays * DAY_MS, keepBytes: config.log.keepBytes, limit: TRIM_ROWS };
  while ((await store.commitSoon(() => trimLog(store, limits))) >= TRIM_ROWS);
  await store.commitSoon(() => forgetEpochs(store, nowMs - FORGET_EPOCHS_MS));
}

/** Runs `work` again and again; a failure is logged and does not end it. */
function every(ms: number, log: Log, work: () => Promise<void>): Disposable {
  const timer = setInterval(() => {
    work().catch((error: unknown) => log("error", "periodic work failed", { why: String(error) }));
  }, ms);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

const printLine: Log = (level, message, details) => {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...details })}\n`);
};
