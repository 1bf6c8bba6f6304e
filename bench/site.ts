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
import { type Program, start } from "./program.ts";

export const SITE = "bench";
const HOST = "127.0.0.1";
const root = new URL("..", import.meta.url).pathname;

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
  startBroker(): Promise<RunningBroker>;
  /** Events in the broker's log, on disk. */
  storedEvents(): number;
};
export type RunningBroker = AsyncDisposable & { readonly pid: number; readonly mqttPort: number; readonly httpsPort: number };

/** Makes the site; disposing removes its folder. */
export async function createSite(): Promise<BenchSite> {
  const folder = mkdtempSync(join(tmpdir(), "pkbench-"));
  const dir = join(folder, "site");
  const operator = await initOperator({ home: join(folder, "operator"), site: SITE, name: "bench" });
  const made = await initSite({ dir, site: SITE, hosts: [HOST, "localhost"], operator: operator.public });
  return {
    root: folder,
    dir,
    ca: made.ca,
    token: made.token,
    addDevices: (names) => addDevices(dir, names),
    startBroker: () => startBroker(folder, dir),
    storedEvents: () => {
      using store = openStore(join(dir, "site.db"));
      return logTotals(store).events;
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

async function addDevices(dir: string, names: readonly string[]): Promise<DeviceIdentity[]> {
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

async function startBroker(folder: string, dir: string): Promise<RunningBroker> {
  const config = join(folder, "site.toml");
  writeFileSync(config, `[broker]\ndir = ${JSON.stringify(dir)}\nhost = "${HOST}"\nmqttPort = 0\nhttpsPort = 0\n`);
  const program: Program = start([process.execPath, `${root}cli/main.ts`, "broker", "--config", config]);
  const { mqtt, https } = JSON.parse(await program.line(/"broker listens"/)) as { mqtt: number; https: number };
  return { pid: program.pid, mqttPort: mqtt, httpsPort: https, [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
}
