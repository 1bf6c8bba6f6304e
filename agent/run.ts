// `picket-agent run`: sensor, rules, buffer, uplink and response, wired. Nothing is decided here.
import { join } from "node:path";
import type { EventDraft } from "@picket/protocol/event";
import type { Capability, OnlineStatus } from "@picket/protocol/status";
import { EventBuffer } from "./buffer/buffer.ts";
import { bootNowMs } from "./clock.ts";
import type { AgentConfig } from "./config.ts";
import { readIdentity } from "./enroll/files.ts";
import { expiresMs, renewInMs } from "./enroll/validity.ts";
import { thisHost, version } from "./host.ts";
import { localRules } from "./local-rules.ts";
import type { Log } from "./log.ts";
import { keepSmall } from "./memory.ts";
import { createPipeline } from "./pipeline.ts";
import { startRenewal } from "./renewal.ts";
import { createResponse, type Response } from "./response/index.ts";
import { type Sensor, startSensor } from "./sensor.ts";
import { createShedder } from "./shed.ts";
import { splitHostPort } from "./site-tls.ts";
import { createStamp, newEpoch } from "./stamp.ts";
import { type AgentStatus, startTicksOf, statusPath, writeStatus } from "./status-file.ts";
import { startUplink, type Uplink } from "./uplink/uplink.ts";

/** How often counted loss becomes an event. */
const LOSS_EVERY_MS = 1000;
const DRAIN_MS = 2000;

export type Agent = {
  /** Says why, sends what it can in two seconds, and ends. Isolation stays as it is. */
  stop(why: string): Promise<void>;
};

