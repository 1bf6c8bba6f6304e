// What the agent says of itself: to the site with every heartbeat, and to `picket-agent status`.
import type { Capability, OnlineStatus } from "@picket/protocol/status";
import type { Canary } from "./canary.ts";
import { bootNowMs } from "./clock.ts";
import type { AgentConfig } from "./config.ts";
import type { Identity } from "./enroll/files.ts";
import type { Files } from "./files.ts";
import type { Inventory } from "./host/inventory.ts";
import { thisHost, version } from "./host.ts";
import type { HostSources } from "./host-sources.ts";
import type { Log } from "./log.ts";
import type { Recorder } from "./recorder.ts";
import type { Response } from "./response/index.ts";
import type { Sensor } from "./sensor.ts";
import type { SiteSettings } from "./site-settings.ts";
import { startTicksOf, statusPath, writeStatus } from "./status-file.ts";

type Parts = {
  readonly config: AgentConfig;
  readonly identity: Identity;
  readonly recorder: Recorder;
  readonly sensor: Sensor | undefined;
  readonly canary: Canary;
  /** Undefined where it is switched off. */
  readonly inventory: Inventory | undefined;
  readonly sources: HostSources;
  readonly files: Files;
  readonly response: Response | undefined;
  /** How it stands with the agent's own limits; undefined during the start. */
  readonly own: () => Capability | undefined;
  /** Undefined where the state folder could not be read. */
  readonly settings: SiteSettings | undefined;
  readonly certificateExpiresMs: () => number;
  readonly log: Log;
};

export type Report = Disposable & {
  status(): OnlineStatus;
  /** Whether the site is connected, and why not. */
  isConnected(): { readonly connected: boolean; readonly why: string | undefined };
  /** Notes and logs a change of the connection: one line when something changed, not one an attempt. */
  connection(connected: boolean, why?: string): void;
  /** Something that `picket-agent status` tells has changed. */
  changed(): void;
  /** From now on it is written this often. */
  every(ms: number): void;
};

/** Writes the status file now, at every change of the connection, and as often as a heartbeat. */
export function startReport(parts: Parts): Report {
  const { config, identity, log } = parts;
  const path = statusPath(config.state);
  const self = {
    pid: process.pid,
    startTicks: startTicksOf(process.pid) ?? 0,
    device: identity.device,
    site: identity.site,
    broker: identity.mqtt,
  };
  const connection: { connected: boolean; sinceMs: number; why: string | undefined } = {
    connected: false,
    sinceMs: Date.now(),
    why: undefined,
  };
  let writable = true;
  const save = () => {
    if (!writable) return;
    try {
      writeStatus(path, { ...self, ...connection, certificateExpiresMs: parts.certificateExpiresMs(), online: statusOf(parts) });
    } catch (error) {
      writable = false;
      log("warn", `${path} cannot be written: picket-agent status will not know`, { error: String(error) });
    }
  };
  let timer = setInterval(save, config.heartbeatS * 1000);
  save();
  return {
    status: () => statusOf(parts),
    isConnected: () => connection,
    connection: (connected, why) => {
      if (connected === connection.connected && why === connection.why) return;
      if (connected !== connection.connected) connection.sinceMs = Date.now();
      Object.assign(connection, { connected, why });
      if (connected) log("info", "connected", { broker: identity.mqtt });
      else log("warn", "not connected", { broker: identity.mqtt, why });
      save();
    },
    changed: save,
    every: (ms) => {
      clearInterval(timer);
      timer = setInterval(save, ms);
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

function statusOf(parts: Parts): OnlineStatus {
  const { recorder, sensor, response, settings, config } = parts;
  const { boot, arch, kernel } = thisHost();
  const { user, system } = process.cpuUsage();
  const flash = recorder.buffer.flash();
  return {
    v: 1,
    state: "online",
    timeMs: Date.now(),
    boot,
    epoch: recorder.epoch,
    version,
    arch,
    kernel,
    uptimeS: bootNowMs() / 1000,
    capabilities: capabilities(parts),
    isolation: response?.isolation() ?? { state: "off" },
    keysVersion: response?.keysVersion() ?? 0,
    produced: recorder.produced(),
    lost: { kernel: sensor?.lost().kernel ?? 0, ...recorder.lost() },
    buffer: recorder.buffer.size(),
    epochs: recorder.buffer.epochs(),
    bufferLost: { by: recorder.bufferLost(), epochs: recorder.buffer.lostByEpoch() },
    ...(flash && { flash }),
    // A sensor that looks only now and then may miss one, and that says nothing.
    ...(sensor && !sensor.seesShort("exec") && runs(sensor, "exec") ? {} : { canaryS: settings?.value("canaryS") ?? config.canaryS }),
    ...settings?.status(),
    rssBytes: process.memoryUsage.rss(),
    cpuS: (user + system) / 1e6,
  };
}

const runs = (sensor: Sensor, collector: string) =>
  sensor.capabilities().some(({ name, level }) => name === `sensor.${collector}` && level !== "off");

const noSensor: Capability = { name: "sensor", level: "off", why: "the sensor could not be started", todo: "run picket-agent check" };
const noResponse: Capability = {
  name: "isolation",
  level: "off",
  why: "the response state could not be opened",
  todo: "see the agent's log",
};

function capabilities(parts: Parts): Capability[] {
  const { recorder, sensor, canary, inventory, sources, files, response, settings, config } = parts;
  const ownUse = parts.own();
  const trouble = recorder.trouble();
  const buffer: Capability =
    trouble === undefined
      ? { name: "buffer", level: "live", why: `keeps up to ${config.buffer.maxEvents} events while the site cannot be reached` }
      : { name: "buffer", level: "degraded", why: trouble.slice(0, 512), todo: "check the disk of the state folder" };
  return [
    ...(sensor?.capabilities() ?? [noSensor]),
    canary.capability(),
    ...(inventory ? [inventory.capability()] : []),
    ...sources.capabilities(),
    response?.capability() ?? noResponse,
    buffer,
    files.capability(),
    ...(ownUse ? [ownUse] : []),
    ...(settings?.capability() ?? []),
  ].slice(0, 64);
}
