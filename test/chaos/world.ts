// A site, its devices and the wire between them, on hosts of their own: real programs, real certificates, disks that can be filled.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeIdentity } from "../../agent/enroll/files.ts";
import { addDevices } from "../../bench/site.ts";
import { initSite } from "../../broker/site.ts";
import { initOperator } from "../../cli/operator/keys.ts";
import { type Clock, createClock, fakeTime } from "./clock.ts";
import { type Deeds, startDeeds } from "./deeds.ts";
import { createDisk, type Disk } from "./disk.ts";
import type { FleetFile } from "./fleet.ts";
import { createNetwork, type Network } from "./network.ts";
import type { World as PlanWorld } from "./plan.ts";
import { type Supervised, supervise } from "./programs.ts";
import type { WireOrder } from "./proxy.ts";
import { habitOf, siteRule } from "./workload.ts";

const SITE = "chaos";
const PER_FLEET = 5;
const MQTT_PORT = 8883;
const SITE_DISK_MB = 256;
const FLEET_DISK_MB = 48;
const RUN_DISK_MB = 64;
export const AGENT = "real";

const root = new URL("../..", import.meta.url).pathname;
const PICKET = [process.execPath, `${root}cli/main.ts`];

export type SimulatedDevice = { readonly name: string; readonly fleet: string; readonly diary: string };

export type World = AsyncDisposable & {
  readonly dir: string;
  /** The site's directory, with its database. */
  readonly site: string;
  readonly network: Network;
  readonly programs: ReadonlyMap<string, Supervised>;
  readonly disks: ReadonlyMap<string, Disk>;
  readonly clocks: ReadonlyMap<string, Clock>;
  readonly devices: readonly SimulatedDevice[];
  readonly plan: PlanWorld;
  /** What the real agent is to see; undefined where there is none. */
  readonly deeds: Deeds | undefined;
  order(order: WireOrder): void;
};

