// What the installer's tests stand on: a package as it is handed out, a network, and fresh machines on it.
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compile, executables } from "../../compile.ts";
import { makeDistribution } from "../../distribution.ts";
import { createNetwork, type Host, type Network } from "../e2e/network.ts";
import { eventually } from "../e2e/program.ts";
import { cgroups, createMachine, type Machine } from "./machine.ts";
import { freshRoot } from "./root.ts";

const root = new URL("../../", import.meta.url).pathname;
export const arch = process.arch === "arm64" ? "arm64" : "x64";
/** Where a machine sees the package and the agents in it. */
const PACKAGE = "/mnt/picket";
export const SECOND = "/mnt/second/picket-agent";

export type Place = AsyncDisposable & {
  readonly network: Network;
  /** Boots a fresh machine. */
  boot(host: Host, copyOf?: Machine): Promise<Machine>;
  /** Boots one and installs the site "north" on it. `elsewhere`: its operator's keys are not made there, and its release is signed before. */
  site(of?: { elsewhere?: boolean }): Promise<Site>;
};

export type Site = Machine & {
  picket(command: string): Promise<string>;
  /** The line `picket token create` prints, as root of a device pastes it. */
  line(options?: string): Promise<string>;
};

const base = process.getuid?.() === 0 ? await (async () => probe() ?? (await freshRoot()))() : { why: "needs root" };

/** Why no machine can be booted here; undefined where it can. */
export const cannotBoot = "why" in base ? base.why : undefined;

/** Tries what booting needs, in a container as CI often is. */
function probe(): { why: string } | undefined {
  const group = cgroups();
  if (group === undefined) return { why: "no cgroup2 hierarchy can be written to" };
  const folder = mkdtempSync(join(tmpdir(), "pkinst-probe-"));
  const script = 'mkdir "$1" && rmdir "$1" && cd "$0" && mkdir l u w m && mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m';
  const tried = Bun.spawnSync(
    [
      "unshare",
      "--mount",
      "--pid",
      "--uts",
      "--ipc",
      "--cgroup",
      "--fork",
      "bash",
      "-c",
      script,
      folder,
      join(group, `pkinst-probe-${process.pid}`),
    ],
    { stdout: "ignore", stderr: "pipe" },
  );
  rmSync(folder, { recursive: true, force: true });
  return tried.exitCode === 0
    ? undefined
    : { why: `namespaces cannot be booted in here: ${tried.stderr.toString().trim().split("\n")[0]}` };
}

/** The package is what an operator copies to a site's host: no source, no Bun. Beside it lies a second agent, as a later version would be. */
export async function createPlace(): Promise<Place> {
  if ("why" in base) throw new Error("no machine can be booted here");
  const folder = mkdtempSync(join(tmpdir(), "pkinst-"));
  const machines: Machine[] = [];
  makeDistribution(arch, join(folder, "package", "dist", `linux-${arch}`));
  cpSync(join(root, "install"), join(folder, "package", "install"), { recursive: true });
  cpSync(join(root, "install.sh"), join(folder, "package", "install.sh"));
  mkdirSync(join(folder, "second"));
  const { entry, flags } = executables["picket-agent"];
  compile({ entry, flags: [...flags, "--minify-identifiers"], arch, out: join(folder, "second", "picket-agent") });
  const network = createNetwork();
  const boot = async (host: Host, copyOf?: Machine) => {
    const machine = await createMachine(network, host, {
      lower: base.dir,
      mounts: { [join(folder, "package")]: PACKAGE, [join(folder, "second")]: "/mnt/second" },
      ...(copyOf ? { copyOf } : {}),
    });
    machines.push(machine);
    return machine;
  };
  return {
    network,
    boot,
    site: async ({ elsewhere = false } = {}) => siteOn(await boot("site"), network, elsewhere),
    [Symbol.asyncDispose]: async () => {
      for (const machine of machines) await machine[Symbol.asyncDispose]();
      await network[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function siteOn(machine: Machine, network: Network, elsewhere: boolean): Promise<Site> {
  await machine.run(`cp -R ${PACKAGE} /root/package`);
  const host = `--host ${network.address.site.v4}`;
  if (elsewhere) {
    const desk = `cd /root/package && dist/linux-${arch}/picket --home /root/desk`;
    await machine.run(`${desk} operator init --site north && ${desk} operator sign`);
    await machine.run(
      `cd /root/package && ./install.sh --site --name north ${host} --operator ../desk/public.json && mv site.json /root/desk`,
    );
  } else {
    // As sudo calls it.
    await machine.run("useradd --create-home anna");
    const sudo = "SUDO_USER=anna SUDO_UID=$(id -u anna) SUDO_GID=$(id -g anna)";
    await machine.run(`cd /root/package && ${sudo} ./install.sh --site --name north ${host}`);
  }
  const picket = (command: string) => machine.run(`picket --home ${elsewhere ? "/root/desk" : "/home/anna/.config/picket"} ${command}`);
  const line = (options = "") => picket(`token create --line ${options}`);
  return { ...machine, picket, line };
}

/** Waits until the site has an event of `type` from `device` that contains `text`. */
export const eventAt = (site: Site, device: string, type: string, text: string) =>
  eventually(`${type} with ${text} from ${device}`, async () =>
    (await site.picket(`events --device ${device} --type ${type} --limit 1000000 --json`))
      .split("\n")
      .find((event) => event.includes(text)),
  );
