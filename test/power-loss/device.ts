// A device that loses its power: the agent in a machine, its site here. The site must be able to tell what became of every number the device gave.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeIdentity } from "../../agent/enroll/files.ts";
import { addDevices } from "../../bench/site.ts";
import { initSite } from "../../broker/site.ts";
import { initOperator } from "../../cli/operator/keys.ts";
import { seeded } from "../../protocol/seeded.ts";
import { type Books, readBooks } from "../chaos/books.ts";
import { heldBy } from "../chaos/held.ts";
import type { Row } from "../chaos/sheet.ts";
import { type Program, start } from "../e2e/program.ts";
import { accountDevice, type Cost, type DeviceCut, deedsIn } from "./balance.ts";
import { openDisk } from "./disk.ts";
import { freePort, guestCommand, socketIn, until } from "./guest.ts";
import { makeImage, readDisk, siteIn, stateIn } from "./image.ts";
import { type Machine, startMachine } from "./machine.ts";
import { serveDisk } from "./nbd.ts";
import type { Wishes } from "./site.ts";

const DISK_BYTES = 64 << 20;
/** So many deeds that the site has heard of after each start, and then the power may fail. */
const TOLD = 15;
const CUT_WITHIN_MS = 3000;
/** Then it fails when so many writes are not flushed, at most. */
const MOST_UNFLUSHED = 3;
const CALM_MS = 300_000;
const SETTLE_MS = 60_000;
const DEVICE = "device";

const root = new URL("../..", import.meta.url).pathname;

export type Durability = "balanced" | "strict";
export type DeviceResult = {
  readonly durability: Durability;
  readonly cuts: readonly DeviceCut[];
  readonly costs: readonly Cost[];
  readonly row: Row;
  readonly differences: readonly string[];
};

/** Cuts the power of a device `rounds` times, starts it once more, and draws the balance. Throws when it does not start again, or its site never hears of it. */
export async function cutDevice(durability: Durability, wishes: Wishes): Promise<DeviceResult> {
  const { rounds, seed, tell, signal } = wishes;
  const random = seeded(seed);
  await using world = await createWorld(durability, wishes);
  const { site, broker, server } = world;
  const told = (boot: string, count: number) =>
    until(`${count} deeds are told`, CALM_MS, signal, () => deedsIn(readBooks(site), boot).size >= count);
  const cuts: DeviceCut[] = [];
  for (let round = 1; round <= rounds; round++) {
    const { machine, startMs } = await world.start();
    await using _ = machine;
    const boot = bootOf(machine);
    await told(boot, TOLD);
    // Half of the time the site is deaf before: then the device keeps all it has for itself.
    const isDeaf = random() < 0.5;
    using _deaf = isDeaf ? pause(broker) : undefined;
    await Bun.sleep((isDeaf ? 1000 : 0) + random() * CUT_WITHIN_MS);
    const lost = await server.cutAt(1 + Math.floor(random() * MOST_UNFLUSHED), CUT_WITHIN_MS, random);
    await machine.off();
    const onDisk = await world.look(heldBy);
    cuts.push({ boot, startMs, isDeaf, disk: lost, deeds: machine.reports("deed").map(parseDeed), onDisk });
    tell(`cut ${round} of ${rounds}`);
  }
  const { machine } = await world.start();
  await using _ = machine;
  await machine.reported("done", CALM_MS);
  const boot = bootOf(machine);
  await told(boot, 1);
  await told(boot, machine.reports("deed").length - Math.min(...deedsIn(readBooks(site), boot).keys()));
  const books = await settled(site, signal);
  return { durability, cuts, ...accountDevice({ device: DEVICE, durability, cuts }, books) };
}

