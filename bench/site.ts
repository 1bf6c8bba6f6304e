// A site of its own in a temporary folder, with a real broker process and as many devices as a bench asks for.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createIdentity, readAuthority } from "../broker/pki/certificates.ts";
import { initSite } from "../broker/site.ts";
import { addCertificate, addDevice } from "../broker/store/devices.ts";
import { logTotals } from "../broker/store/log.ts";
import { openStore } from "../broker/store/schema.ts";
import { initOperator } from "../cli/operator/keys.ts";
import { routes } from "../protocol/rest.ts";
import { agentEnvironment, compileAgent } from "./agent.ts";
import { undoneAtEnd } from "./leftovers.ts";
import { type Program, start } from "./program.ts";

export const SITE = "bench";
const HOST = "127.0.0.1";
const root = new URL("..", import.meta.url).pathname;
const PICKET = [process.execPath, `${root}cli/main.ts`];

export type DeviceIdentity = { readonly name: string; readonly key: string; readonly cert: string };

export type BenchSite = Disposable & {
  /** The temporary folder: `site/`, `operator/` and whatever a bench puts there. */
  readonly root: string;
  readonly dir: string;
  readonly ca: string;
  /** First API credential. */
  readonly token: string;
  /** Enrols devices by the store itself: a bench needs their certificates, not their enrolment. Before the broker starts. */
  addDevices(names: readonly string[]): Promise<DeviceIdentity[]>;
  /** With `quotas`, one device may send what it may by default; else as much as all devices of a site. */
  startBroker(of?: { readonly quotas: boolean }): Promise<RunningBroker>;
  /** The detector of a running broker, with rule files of its own beside the shipped rules. Resolves when it follows the log. */
  startDetector(broker: RunningBroker, rules: readonly string[]): Promise<Program>;
  /** Enrols this machine over HTTPS with a real token and runs its agent, compiled. Resolves when it is connected. Needs root. */
  startAgent(broker: RunningBroker, name: string): Promise<Program>;
  /** Events in the broker's log, on disk. */
  storedEvents(): number;
};
export type RunningBroker = AsyncDisposable & { readonly pid: number; readonly mqttPort: number; readonly httpsPort: number };

/** Makes the site; disposing removes its folder. */
export async function createSite(): Promise<BenchSite> {
  const folder = mkdtempSync(join(tmpdir(), "pkbench-"));
  // A broker that was told to end a moment ago may still write here.
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  const removed = undoneAtEnd(remove);
  const dir = join(folder, "site");
  const operator = await initOperator({ home: join(folder, "operator"), site: SITE, name: "bench" });
  const made = await initSite({ dir, site: SITE, hosts: [HOST, "localhost"], operator: operator.public });
  return {
    root: folder,
    dir,
    ca: made.ca,
    token: made.token,
    addDevices: (names) => addDevices(dir, names),
    startBroker: (of) => startBroker(folder, dir, of?.quotas ?? false),
    startDetector: (broker, rules) => startDetector({ folder, dir, port: broker.mqttPort, rules }),
    startAgent: (broker, name) => startAgent({ folder, name, token: () => createToken(broker, made) }),
    storedEvents: () => {
      using store = openStore(join(dir, "site.db"));
      return logTotals(store).events;
    },
    [Symbol.dispose]: () => {
      remove();
      removed();
    },
  };
}

/** Enrols devices by the store of the site in `dir`, whose broker must not run. */
export async function addDevices(dir: string, names: readonly string[]): Promise<DeviceIdentity[]> {
  const read = (file: string) => readFileSync(join(dir, file), "utf8");
  const authority = await readAuthority({ key: read("ca.key.pem"), certificate: read("ca.crt.pem") });
  const nowMs = Date.now();
  const made = await Promise.all(
    names.map(async (name) => ({ name, ...(await createIdentity(authority, { name, role: "device", nowMs })) })),
  );
  using store = openStore(join(dir, "site.db"));
  store.commitNow(() => {
    for (const { name, serial, notAfterMs } of made) {
      addDevice(store, name, nowMs);
      addCertificate(store, { serial, role: "device", name, issuedMs: nowMs, notAfterMs });
    }
  });
  return made.map(({ name, key, certificate }) => ({ name, key, cert: certificate }));
}

async function startBroker(folder: string, dir: string, quotas: boolean): Promise<RunningBroker> {
  const config = join(folder, "site.toml");
  // A few senders make the load of a whole site: what one device may send is not what is measured.
  const quota = quotas ? "" : "[broker.quota]\nmessagesPerS = 1e9\neventsPerS = 1e12\nbytesPerS = 1e12\nconnectionsPerMinute = 1e6\n";
  writeFileSync(config, `[broker]\ndir = ${JSON.stringify(dir)}\nhost = "${HOST}"\nmqttPort = 0\nhttpsPort = 0\n${quota}`);
  const program = start([...PICKET, "broker", "--config", config]);
  const { mqtt, https } = JSON.parse(await program.line(/"broker listens"/)) as { mqtt: number; https: number };
  return { pid: program.pid, mqttPort: mqtt, httpsPort: https, [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
}

async function startDetector(of: { folder: string; dir: string; port: number; rules: readonly string[] }): Promise<Program> {
  const config = join(of.folder, "detector.toml");
  writeFileSync(config, `[detector]\ndir = ${JSON.stringify(of.dir)}\nport = ${of.port}\nrules = ${JSON.stringify(of.rules)}\n`);
  const program = start([...PICKET, "detector", "--config", config]);
  await program.line(/following the broker/);
  return program;
}

async function createToken(broker: RunningBroker, access: { ca: string; token: string }): Promise<string> {
  const response = await fetch(`https://${HOST}:${broker.httpsPort}${routes.createToken.path}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${access.token}` },
    body: "{}",
    tls: { ca: access.ca },
  });
  if (!response.ok) throw new Error(`no token: the API answered ${response.status} ${await response.text()}`);
  return routes.createToken.response.parse(await response.json()).token;
}

async function startAgent(of: { folder: string; name: string; token: () => Promise<string> }): Promise<Program> {
  const state = join(of.folder, of.name);
  const agent = compileAgent(of.folder);
  const file = join(of.folder, `${of.name}.token`);
  writeFileSync(file, await of.token(), { mode: 0o600 });
  const enrolled = Bun.spawnSync([agent, "--state", state, "enroll", "--name", of.name, "--token-file", file], { stderr: "pipe" });
  if (enrolled.exitCode !== 0) throw new Error(`enrolment failed: ${enrolled.stderr.toString()}`);
  const program = start([agent, "--state", state, "run"], { env: agentEnvironment() });
  await program.line(/"connected"/);
  return program;
}
