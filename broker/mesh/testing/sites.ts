// Whole sites that join each other, in this process: real brokers, real certificates, real TLS over loopback.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Alert, Detection } from "@picket/protocol/alert";
import type { MeshStatus } from "@picket/protocol/mesh";
import { clientId } from "@picket/protocol/names";
import { topic } from "@picket/protocol/topics";
import { alertId } from "@picket/protocol/uuid5";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import { BrokerConfig } from "../../config.ts";
import { type Broker, startBroker } from "../../main.ts";
import { initSite } from "../../site.ts";
import { anchor, callApi } from "../../testing/site.ts";

export type MeshSite = AsyncDisposable & {
  readonly name: string;
  readonly dir: string;
  readonly ca: string;
  /** Of the first operator. */
  readonly token: string;
  readonly broker: Broker;
  api(method: string, path: string, body?: unknown): Promise<{ status: number; json: unknown }>;
  /** The same; rejects unless it is answered with 200. */
  ask<T>(method: string, path: string, body?: unknown): Promise<T>;
  status(): Promise<MeshStatus>;
  alerts(origin?: "own" | "mesh"): Promise<Alert[]>;
  /** As the detector does it: over MQTT, in one commit. */
  raise(...detections: Detection[]): Promise<void>;
  stop(): Promise<void>;
  start(): Promise<void>;
};

export async function meshSite(name: string, given: { config?: object; nowMs?: () => number; stopped?: boolean } = {}): Promise<MeshSite> {
  const root = mkdtempSync(join(tmpdir(), "pkmesh-"));
  const dir = join(root, "site");
  const made = await initSite({
    dir,
    site: name,
    hosts: ["localhost", "127.0.0.1"],
    operator: { anchor: anchor() },
    ...(given.nowMs ? { nowMs: given.nowMs() } : {}),
  });
  const ports = { mqttPort: 0, httpsPort: 0 };
  const start = () =>
    startBroker(BrokerConfig.parse({ dir, host: "127.0.0.1", ...ports, ...given.config }), {
      log: () => {},
      ...(given.nowMs ? { nowMs: given.nowMs } : {}),
    });
  let broker: Broker | undefined = await start();
  // The address in an invitation must hold after a restart.
  Object.assign(ports, { mqttPort: broker.mqttPort, httpsPort: broker.httpsPort });
  const running = () => {
    if (!broker) throw new Error(`${name} is stopped`);
    return broker;
  };
  const api = (method: string, path: string, body?: unknown) =>
    callApi({ port: running().httpsPort, ca: made.ca, token: made.token }, method, path, body);
  const ask = async <T>(method: string, path: string, body?: unknown) => {
    const { status, json } = await api(method, path, body);
    if (status !== 200) throw new Error(`${name} ${method} ${path}: ${JSON.stringify(json)}`);
    return json as T;
  };
  const stop = async () => {
    await broker?.[Symbol.asyncDispose]();
    broker = undefined;
  };
  return {
    name,
    dir,
    ca: made.ca,
    token: made.token,
    get broker() {
      return running();
    },
    api,
    ask,
    status: () => ask<MeshStatus>("GET", "/v1/mesh"),
    alerts: async (origin) => (await ask<{ alerts: Alert[] }>("GET", `/v1/alerts?limit=1000${origin ? `&origin=${origin}` : ""}`)).alerts,
    raise: (...detections) => commitAlerts({ dir, site: name, port: running().mqttPort, ca: made.ca }, detections),
    stop,
    start: async () => {
      broker = await start();
    },
    [Symbol.asyncDispose]: async () => {
      await stop();
      rmSync(root, { recursive: true, force: true });
    },
  };
}

/** `joiner` joins with an invitation of `inviter`, and dials it from then on. */
export async function joinSites(joiner: MeshSite, inviter: MeshSite): Promise<void> {
  const { token } = await inviter.ask<{ token: string }>("POST", "/v1/mesh/invites", { host: "127.0.0.1" });
  await joiner.ask("POST", "/v1/mesh/join", { token });
}

