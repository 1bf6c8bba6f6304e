// `picket-agent run`: sensor, recorder, response and uplink, wired. Nothing is decided here.
import { join } from "node:path";
import type { EventDraft } from "@picket/protocol/event";
import { createCanary } from "./canary.ts";
import { bootNowMs } from "./clock.ts";
import type { AgentConfig } from "./config.ts";
import { type Identity, readIdentity } from "./enroll/files.ts";
import { expiresMs, renewInMs } from "./enroll/validity.ts";
import { type Files, startFiles } from "./files.ts";
import { startInventory } from "./host/inventory.ts";
import { startMetrics } from "./host/metrics.ts";
import { tablesOf } from "./host/tables.ts";
import { startHostSources } from "./host-sources.ts";
import { openLocalRules } from "./local-rules.ts";
import type { Log } from "./log.ts";
import { keepSmall } from "./memory.ts";
import { startRecorder } from "./recorder.ts";
import { startRenewal } from "./renewal.ts";
import { startReport } from "./report.ts";
import { createResponse, type Response } from "./response/index.ts";
import { type Sensor, startSensor } from "./sensor.ts";
import type { Local } from "./settings/settings.ts";
import { knobs, localOf, openSiteSettings, type SiteSettings } from "./site-settings.ts";
import { splitHostPort } from "./site-tls.ts";
import { openStatusPage } from "./status-page.ts";
import { startUplink } from "./uplink/uplink.ts";
import { hostsOf, waysTo } from "./ways.ts";

const DRAIN_MS = 2000;

export type Agent = {
  /** Says why, sends what it can in two seconds, and ends. Isolation stays as it is. */
  stop(why: string): Promise<void>;
};

/** Starts the agent of an enrolled device. `explicit`: what its own configuration decides, whatever the site sets. Throws `NotEnrolled`, `BufferBusy`, or an error that names what cannot be read or written. */
export async function startAgent(config: AgentConfig, explicit: Local, log: Log): Promise<Agent> {
  const read = readIdentity(config.state);
  const { identity } = read;
  const hosts = hostsOf(identity, config.site.hosts);
  let { credentials } = read;
  const rules = openLocalRules(config.rules.local);
  const recorder = startRecorder(config, identity.device, log, rules.match);
  const { buffer, emit, epoch } = recorder;
  const files = startFiles({
    config,
    emit,
    publish: (payload) => uplink.sendSample(payload),
    eventsWaiting: () => buffer.waiting().events,
  });
  const canary = createCanary({ everyMs: config.canaryS * 1000, emit, runs: (collector) => sensor?.seesShort(collector) ?? false });
  const sources = startHostSources({ config, state: config.state, emit });
  const sensor = openSensor(
    config,
    canary.dir,
    (draft) => emit(canary.saw(draft) ? draft : sources.see(files.see(draft))),
    recorder.saw,
    log,
  );
  if (sensor) recorder.sees(bootNowMs());
  canary.start();
  const metrics = startMetrics(config.metricsS * 1000, emit);
  const inventory = config.inventory ? startInventory({ tables: tablesOf(), path: join(config.state, "inventory.json"), emit }) : undefined;
  const turn = knobs({
    ...{ metrics, canary, recorder, inventory },
    heartbeat: (ms) => {
      uplink.heartbeatEvery(ms);
      report.every(ms);
    },
  });
  const settings = openSettings({ state: config.state, identity, local: localOf(explicit, config.inventory), turn, rules, log });
  const response = await openResponse(config, { identity, hosts, packs: settings, scan: files.scan, emit, log });
  let own: ReturnType<typeof keepSmall> | undefined;
  const report = startReport({
    config,
    identity,
    recorder,
    sensor,
    canary,
    inventory,
    sources,
    files,
    response,
    own: () => own?.capability(),
    settings,
    certificateExpiresMs: () => expiresMs(credentials.cert),
    log,
  });
  const addresses = () => response?.brokerAddresses() ?? [];
  const connection = (connected: boolean, why?: string) => {
    response?.setReachable(connected);
    if (!connected) files.disconnected();
    report.connection(connected, why);
  };
  const uplink = startUplink({
    site: identity.site,
    device: identity.device,
    epoch,
    credentials: () => credentials,
    targets: () => waysTo(identity.mqtt, hosts, addresses()),
    source: buffer,
    outbox: { pending: () => response?.pendingResults() ?? [], delivered: (result) => response?.resultDelivered(result) },
    status: report.status,
    onHeartbeat: ({ epochs }) => buffer.reported(epochs),
    onCommand: (jws) => void response?.onCommand(jws),
    onPack: (pack) => void response?.onPack(pack),
    onSampleWant: files.wanted,
    onConnected: () => connection(true),
    onDisconnected: (why) => connection(false, why),
    onGarbage: (what) => log("warn", "the broker sent something that was dropped", { what }),
    heartbeatMs: config.heartbeatS * 1000,
  });
  buffer.onAvailable = uplink.wake;
  for (const outcome of (await settings?.restore()) ?? []) response?.tell(outcome);
  const stopResults = response?.onResult(() => {
    uplink.resultsChanged();
    // Isolation may have changed: the console should not wait for it.
    uplink.heartbeat();
    report.changed();
  });
  const renewal = startRenewal({
    dueInMs: () => renewInMs(credentials.cert, Date.now()),
    renew: async () => {
      // Loaded when it is needed, every few weeks: it brings an X.509 library with it.
      const { renew } = await import("./enroll/enroll.ts");
      credentials = await renew({
        dir: config.state,
        identity,
        credentials,
        nowMs: Date.now(),
        ways: waysTo(identity.https, hosts, addresses()),
      });
      log("info", "certificate renewed", { until: new Date(expiresMs(credentials.cert)).toISOString() });
      uplink.reconnect();
    },
    onFailure: (error, nextMs) => log("warn", "the certificate could not be renewed", { error: reason(error), retryS: nextMs / 1000 }),
  });
  own = keepSmall({
    limits: { cpuPercent: config.own.cpuPercent, rssBytes: config.own.rssBytes },
    onStrain: recorder.strain,
    onState: (state) => {
      log(state.level === "live" ? "info" : "warn", "the agent watches what it takes of this machine", state);
      emit({ type: "sensor.state", timeMs: Date.now(), body: { collector: "agent", ...state } });
    },
  });
  const page = await openStatusPage(config, {
    ...{ recorder, canary, log, report, settings },
    certificateExpiresMs: () => expiresMs(credentials.cert),
  });
  log("info", "agent runs", { device: identity.device, site: identity.site, broker: identity.mqtt, epoch });

  return {
    stop: async (why) => {
      await page?.[Symbol.asyncDispose]();
      for (const part of [own, renewal, canary, metrics, inventory]) part?.[Symbol.dispose]();
      sensor?.poll();
      sources[Symbol.dispose]();
      files[Symbol.dispose]();
      recorder.stop(why);
      stopResults?.();
      await uplink.stop(DRAIN_MS);
      await response?.[Symbol.asyncDispose]();
      report[Symbol.dispose]();
      // Last: the kernel takes seconds to detach programs, and the site should not wait for that to hear that we stop.
      sensor?.[Symbol.dispose]();
      buffer[Symbol.dispose]();
      log("info", "agent stopped", { why });
    },
  };
}

