// A real site for tests: real certificates, real TLS, real SQLite, ports picked by the system.
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeBatch } from "@picket/protocol/batch";
import type { Anchor, PublicKey } from "@picket/protocol/command";
import { parseToken } from "@picket/protocol/enroll";
import type { SensorEvent } from "@picket/protocol/event";
import { clientId, type Role } from "@picket/protocol/names";
import type { OnlineStatus } from "@picket/protocol/status";
import { topic } from "@picket/protocol/topics";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import { BrokerConfig } from "../config.ts";
import { type Broker, startBroker } from "../main.ts";
import { Pkcs10CertificateRequestGenerator } from "../pki/x509.ts";
import { initSite } from "../site.ts";

export const SITE = "yard";

export function anchor(): Anchor {
  const key = () => generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }) as PublicKey & { [name: string]: unknown };
  const strip = ({ kty, crv, x }: PublicKey): PublicKey => ({ kty, crv, x });
  return { root: strip(key()), recovery: strip(key()) };
}

export type TestSite = AsyncDisposable & {
  readonly dir: string;
  readonly broker: Broker;
  readonly token: string;
  readonly ca: string;
  /** Calls the API with the first operator's credential. */
  api(method: string, path: string, body?: unknown): Promise<{ status: number; json: unknown }>;
  restart(): Promise<void>;
};

/** Makes a site in a temporary directory and starts its broker in this process. */
export async function testSite(
  given: { nowMs?: () => number; sweepMs?: number; config?: object; anchor?: Anchor } = {},
): Promise<TestSite> {
  const root = mkdtempSync(join(tmpdir(), "pkbrk-"));
  const dir = join(root, "site");
  const made = await initSite({ dir, site: SITE, hosts: ["localhost", "127.0.0.1"], operator: { anchor: given.anchor ?? anchor() } });
  const start = () =>
    startBroker(BrokerConfig.parse({ dir, host: "127.0.0.1", mqttPort: 0, httpsPort: 0, ...given.config }), {
      log: () => {},
      ...(given.nowMs ? { nowMs: given.nowMs } : {}),
      ...(given.sweepMs ? { sweepMs: given.sweepMs } : {}),
    });
  let broker = await start();
  return {
    dir,
    get broker() {
      return broker;
    },
    token: made.token,
    ca: made.ca,
    api: (method, path, body) => callApi({ port: broker.httpsPort, ca: made.ca, token: made.token }, method, path, body),
    restart: async () => {
      await broker[Symbol.asyncDispose]();
      broker = await start();
    },
    [Symbol.asyncDispose]: async () => {
      await broker[Symbol.asyncDispose]();
      rmSync(root, { recursive: true, force: true });
    },
  };
}

export async function callApi(
  to: { port: number; ca: string; token?: string },
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; json: unknown }> {
  const response = await fetch(`https://localhost:${to.port}${path}`, {
    method,
    headers: { "content-type": "application/json", ...(to.token ? { authorization: `Bearer ${to.token}` } : {}) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    tls: { ca: to.ca },
  });
  return { status: response.status, json: await response.json() };
}

export type Credentials = { readonly role: Role; readonly name: string; readonly key: string; readonly cert: string };

/** A key pair and a CSR, as an agent makes them. `subject` lets a test wish for what it must not get. */
export async function makeCsr(subject = "CN=wish"): Promise<{ csr: string; keys: CryptoKeyPair; key: string }> {
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  const csr = await Pkcs10CertificateRequestGenerator.create({ name: subject, keys, signingAlgorithm: { name: "ECDSA", hash: "SHA-256" } });
  const der = Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  return { csr: csr.toString("pem"), keys, key: `-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n` };
}

export type Enrolled = Credentials & { readonly keys: CryptoKeyPair };

/** Enrols a device over HTTPS with a real token. */
export async function enrol(site: TestSite, name: string): Promise<Enrolled> {
  const made = (await site.api("POST", "/v1/tokens", { uses: 1 })).json as { token: string };
  const { csr, key, keys } = await makeCsr();
  const secret = parseToken(made.token).secret;
  const { status, json } = await callApi({ port: site.broker.httpsPort, ca: site.ca }, "POST", "/v1/enroll", { secret, csr, name });
  if (status !== 200) throw new Error(`enrolment failed: ${JSON.stringify(json)}`);
  const answer = json as { device: string; certificate: string };
  return { role: "device", name: answer.device, key, cert: answer.certificate, keys };
}

export const urlOf = (port: number) => `mqtts://localhost:${port}`;

/** Options of a well-behaved client; a test changes what it wants to be wrong. */
export const optionsOf = (site: { ca: string }, who: Credentials): IClientOptions => ({
  clientId: clientId(who.role, who.name),
  ca: site.ca,
  key: who.key,
  cert: who.cert,
  protocolVersion: 4,
  reconnectPeriod: 0,
  keepalive: 30,
  connectTimeout: 5000,
});

/** Connects, or rejects with why not. */
export async function connect(site: TestSite, who: Credentials, changes: IClientOptions = {}): Promise<MqttClient> {
  return mqtt.connectAsync(urlOf(site.broker.mqttPort), { ...optionsOf(site, who), ...changes }, false);
}

/** Resolves when the connection of `client` ends. */
export const closed = (client: MqttClient): Promise<void> =>
  new Promise((resolve) => {
    if (!client.connected && !client.reconnecting) return resolve();
    client.on("error", () => {});
    client.once("close", () => resolve());
  });

export const mine = (who: { name: string }, name: "events" | "status" | "result" | "cmd" | "pack") => topic(name, SITE, who.name);

/** Polls until `look` gives something, for at most 30 s. */
export async function until<T>(look: () => T | Promise<T>, what = "the condition"): Promise<NonNullable<T>> {
  const end = Date.now() + 30_000;
  for (;;) {
    const value = await look();
    if (value) return value as NonNullable<T>;
    if (Date.now() > end) throw new Error(`${what} did not come true within 30 s`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export const BOOT = "11111111-2222-4333-8444-555555555555";

export function makeEvents(device: string, epoch: string, first: number, count: number): SensorEvent[] {
  return Array.from({ length: count }, (_, at) => ({
    v: 1 as const,
    device,
    epoch,
    seq: first + at,
    timeMs: 1_700_000_000_000 + (first + at) * 10,
    type: "log.line" as const,
    body: { source: "test", message: `line ${first + at}` },
  }));
}

export const makeBatch = (device: string, epoch: string, first: number, count: number, oldest = 0): Buffer =>
  Buffer.from(encodeBatch({ boot: BOOT, oldest, events: makeEvents(device, epoch, first, count) }));

export const makeStatus = (epoch: string, changes: Partial<OnlineStatus> = {}): OnlineStatus => ({
  v: 1,
  state: "online",
  timeMs: 1_700_000_000_000,
  boot: BOOT,
  epoch,
  version: "0.1.0",
  arch: "x64",
  kernel: "6.18",
  uptimeS: 1,
  capabilities: [],
  isolation: { state: "off" },
  keysVersion: 0,
  produced: 0,
  lost: { kernel: 0, shed: 0, buffer: 0 },
  buffer: { events: 0, bytes: 0 },
  epochs: [],
  rssBytes: 1,
  cpuS: 0,
  ...changes,
});
