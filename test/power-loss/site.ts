// A site that loses its power under load: broker and detector in a machine, devices outside of it that write down what was acknowledged to them.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeIdentity } from "../../agent/enroll/files.ts";
import { addDevices } from "../../bench/site.ts";
import { initSite } from "../../broker/site.ts";
import { initOperator } from "../../cli/operator/keys.ts";
import { seeded } from "../../protocol/seeded.ts";
import { type Books, undecided } from "../chaos/books.ts";
import { readDiary } from "../chaos/diary.ts";
import type { FleetFile } from "../chaos/fleet.ts";
import { type Supervised, supervise } from "../chaos/programs.ts";
import { account, type Row } from "../chaos/sheet.ts";
import { siteRule } from "../chaos/workload.ts";
import { afterCut } from "./after.ts";
import { type Cut, openDisk } from "./disk.ts";
import { freePort, guestCommand, socketIn, until } from "./guest.ts";
import { makeImage, readDisk, siteIn } from "./image.ts";
import { startMachine } from "./machine.ts";
import { serveDisk } from "./nbd.ts";

const SITE = "power";
const DEVICES = 4;
const DISK_BYTES = 96 << 20;
/** So many acknowledgements after each start, and then the power may fail. */
const ACKNOWLEDGED = 100;
const CUT_WITHIN_MS = 4000;
/** Then it fails when so many writes are not flushed, at most. */
const MOST_UNFLUSHED = 4;
const UNFLUSHED_WITHIN_MS = 20_000;
const DRAIN_MS = 300_000;
const STOP_MS = 30_000;

const root = new URL("../..", import.meta.url).pathname;

export type SiteRound = {
  readonly startMs: number;
  readonly acknowledged: number;
  readonly stored: number;
  readonly alerts: number;
  readonly cut: Cut;
};
export type SiteResult = { readonly rounds: readonly SiteRound[]; readonly rows: readonly Row[]; readonly differences: readonly string[] };

export type Wishes = {
  /** The disk loses what was flushed too: then nothing can balance, or we would not notice a loss. */
  readonly lies: boolean;
  readonly rounds: number;
  readonly seed: number;
  readonly tell: (what: string) => void;
  readonly signal: AbortSignal;
};

/** Cuts the power of a site `rounds` times, starts it once more, and draws the balance. Throws when it does not start again, or does not come to rest. */
export async function cutSite(wishes: Wishes): Promise<SiteResult> {
  const { rounds, seed, tell, signal } = wishes;
  const random = seeded(seed);
  await using world = await createWorld(wishes);
  const { devices, fleet, server } = world;
  const done: SiteRound[] = [];
  const differences: string[] = [];
  let before: Books | undefined;
  for (let round = 1; round <= rounds; round++) {
    const { machine, startMs } = await world.start();
    await using _ = machine;
    const enough = acknowledgedTo(devices) + ACKNOWLEDGED;
    await until(`${ACKNOWLEDGED} events are acknowledged`, DRAIN_MS, signal, () => acknowledgedTo(devices) >= enough);
    await Bun.sleep(random() * CUT_WITHIN_MS);
    const cut = await server.cutAt(1 + Math.floor(random() * MOST_UNFLUSHED), UNFLUSHED_WITHIN_MS, random);
    await machine.off();
    const after = await world.look((site) => afterCut(site, devices, before));
    differences.push(...after.differences.map((what) => `after cut ${round}: ${what}`));
    before = after.books;
    const stored = [...after.books.events.values()].reduce((sum, events) => sum + events.length, 0);
    done.push({ startMs, acknowledged: acknowledgedTo(devices), stored, alerts: after.books.alerts.length, cut });
    tell(`cut ${round} of ${rounds}`);
  }

  const { machine } = await world.start();
  await using _ = machine;
  const isDrained = fleet.asked("SIGUSR1", /^drained$/);
  await until("the devices have handed over all they have", DRAIN_MS, signal, isDrained);
  await fleet.stop(STOP_MS);
  await until("the detector has judged all", DRAIN_MS, signal, async () => (await world.look(undecided)) === 0);
  const last = await world.look((site) => afterCut(site, devices, before));
  const accounts = devices.map(({ name, diary }) => account({ device: name, runs: readDiary(diary), jumped: false }, last.books));
  const unbalanced = accounts
    .flatMap((one) => one.differences)
    .map(({ device, epoch, seq, what }) => `${device} ${epoch ?? ""}:${seq ?? ""} ${what}`);
  return { rounds: done, rows: accounts.map(({ row }) => row), differences: [...differences, ...last.differences, ...unbalanced] };
}