function openSensor(
  config: AgentConfig,
  canary: string,
  emit: (draft: EventDraft) => void,
  onCaughtUp: (atMs: number) => void,
  log: Log,
): Sensor | undefined {
  try {
    const { read: watchRead, write } = config.watch;
    const watchWrite = [...write, canary];
    return startSensor({ ignorePid: process.pid, watchRead, watchWrite, ringBytes: config.sensor.ringBytes, onCaughtUp }, emit);
  } catch (error) {
    log("error", "the sensor could not be started", { error: reason(error) });
    emit({ type: "sensor.state", timeMs: Date.now(), body: { collector: "sensor", level: "off", why: reason(error).slice(0, 512) } });
    return undefined;
  }
}

function openSettings(of: Parameters<typeof openSiteSettings>[0]): SiteSettings | undefined {
  try {
    return openSiteSettings(of);
  } catch (error) {
    of.log("error", "settings of the site cannot be taken", { error: reason(error) });
    return undefined;
  }
}

async function openResponse(
  config: AgentConfig,
  of: {
    readonly identity: Identity;
    readonly hosts: readonly string[];
    readonly packs: SiteSettings | undefined;
    readonly scan: Files["scan"];
    readonly emit: (draft: EventDraft) => void;
    readonly log: Log;
  },
): Promise<Response | undefined> {
  const { identity, hosts, packs, scan, emit, log } = of;
  try {
    return await createResponse({
      stateDir: config.state,
      site: identity.site,
      device: identity.device,
      anchor: identity.anchor,
      broker: { hosts, mqttPort: splitHostPort(identity.mqtt).port, httpsPort: splitHostPort(identity.https).port },
      keys: identity.keys,
      packs,
      scan,
      now: Date.now,
      uptimeMs: bootNowMs,
      emit,
      log: (level, text) => log(level, text),
    });
  } catch (error) {
    // Watching goes on: a device that cannot be isolated should at least be seen.
    log("error", "commands cannot be obeyed", { error: reason(error) });
    emit({ type: "sensor.state", timeMs: Date.now(), body: { collector: "response", level: "off", why: reason(error).slice(0, 512) } });
    return undefined;
  }
}

const reason = (error: unknown) => (error instanceof Error ? error.message : String(error));