let counter = 0;

/** A detection of a device of `site`, unlike any other unless told. */
export function detectionAt(site: string, change: Partial<Detection> = {}): Detection {
  const rule = `r${counter++}`;
  return {
    id: alertId({ site, rule, device: "gw-014", group: "", anchor: "gw-014:k3m9x0qa:0" }),
    site,
    device: "gw-014",
    timeMs: 1_700_000_000_000,
    rule: { id: rule, title: "A shell that should not be", engine: "sigma" },
    severity: "high",
    score: 60,
    attack: { tactics: ["execution"], techniques: ["T1059.004"] },
    events: ["gw-014:k3m9x0qa:0"],
    tree: [],
    summary: "sh was started",
    count: 1,
    firstMs: 1_700_000_000_000,
    lastMs: 1_700_000_000_000,
    revision: 0,
    ...change,
  };
}

/** A connection of the site's detector that has said hello. */
export async function asDetector(to: { dir: string; site: string; port: number; ca: string }) {
  const read = (file: string) => readFileSync(join(to.dir, file), "utf8");
  const client = await mqtt.connectAsync(`mqtts://127.0.0.1:${to.port}`, {
    clientId: clientId("detector", to.site),
    ...{ ca: to.ca, key: read("detector.key.pem"), cert: read("detector.crt.pem") },
    ...{ protocolVersion: 4, reconnectPeriod: 0, keepalive: 60 },
  });
  const state = Promise.withResolvers<{ session: string; cursor: number }>();
  client.on("message", (_topic, payload) => state.resolve(JSON.parse(payload.toString().split("\n", 1)[0]!)));
  await client.subscribeAsync(topic("data", to.site), { qos: 1 });
  await client.publishAsync(topic("want", to.site), JSON.stringify({ kind: "hello", credits: 1 }), { qos: 1 });
  const { session, cursor } = await state.promise;
  return {
    /** Resolves when all of it is on the broker's disk. */
    commit: async (detections: readonly Detection[], more: object = {}) => {
      const alerts = detections.map((detection) => ({ detection, group: "" }));
      const commit = { session, next: cursor, alerts, seen: [], read: 0, refused: 0, ...more };
      await client.publishAsync(topic("commit", to.site), JSON.stringify(commit), { qos: 1 });
    },
    [Symbol.asyncDispose]: () => client.endAsync(true),
  };
}

/** Commits alerts over a connection of its own. */
export async function commitAlerts(
  to: Parameters<typeof asDetector>[0],
  detections: readonly Detection[],
  more: object = {},
): Promise<void> {
  await using detector = await asDetector(to);
  await detector.commit(detections, more);
}

export type Identity = { readonly key: string; readonly certificate: string };

/** What a site shows its peers. */
export const meshIdentity = (site: Pick<MeshSite, "dir">): Identity => ({
  key: readFileSync(join(site.dir, "mesh.key.pem"), "utf8"),
  certificate: readFileSync(join(site.dir, "mesh.crt.pem"), "utf8"),
});

/** Where a broker is. */
export type Where = { readonly name: string; readonly ca: string; readonly host?: string; readonly broker: { readonly mqttPort: number } };

/** Connects to a broker as whatever the certificate says. */
export const connectAs = (to: Where, who: Identity & { clientId: string }, more: IClientOptions = {}): Promise<MqttClient> =>
  mqtt.connectAsync(
    `mqtts://${to.host ?? "localhost"}:${to.broker.mqttPort}`,
    {
      ...{ clientId: who.clientId, ca: to.ca, key: who.key, cert: who.certificate },
      ...{ protocolVersion: 4, reconnectPeriod: 0, keepalive: 30, connectTimeout: 5000 },
      ...more,
    },
    false,
  );