/** Starts the agent of an enrolled device. Throws `NotEnrolled`, `BufferBusy`, or an error that names what cannot be read or written. */
export async function startAgent(config: AgentConfig, log: Log): Promise<Agent> {
  const read = readIdentity(config.state);
  const { identity } = read;
  let { credentials } = read;
  const host = thisHost();
  const epoch = newEpoch();
  let trouble: string | undefined;
  const buffer = new EventBuffer({
    path: join(config.state, "buffer.db"),
    ...config.buffer,
    epoch: { epoch, boot: host.boot, device: identity.device },
    onTrouble,
  });
  const stamp = createStamp(identity.device, epoch);
  const lost = { shed: 0, buffer: 0 };
  const pipeline = createPipeline({
    stamp,
    match: config.rules.local ? localRules() : () => [],
    keeps: createShedder(config.eventsPerS, () => performance.now()),
    sink: (event) => buffer.append(event),
    onFailure: (error, draft) => log("error", "an event could not be taken", { type: draft.type, error: String(error) }),
  });
  const { emit } = pipeline;
  emit({ type: "agent.start", timeMs: Date.now(), body: { version, bootId: host.boot, arch: host.arch, kernel: host.kernel } });

  const sensor = startSensorSafely(config, emit, log);
  const broker = splitHostPort(identity.mqtt);
  let uplink: Uplink | undefined;
  const response = await openResponse();
  const countLoss = () => {
    for (const [where, count] of [
      ["shed", pipeline.takeShed()],
      ["buffer", buffer.takeEvicted()],
    ] as const) {
      lost[where] += count;
      if (count > 0) emit({ type: "sensor.lost", timeMs: Date.now(), body: { collector: "agent", count, where } });
    }
  };
  const connection = { connected: false, sinceMs: Date.now(), why: undefined as string | undefined };
  const path = statusPath(config.state);
  const self = { pid: process.pid, startTicks: startTicksOf(process.pid) ?? 0 };

  uplink = startUplink({
    site: identity.site,
    device: identity.device,
    epoch,
    credentials: () => credentials,
    target: () => ({ ...broker, addresses: response?.brokerAddresses() ?? [] }),
    source: buffer,
    outbox: { pending: () => response?.pendingResults() ?? [], delivered: (result) => response?.resultDelivered(result) },
    status,
    onHeartbeat: ({ epochs }) => buffer.reported(epochs),
    onCommand: (jws) => void response?.onCommand(jws),
    onPack: (pack) => void response?.onPack(pack),
    onConnected: () => changed(true),
    onDisconnected: (why) => changed(false, why),
    onGarbage: (what) => log("warn", "the broker sent something that was dropped", { what }),
    heartbeatMs: config.heartbeatS * 1000,
  });
  buffer.onAvailable = uplink.wake;
  const stopResults = response?.onResult(() => uplink.resultsChanged());
  const renewal = startRenewal({
    dueInMs: () => renewInMs(credentials.cert, Date.now()),
    renew: async () => {
      // Loaded when it is needed, every few weeks: it brings an X.509 library with it.
      const { renew } = await import("./enroll/enroll.ts");
      credentials = await renew({ dir: config.state, identity, credentials, nowMs: Date.now(), via: response?.brokerAddresses()[0] });
      log("info", "certificate renewed", { until: new Date(expiresMs(credentials.cert)).toISOString() });
      uplink.reconnect();
    },
    onFailure: (error, nextMs) => log("warn", "the certificate could not be renewed", { error: message(error), retryS: nextMs / 1000 }),
  });
  const memory = keepSmall();
  const losses = setInterval(countLoss, LOSS_EVERY_MS);
  const statuses = setInterval(saveStatus, config.heartbeatS * 1000);
  saveStatus();
  log("info", "agent runs", { device: identity.device, site: identity.site, broker: identity.mqtt, epoch });

  return {
    stop: async (why) => {
      for (const timer of [losses, statuses]) clearInterval(timer);
      memory[Symbol.dispose]();
      renewal[Symbol.dispose]();
      sensor?.poll();
      sensor?.[Symbol.dispose]();
      countLoss();
      emit({ type: "agent.stop", timeMs: Date.now(), body: { why } });
      buffer.flush();
      stopResults?.();
      await uplink.stop(DRAIN_MS);
      await response?.[Symbol.asyncDispose]();
      buffer[Symbol.dispose]();
      log("info", "agent stopped", { why });
    },
  };

  function onTrouble(why: string | undefined): void {
    trouble = why;
    log(why === undefined ? "info" : "error", why === undefined ? "the buffer works again" : `buffer: ${why}`);
    const body = {
      collector: "buffer",
      level: why === undefined ? ("live" as const) : ("degraded" as const),
      why: (why ?? "works again").slice(0, 512),
    };
    // Later: the buffer reports damage while it is being opened, before there is anything to number events with.
    queueMicrotask(() => emit({ type: "sensor.state", timeMs: Date.now(), body }));
  }

  async function openResponse(): Promise<Response | undefined> {
    try {
      return await createResponse({
        stateDir: config.state,
        site: identity.site,
        device: identity.device,
        anchor: identity.anchor,
        broker: { host: broker.host, mqttPort: broker.port, httpsPort: splitHostPort(identity.https).port },
        keys: identity.keys,
        now: Date.now,
        uptimeMs: bootNowMs,
        bootId: host.boot,
        emit,
        log: (level, text) => log(level, text),
      });
    } catch (error) {
      // Watching goes on: a device that cannot be isolated should at least be seen.
      log("error", "commands cannot be obeyed", { error: message(error) });
      emit({ type: "sensor.state", timeMs: Date.now(), body: { collector: "response", level: "off", why: message(error).slice(0, 512) } });
      return undefined;
    }
  }

  function capabilities(): Capability[] {
    const own: Capability[] = [
      trouble === undefined
        ? { name: "buffer", level: "live", why: `keeps up to ${config.buffer.maxEvents} events while the site cannot be reached` }
        : { name: "buffer", level: "degraded", why: trouble.slice(0, 512), todo: "check the disk of the state folder" },
    ];
    const answer: Capability = response?.capability() ?? {
      name: "isolation",
      level: "off",
      why: "the response state could not be opened",
      todo: "see the agent's log",
    };
    return [
      ...(sensor?.capabilities() ?? [
        { name: "sensor", level: "off", why: "the sensor could not be started", todo: "run picket-agent check" } as const,
      ]),
      answer,
      ...own,
    ].slice(0, 64);
  }

  function status(): OnlineStatus {
    return {
      v: 1,
      state: "online",
      timeMs: Date.now(),
      boot: host.boot,
      epoch,
      version,
      arch: host.arch,
      kernel: host.kernel,
      uptimeS: bootNowMs() / 1000,
      capabilities: capabilities(),
      isolation: response?.isolation() ?? { state: "off" },
      keysVersion: response?.keysVersion() ?? 0,
      produced: stamp.next,
      lost: { kernel: sensor?.lost().kernel ?? 0, ...lost },
      buffer: buffer.size(),
      epochs: buffer.epochs(),
      rssBytes: process.memoryUsage.rss(),
      cpuS: cpuSeconds(),
    };
  }

  function saveStatus(): void {
    const told: AgentStatus = {
      ...self,
      device: identity.device,
      site: identity.site,
      broker: identity.mqtt,
      ...connection,
      certificateExpiresMs: expiresMs(credentials.cert),
      online: status(),
    };
    try {
      writeStatus(path, told);
    } catch (error) {
      log("warn", `${path} cannot be written: picket-agent status will not know`, { error: message(error) });
      clearInterval(statuses);
    }
  }

  function changed(connected: boolean, why?: string): void {
    const news = connected !== connection.connected || why !== connection.why;
    if (connected !== connection.connected) connection.sinceMs = Date.now();
    Object.assign(connection, { connected, why });
    response?.setReachable(connected);
    // One line when something changed, not one an attempt.
    if (!news) return;
    if (connected) log("info", "connected", { broker: identity.mqtt });
    else log("warn", "not connected", { broker: identity.mqtt, why });
    saveStatus();
  }
}

function startSensorSafely(config: AgentConfig, emit: (draft: EventDraft) => void, log: Log): Sensor | undefined {
  try {
    return startSensor(
      { ignorePid: process.pid, watchRead: config.watch.read, watchWrite: config.watch.write, ringBytes: config.sensor.ringBytes },
      emit,
    );
  } catch (error) {
    log("error", "the sensor could not be started", { error: message(error) });
    emit({ type: "sensor.state", timeMs: Date.now(), body: { collector: "sensor", level: "off", why: message(error).slice(0, 512) } });
    return undefined;
  }
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

const message = (error: unknown) => (error instanceof Error ? error.message : String(error));