/** The machine, off, its disk with the state of a device on it, and the site, which is there. Disposing ends and removes it all. */
async function createWorld(durability: Durability, { lies, signal, tell }: Wishes) {
  await using stack = new AsyncDisposableStack();
  const dir = mkdtempSync(join(tmpdir(), "picket-power-device-"));
  stack.defer(() => rmSync(dir, { recursive: true, force: true }));
  tell(`works in ${dir}`);
  const port = freePort();
  const site = await makeSite(dir, port, durability);
  const image = join(dir, "disk");
  await makeImage(image, DISK_BYTES, join(dir, "content"));
  const command = await guestCommand(dir, {
    program: "picket-agent",
    script: "device.sh",
    files: { "agent.toml": join(dir, "agent.toml") },
    // The guest reaches our loopback as 10.0.2.2.
    network: "ipv6=off",
  });
  const disk = stack.use(openDisk(image, lies));
  const server = stack.use(await serveDisk(disk, socketIn(dir)));
  const broker = stack.use(start([process.execPath, `${root}cli/main.ts`, "broker", "--config", join(dir, "site.toml")]));
  await broker.line(/broker listens/);
  const owned = stack.move();
  return {
    ...{ site, server, broker },
    start: () => startMachine(command, "deed", signal),
    /** Reads the device's state as it is on the disk now. */
    look: <T>(read: (state: string) => T) => readDisk(disk, dir, (folder) => read(stateIn(folder))),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const bootOf = (machine: Machine) => machine.reports("deed")[0]!.split(" ")[0]!;

function parseDeed(line: string): { nth: number; atS: number } {
  const [, nth = "", atS = ""] = line.split(" ");
  return { nth: Number(nth), atS: Number(atS) };
}

/** The books once the ledger has entered all, nothing waits and nothing is unexplained; or as they are, when that does not come to be. */
async function settled(site: string, signal: AbortSignal): Promise<Books> {
  let books = readBooks(site);
  const isCalm = () => {
    books = readBooks(site);
    const { stored, waiting, unexplained } = books.ledger(DEVICE);
    return stored === books.events.get(DEVICE)?.length && waiting === 0 && unexplained === 0;
  };
  await until("nothing waits", SETTLE_MS, signal, isCalm).catch(() => signal.throwIfAborted());
  return books;
}

/** It hears nothing and answers nothing, until disposed. */
function pause(program: Program): Disposable {
  process.kill(program.pid, "SIGSTOP");
  return { [Symbol.dispose]: () => void process.kill(program.pid, "SIGCONT") };
}

/** The site stays here; the device's state goes into `content`, which becomes the disk. Returns the site's directory. */
async function makeSite(dir: string, port: number, durability: Durability): Promise<string> {
  mkdirSync(join(dir, "content"));
  const site = siteIn(dir);
  const operator = await initOperator({ home: join(dir, "operator"), site: "power", name: "power" });
  const { ca } = await initSite({ dir: site, site: "power", hosts: ["10.0.2.2", "127.0.0.1"], operator: operator.public });
  const [made] = await addDevices(site, [DEVICE]);
  const address = `10.0.2.2:${port}`;
  const identity = { device: DEVICE, site: "power", https: address, mqtt: address, anchor: operator.public.anchor };
  writeIdentity(join(dir, "content", "state"), { ...identity, keys: operator.public.keys }, { key: made!.key, cert: made!.cert, ca });
  writeFileSync(join(dir, "site.toml"), `[broker]\ndir = ${JSON.stringify(site)}\nhost = "127.0.0.1"\nmqttPort = ${port}\nhttpsPort = 0\n`);
  // What has nothing to do with the question costs time in emulation.
  writeFileSync(
    join(dir, "agent.toml"),
    `state = "/disk/state"\nheartbeatS = 5\ninventory = false\nmetricsS = 3600\ncanaryS = 3600\n[buffer]\ndurability = "${durability}"\n[watch]\nread = []\nwrite = []\n[logs]\nsource = "off"\n[integrity]\npaths = []\n[samples]\nhash = false\nsend = false\n`,
  );
  return site;
}
