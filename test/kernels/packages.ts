// Debian packages of any architecture, unpacked into a folder of ours. apt runs with a root of its own: this machine's sources are read, nothing of it is changed.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { run } from "../e2e/program.ts";

/** As Debian names them. */
export type DebianArchitecture = "amd64" | "arm64";

export type Wanted = {
  readonly architecture: DebianArchitecture;
  readonly packages: readonly string[];
  /** Suites to look in besides the configured ones, at the same mirrors: `bookworm-backports`, say. */
  readonly suites?: readonly string[];
};

/** The packages cannot be had here. A test that needs them skips, with this message as its reason. */
export class NoPackages extends Error {
  override readonly name = "NoPackages";
}

/** For a slow mirror. */
const LIMIT_MS = 600_000;
const cache = new URL("../../.picket/tools/debian/", import.meta.url).pathname;

/**
 * What only the scripts of packages need, and no script ever runs here. Kernels would bring a whole system with them to make their initramfs.
 */
const pretended = ["debconf", "debianutils", "dpkg", "kmod", "linux-base", "linux-initramfs-tool", "mawk", "perl-base"];
/** Where a package still says /lib, it means /usr/lib; both kinds lie in one mirror at times. */
const merged = ["bin", "sbin", "lib", "lib64"];

/** The folder with these packages and all they depend on: from the last run, or fetched now. Throws `NoPackages`. */
export async function debianRoot(wanted: Wanted): Promise<string> {
  if (!Bun.which("apt-get")) throw new NoPackages("this system has no apt-get");
  const sources = readSources("/etc/apt", wanted.suites ?? []);
  if (sources.size === 0) throw new NoPackages("apt has no sources in /etc/apt");
  const key = createHash("sha256")
    .update(JSON.stringify([wanted, [...sources], pretended]))
    .digest("hex")
    .slice(0, 12);
  const root = join(cache, `${wanted.architecture}-${key}`);
  if (existsSync(root)) return root;
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, "fetch-"));
  try {
    const debs = await fetchPackages(wanted, sources, join(work, "apt"));
    const tree = join(work, "root");
    await unpack(debs, tree);
    // Whole or not there; when two fetched at once, the later one takes the earlier one's.
    if (!existsSync(root)) renameSync(tree, root);
    return root;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * This machine's sources, by file name, without what ties them to its own architecture, and with `suites` added to each archive that has updates of its own
 * (others, say of a single vendor, have no such suites). See sources.list(5) for both formats.
 */
export function readSources(etc: string, suites: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  const list = join(etc, "sources.list");
  const parts = join(etc, "sources.list.d");
  const paths = [list, ...(existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : [])];
  for (const path of paths.filter(existsSync)) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    const text = readFileSync(path, "utf8");
    const adapt = name.endsWith(".list") ? adaptLine : name.endsWith(".sources") ? adaptField : undefined;
    if (!adapt) continue;
    const adapted = text
      .split("\n")
      .flatMap((line) => adapt(line, suites))
      .join("\n");
    if (adapted.replaceAll(/^\s*(#.*)?$/gm, "").trim()) found.set(name, adapted);
  }
  return found;
}

function adaptLine(line: string, suites: readonly string[]): string[] {
  const parts = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)$/.exec(line);
  if (!parts || parts[2]!.startsWith("cdrom:")) return [];
  const options = (parts[1] ?? "").split(/\s+/).filter((option) => option && !/^(arch|arch[+-]|target)=/.test(option));
  const source = (suite: string) => `deb ${options.length > 0 ? `[${options.join(" ")}] ` : ""}${parts[2]} ${suite} ${parts[4]}`;
  return [parts[3]!, ...(parts[3]!.endsWith("-updates") ? suites : [])].map(source);
}

function adaptField(line: string, suites: readonly string[]): string[] {
  if (/^Architectures(-Add|-Remove)?:/i.test(line)) return [];
  if (/^Types:/i.test(line)) return ["Types: deb"];
  return [/^Suites:.*-updates\b/i.test(line) ? [line, ...suites].join(" ") : line];
}

/** Fetches `packages` and what they depend on into `dir`. Returns the paths of the .deb files. Throws `NoPackages` with apt's words. */
async function fetchPackages({ architecture, packages }: Wanted, sources: ReadonlyMap<string, string>, dir: string): Promise<string[]> {
  const archives = join(dir, "cache", "archives");
  for (const path of ["etc/sources.list.d", "etc/preferences.d", "state/lists/partial", "cache/archives/partial"])
    mkdirSync(join(dir, path), { recursive: true });
  for (const [name, text] of sources) writeFileSync(join(dir, "etc/sources.list.d", name), text);
  writeFileSync(join(dir, "state/status"), pretended.map((name) => stanza(name, architecture)).join("\n"));
  const config = join(dir, "apt.conf");
  writeFileSync(config, await aptConfiguration(architecture, dir));
  const apt = (...argv: string[]) =>
    run(["apt-get", "-q", ...argv], { env: { APT_CONFIG: config, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" }, timeoutMs: LIMIT_MS });
  // One source that fails need not be the one that has the packages.
  const update = await apt("update");
  const install = await apt("install", "--download-only", "--yes", "--no-install-recommends", ...packages);
  if (install.code !== 0) {
    const why = [...update.stderr.split("\n"), ...install.stderr.split("\n")].filter((line) => /^(E|W|Err)/.test(line));
    throw new NoPackages(
      `the ${architecture} packages cannot be had from this machine's mirrors: ${why.slice(-3).join("; ") || install.stderr.trim().slice(-300)}`,
    );
  }
  return readdirSync(archives)
    .filter((name) => name.endsWith(".deb"))
    .map((name) => join(archives, name));
}

/** How this machine reaches its mirrors (proxies, checks) stays; where apt keeps things, and what it runs afterwards, do not. */
async function aptConfiguration(architecture: string, dir: string): Promise<string> {
  const { stdout } = await run(["apt-config", "dump"], { env: { LC_ALL: "C" } });
  const acquire = stdout.split("\n").filter((line) => line.startsWith("Acquire::"));
  const own = {
    "APT::Architecture": architecture,
    "APT::Architectures": architecture,
    "APT::Sandbox::User": "root",
    "Acquire::Retries": "3",
    "Acquire::Languages": "none",
    "Dir::State": join(dir, "state"),
    "Dir::State::status": join(dir, "state/status"),
    "Dir::Cache": join(dir, "cache"),
    "Dir::Etc::sourcelist": "/dev/null",
    "Dir::Etc::sourceparts": join(dir, "etc/sources.list.d"),
    "Dir::Etc::preferencesparts": join(dir, "etc/preferences.d"),
    "Dir::Etc::main": "/dev/null",
    "Dir::Etc::parts": "/dev/null",
    "Dir::Log": dir,
  };
  return [...acquire, ...Object.entries(own).map(([key, value]) => `${key} "${value}";`)].join("\n");
}

const stanza = (name: string, architecture: string) =>
  `Package: ${name}\nStatus: install ok installed\nMaintainer: none\nArchitecture: ${architecture}\nMulti-Arch: foreign\nVersion: 9999\nDescription: pretended\n`;

async function unpack(debs: readonly string[], tree: string): Promise<void> {
  for (const name of merged) {
    mkdirSync(join(tree, "usr", name), { recursive: true });
    symlinkSync(`usr/${name}`, join(tree, name));
  }
  for (const deb of debs) {
    // dpkg -x would replace the links by folders.
    const { code, stderr } = await run([
      "sh",
      "-c",
      'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"',
      "sh",
      deb,
      tree,
    ]);
    if (code !== 0) throw new NoPackages(`${deb.slice(dirname(deb).length + 1)} cannot be unpacked: ${stderr.trim()}`);
  }
}
