// Wires the broker: store, MQTT, ingest, feed, enrolment, devices, API and sinks. What each does is in its own folder.
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { anchorHash } from "@picket/protocol/command";
import type { SampleVerdict } from "@picket/protocol/feed";
import type { SiteStatus } from "@picket/protocol/rest";
import { startApi } from "./api/server.ts";
import { Changes } from "./changes.ts";
import type { BrokerConfig } from "./config.ts";
import { Presence, SWEEP_MS } from "./devices/presence.ts";
import { createEnrolment } from "./enroll/enroll.ts";
import { exceptionsOf } from "./exceptions.ts";
import { Feed } from "./feed/feed.ts";
import type { Given } from "./given.ts";
import { Ledger } from "./ledger/ledger.ts";
import { type MqttServer, startMqtt } from "./mqtt/server.ts";
import { Outbox } from "./outbox.ts";
import pkg from "./package.json" with { type: "json" };
import type { Log } from "./peer.ts";
import { issueDevice, keyOfCsr, readAuthority, spkiHash } from "./pki/certificates.ts";
import { identifyAny, identifyPem } from "./pki/peer.ts";
import { SiteRules } from "./rules.ts";
import { Samples } from "./samples/samples.ts";
import { Spool } from "./samples/spool.ts";
import { startSinks } from "./sinks/sinks.ts";
import { hostsForDevices, readSite } from "./site.ts";
import { siteStatus } from "./status.ts";
import { Commands } from "./store/commands.ts";
import { getDevice } from "./store/devices.ts";
import { Keys } from "./store/keys.ts";
import { shareVerdicts } from "./store/mesh-log.ts";
import { Packs } from "./store/packs.ts";
import { openStore } from "./store/schema.ts";
import { SinkQueue } from "./store/sink-queue.ts";
import { trim } from "./trim.ts";
import { Vitals } from "./vitals.ts";
import { apiDeps } from "./wire-api.ts";
import { DISK_MS, FLOOD_MS, startIntake } from "./wire-ingest.ts";
import { IOCS_MS, startIocs } from "./wire-iocs.ts";
import { startMesh } from "./wire-mesh.ts";
import { mqttHandlers } from "./wire-mqtt.ts";

/** A detector that is further behind cannot have seen what devices did last. */
const DETECTOR_LATE_MS = 30_000;
const TRIM_MS = 30_000;
/** How far the ledger may be behind the log. */
const LEDGER_MS = 1000;

export type Broker = AsyncDisposable & {
  readonly mqttPort: number;
  readonly httpsPort: number;
  status(): SiteStatus;
};

export type BrokerOptions = {
  readonly log?: Log;
  readonly nowMs?: () => number;
  /** How often silence is looked for, by the real clock. */
  readonly sweepMs?: number;
};