const acknowledgedTo = (devices: readonly SiteDevice[]) =>
  devices.flatMap(({ diary }) => readDiary(diary)).reduce((sum, run) => sum + run.acknowledged.size, 0);

/** The machine, off, its disk with a new site on it, and devices that want to reach it. Disposing ends and removes it all. */
async function createWorld({ lies, signal, tell }: Wishes) {
  await using stack = new AsyncDisposableStack();
  const dir = mkdtempSync(join(tmpdir(), "picket-power-site-"));
  stack.defer(() => rmSync(dir, { recursive: true, force: true }));
  tell(`works in ${dir}`);
  const port = freePort();
  const devices = await makeSite(dir, port);
  const image = join(dir, "disk");
  await makeImage(image, DISK_BYTES, join(dir, "content"));
  const command = await guestCommand(dir, {
    program: "picket",
    script: "site.sh",
    files: { "site.toml": join(dir, "site.toml"), rules: join(dir, "rules") },
    network: `restrict=on,hostfwd=tcp:127.0.0.1:${port}-:8883`,
  });
  const disk = stack.use(openDisk(image, lies));
  const server = stack.use(await serveDisk(disk, socketIn(dir)));
  const fleet = stack.use(startFleet(dir));
  const owned = stack.move();
  return {
    ...{ devices, fleet, server },
    start: () => startMachine(command, "ready", signal),
    /** Reads the site as it is on the disk now. */
    look: <T>(read: (site: string) => T) => readDisk(disk, dir, (folder) => read(siteIn(folder))),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export type SiteDevice = { readonly name: string; readonly diary: string };

/** The site goes into `content`, which becomes the disk; what devices keep stays here. */
async function makeSite(dir: string, port: number): Promise<SiteDevice[]> {
  for (const name of ["content", "diary", "rules"]) mkdirSync(join(dir, name));
  const site = siteIn(join(dir, "content"));
  const operator = await initOperator({ home: join(dir, "operator"), site: SITE, name: "power" });
  const { ca } = await initSite({ dir: site, site: SITE, hosts: ["127.0.0.1"], operator: operator.public });
  const names = Array.from({ length: DEVICES }, (_, at) => `gw-${at}`);
  for (const { name, key, cert } of await addDevices(site, names)) {
    const address = `127.0.0.1:${port}`;
    const identity = { device: name, site: SITE, https: address, mqtt: address, anchor: operator.public.anchor };
    writeIdentity(join(dir, "state", name), { ...identity, keys: operator.public.keys }, { key, cert, ca });
  }
  writeFileSync(join(dir, "rules", "mark.yml"), siteRule);
  writeFileSync(
    join(dir, "site.toml"),
    '[broker]\ndir = "/disk/site"\n[broker.log]\nreserveBytes = 8388608\n[detector]\ndir = "/disk/site"\nhost = "127.0.0.1"\nrules = ["/rules"]\nscan = false\n[detector.models]\ncmdline = false\nbehaviour = false\n',
  );
  const devices = names.map((name) => ({ name, diary: join(dir, "diary", name) }));
  const fleet: FleetFile = {
    via: "127.0.0.1",
    devices: devices.map(({ name, diary }) => ({ state: join(dir, "state", name), diary, habit: { perS: 12, burst: 0, config: {} } })),
  };
  writeFileSync(join(dir, "fleet.json"), JSON.stringify(fleet));
  return devices;
}

const startFleet = (dir: string): Supervised =>
  supervise({ name: "fleet", argv: [process.execPath, `${root}test/chaos/fleet.ts`, join(dir, "fleet.json")], ready: /^fleet runs$/ });