/** Makes it all and starts it; disposing ends and removes it all. Needs root. */
export async function createWorld(of: { readonly devices: number; readonly agent: boolean }): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const dir = mkdtempSync(join(tmpdir(), "picket-chaos-"));
  stack.defer(() => rmSync(dir, { recursive: true, force: true }));
  const fleets = Array.from({ length: Math.ceil(of.devices / PER_FLEET) }, (_, at) => `fleet-${at}`);
  const network = stack.use(createNetwork(["broker", "wire", "agent", ...fleets]));
  const disks = new Map(
    ["broker", ...fleets].map((host) => [host, stack.use(createDisk(join(dir, host), host === "broker" ? SITE_DISK_MB : FLEET_DISK_MB))]),
  );
  // What agents keep in memory, outside of their process.
  const memory = stack.use(createDisk(join(dir, "run"), RUN_DISK_MB)).path;
  for (const name of ["diary", "clock", "rules"]) mkdirSync(join(dir, name));
  const library = fakeTime();
  const clocks = new Map(
    library === undefined ? [] : ["broker", ...fleets].map((name) => [name, createClock(join(dir, "clock", name), library)]),
  );

  const site = join(dir, "broker", "site");
  const devices = Array.from({ length: of.devices }, (_, at) => ({
    name: `gw-${at}`,
    fleet: fleets[Math.floor(at / PER_FLEET)]!,
    diary: join(dir, "diary", `gw-${at}`),
  }));
  const stateOf = await enrol({ dir, site, network, devices });
  writeFileSync(join(dir, "rules", "mark.yml"), siteRule);
  const config = writeConfig(dir, site, network);
  for (const [at, fleet] of fleets.entries()) {
    const of = devices
      .filter((device) => device.fleet === fleet)
      .map((device, nth) => ({ ...device, state: stateOf(device.name), habit: habitOf(at * PER_FLEET + nth) }));
    writeFileSync(join(dir, `${fleet}.json`), JSON.stringify({ via: network.addressOf("wire"), devices: of } satisfies FleetFile));
  }

  const programs = new Map<string, Supervised>();
  let deeds: Deeds | undefined;
  const run = (name: string, host: string, argv: readonly string[], ready: RegExp) =>
    programs.set(
      name,
      stack.use(
        supervise({ name, argv: network.on(host, [...inRoom(join(memory, name)), ...(clocks.get(name)?.on(argv) ?? argv)]), ready }),
      ),
    );
  run("broker", "broker", [...PICKET, "broker", "--config", config], /broker listens/);
  const wire = stack.use(createWire(network));
  run("detector", "broker", [...PICKET, "detector", "--config", config], /following the broker/);
  for (const fleet of fleets)
    run(fleet, fleet, [process.execPath, `${root}test/chaos/fleet.ts`, join(dir, `${fleet}.json`)], /^fleet runs$/);
  if (of.agent) {
    const config = writeAgentConfig(dir, stateOf(AGENT));
    run("agent", "agent", [process.execPath, `${root}agent/main.ts`, "--config", config, "run"], /"connected"/);
    deeds = stack.use(await startDeeds({ dir, tag: network.tag, agent: programs.get("agent")! }));
  }
  const owned = stack.move();
  return {
    ...{ dir, site, network, programs, disks, clocks, devices, deeds },
    plan: { fleets: fleets.length, agent: of.agent, clocks: library !== undefined },
    order: wire.order,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** In a mount namespace of its own, what a program leaves in /run and /dev/shm stays there, and survives only what the world survives. */
function inRoom(run: string): string[] {
  mkdirSync(run);
  return [
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount --bind "$1" /run && mount -t tmpfs -o size=16m picket-chaos /dev/shm && shift && exec "$@"',
    "sh",
    run,
  ];
}

/** Makes the site and gives everybody a certificate. Returns where a device's state is. */
async function enrol(of: {
  dir: string;
  site: string;
  network: Network;
  devices: readonly SimulatedDevice[];
}): Promise<(name: string) => string> {
  const { dir, site, network, devices } = of;
  const address = network.addressOf("broker");
  const operator = await initOperator({ home: join(dir, "operator"), site: SITE, name: "chaos" });
  const { ca } = await initSite({ dir: site, site: SITE, hosts: [address], operator: operator.public });
  const fleetOf = new Map(devices.map(({ name, fleet }) => [name, fleet]));
  const stateOf = (name: string) => join(dir, fleetOf.get(name) ?? "agent-state", name);
  for (const { name, key, cert } of await addDevices(site, [...devices.map(({ name }) => name), AGENT])) {
    const identity = {
      device: name,
      site: SITE,
      https: `${address}:8443`,
      mqtt: `${address}:${MQTT_PORT}`,
      anchor: operator.public.anchor,
    };
    writeIdentity(stateOf(name), { ...identity, keys: operator.public.keys }, { key, cert, ca });
  }
  return stateOf;
}

/** The models are left out: what they say of random names is not to be foretold. */
function writeConfig(dir: string, site: string, network: Network): string {
  const path = join(dir, "site.toml");
  const quoted = JSON.stringify(site);
  writeFileSync(
    path,
    `[broker]\ndir = ${quoted}\nhost = "${network.addressOf("broker")}"\n[detector]\ndir = ${quoted}\nrules = [${JSON.stringify(join(dir, "rules"))}]\nscan = false\n[detector.models]\ncmdline = false\nbehaviour = false\n`,
  );
  return path;
}

/** The real agent sees the whole machine: what others do here is not our business, as far as it can be left out. */
function writeAgentConfig(dir: string, state: string): string {
  const path = join(dir, "agent.toml");
  writeFileSync(
    path,
    `state = ${JSON.stringify(state)}\nlog = "info"\nheartbeatS = 5\ninventory = false\n[watch]\nread = []\nwrite = []\n[logs]\nsource = "off"\n[integrity]\npaths = []\n[samples]\nhash = false\nsend = false\n`,
  );
  return path;
}

function createWire(network: Network): AsyncDisposable & { order(order: WireOrder): void } {
  const argv = [process.execPath, `${root}test/chaos/proxy.ts`, network.addressOf("wire"), network.addressOf("broker"), String(MQTT_PORT)];
  const child = Bun.spawn(network.on("wire", argv), { stdin: "pipe", stdout: "ignore", stderr: "inherit" });
  return {
    order: (order) => {
      child.stdin.write(`${JSON.stringify(order)}\n`);
      child.stdin.flush();
    },
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