/** Opens the site in `config.dir` and listens. Rejects when the site, a port or a certificate cannot be used; then nothing is left running. */
export async function startBroker(config: BrokerConfig, options: BrokerOptions = {}): Promise<Broker> {
  const log = options.log ?? printLine;
  const nowMs = options.nowMs ?? Date.now;
  const site = readSite(config.dir);
  await using stack = new AsyncDisposableStack();
  const store = stack.use(openStore(join(config.dir, "site.db")));
  const parts = await assemble({ config, site, store, nowMs, log, authority: await readAuthority(site.ca) });
  stack.use(parts.sinks);
  stack.use(parts.mesh);
  stack.use(parts.intake.quotas);
  const mqtt = stack.use(
    await startMqtt({
      ...{ site: site.site, host: config.host, port: config.mqttPort, nowMs, log },
      ...{ ca: site.ca.certificate, certificate: site.broker.certificate, key: site.broker.key },
      env: process.env,
      peerCas: parts.mesh.cas().map(({ pem }) => pem),
      identify: (der) => identifyAny(parts.authority, parts.mesh.cas(), der),
      handlers: parts.handlers,
    }),
  );
  const api = stack.use(
    await startApi(parts.api, { host: config.host, port: config.httpsPort, cert: site.broker.certificate, key: site.broker.key }),
  );
  parts.listening(mqtt, api.port);
  const wake = () => {
    parts.sinks.wake();
    parts.mesh.wake();
  };
  stack.use(parts.changes.listen((change) => change.kind === "alert" && wake()));
  stack.use(every(options.sweepMs ?? SWEEP_MS, log, () => parts.presence.sweep()));
  stack.use(every(SWEEP_MS, log, () => parts.presence.sweepCanaries()));
  stack.use(every(SWEEP_MS, log, () => parts.outbox.expire()));
  stack.use(every(SWEEP_MS, log, async () => parts.samples.sweep()));
  stack.use(every(SWEEP_MS, log, () => parts.samples.forgetMemory()));
  stack.use(every(DISK_MS, log, () => parts.intake.disk.check()));
  stack.use(every(FLOOD_MS, log, () => parts.intake.sweepFloods()));
  stack.use(every(TRIM_MS, log, () => trim(store, config, nowMs())));
  stack.use(every(TRIM_MS, log, () => parts.mesh.trim()));
  stack.use(every(IOCS_MS, log, () => parts.iocs.sweep()));
  stack.use(every(LEDGER_MS, log, () => parts.ledger.flush()));
  stack.use(every(TRIM_MS, log, async () => void (await parts.ledger.trim(nowMs()))));
  log("info", "broker listens", { site: site.site, mqtt: mqtt.port, https: api.port });
  const running = stack.move();
  return {
    mqttPort: mqtt.port,
    httpsPort: api.port,
    status: parts.api.siteStatus,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function assemble(given: Given) {
  const { config, site, store, nowMs, log, authority } = given;
  const report = (error: unknown) =>
    log("error", "fault", { why: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  const changes = new Changes(report);
  const keys = new Keys(store, site);
  const commands = new Commands(store, { site: site.site, keys: () => keys.current()?.list });
  const packs = new Packs(store, { site: site.site, keys: () => keys.current()?.list, knows: (id) => getDevice(store, id) !== undefined });
  const outbox = new Outbox({ store, commands, keys, packs, changes, nowMs, log });
  const detectorIsCurrent = () => feed.connected && feed.behindMs() < DETECTOR_LATE_MS;
  const ledger = new Ledger(store);
  await ledger.recover();
  const presence = new Presence({ site: site.site, store, changes, nowMs, log, ledger, hasNetwork, detectorIsCurrent });
  const spool = new Spool(join(config.dir, "samples"));
  const samples = new Samples({ store, spool, ...config.samples, nowMs, log, arrived: () => feed.wakeFiles() });
  await samples.recover();
  const files = { read: spool.read.bind(spool), changed: () => samples.ask() };
  const judged = (verdicts: readonly SampleVerdict[], atMs: number) => shareVerdicts(store, site.site, verdicts, atMs);
  const rules = new SiteRules(store, () => packs.list());
  const iocs = startIocs(given, report);
  const feed = new Feed({
    iocs: iocs.detector,
    rules,
    store,
    changes,
    files,
    judged,
    nowMs,
    newSession: () => crypto.randomUUID(),
    report,
  });
  const exceptions = exceptionsOf({ site: site.site, store, changes, nowMs, changed: () => feed.wake() });
  const vitals = new Vitals();
  store.onCommit = (seconds) => vitals.committed(seconds);
  const intake = startIntake(given, { changes, ledger, vitals, stored: () => feed.wake(), pace: (firstMs) => feed.pace(firstMs), report });
  let mqtt: MqttServer | undefined;
  let httpsPort = config.httpsPort;
  const addressesOf = (host: string) => {
    const named = host.includes(":") ? `[${host}]` : host;
    return { https: `${named}:${httpsPort}`, mqtt: `${named}:${mqtt?.port ?? config.mqttPort}` };
  };
  const { mesh, port: meshPort } = await startMesh(given, {
    ...{ changes, report, addresses: addressesOf },
    cut: (peer, why) => mqtt?.link("site", peer)?.close(why),
    trustChanged: () => mqtt?.trust(mesh.cas().map(({ pem }) => pem)),
  });
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
    mayRenew: (device) => intake.quotas.mayRenew(device),
    addresses: () => {
      const [first, ...also] = hostsForDevices(site.hosts, config.publicHost);
      return { ...addressesOf(first), ...(also.length > 0 ? { also } : {}) };
    },
    disconnect: (device, why) => mqtt?.link("device", device)?.close(why),
    changed: (device) => changes.tell({ kind: "device", device }),
  });
  const sinks = startSinks({ site: site.site, webhooks: config.sinks, queue: new SinkQueue(store), nowMs, random: Math.random, report });
  const startedMs = nowMs();
  const status = () =>
    siteStatus(store, {
      ...{ site: site.site, version: pkg.version, startedMs, anchor: anchorHash(site.anchor) },
      ...{ keysVersion: keys.current()?.version ?? 0, detectorConnected: feed.connected, sinks: sinks.status(), nowMs: nowMs() },
    });
  const api = apiDeps(given, {
    startedMs,
    vitals,
    intake,
    enrolment,
    commands,
    keys,
    packs,
    outbox,
    exceptions,
    iocs: iocs.port,
    rules: { list: () => rules.list(nowMs()), findings: () => rules.findings(nowMs()), packsChanged: () => feed.packsChanged() },
    sinks,
    mesh: meshPort,
    ledger,
    changes,
    status,
    report,
  });
  const handlers = mqttHandlers(given, { intake, presence, outbox, feed, samples, mesh, changes, report });
  const listening = (server: MqttServer, https: number) => {
    mqtt = server;
    httpsPort = https;
  };
  return { iocs, authority, changes, intake, ledger, presence, outbox, samples, mesh, sinks, api, handlers, listening };
}

/** Whether an interface that leads out of this host is up and has a carrier: Bun lists no other. */
const hasNetwork = () => Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ internal }) => !internal));

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
