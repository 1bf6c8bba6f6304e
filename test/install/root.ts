// The throw-away root of a fresh Debian or Ubuntu, from this machine's own mirror. Made once and kept under .picket/tools.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { run } from "../e2e/program.ts";

const tools = new URL("../../.picket/tools/", import.meta.url).pathname;

const script = new URL("root.sh", import.meta.url).pathname;
const DEBOOTSTRAP_MS = 300_000;

/** A minimal system with systemd, and what our installer would else take from apt: a machine in the test has no internet. */
const packages = ["systemd", "systemd-sysv", "nftables", "libbpf1", "openssl", "ca-certificates", "curl", "iproute2"];

/** They would change the kernel, which is the machine's own, or only take time. */
const masked = [
  ...["systemd-sysctl.service", "systemd-modules-load.service", "systemd-remount-fs.service", "systemd-random-seed.service"],
  ...["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer"],
  ...["console-getty.service", "getty@.service", "dev-hugepages.mount", "sys-kernel-debug.mount", "systemd-networkd-wait-online.service"],
];

/** The folder of the root, or why there is none. */
export async function freshRoot(): Promise<{ dir: string } | { why: string }> {
  if (!Bun.which("debootstrap")) return { why: "debootstrap is not installed (sudo ./install.sh --test installs it)" };
  const source = await mirror();
  if (!source) return { why: "apt has no mirror of this system's release" };
  const key = createHash("sha256")
    .update(JSON.stringify([source.suite, packages, masked]))
    .digest("hex")
    .slice(0, 12);
  const dir = join(tools, `root-${source.suite}-${key}`);
  if (existsSync(dir)) return { dir };
  mkdirSync(tools, { recursive: true });
  // Two test files may want it at once: the second waits, and finds it.
  // In mounts of its own: what debootstrap mounts in the root goes with it, also when it is killed.
  const argv = [
    "flock",
    `${dir}.lock`,
    "unshare",
    "--mount",
    "--propagation",
    "private",
    script,
    dir,
    source.suite,
    source.url,
    packages.join(","),
    ...masked,
  ];
  const made = Bun.spawn(argv, { stdin: "ignore", stdout: "pipe", stderr: "ignore", timeout: DEBOOTSTRAP_MS });
  const said = await new Response(made.stdout).text();
  return (await made.exited) === 0 ? { dir } : { why: `debootstrap failed, is the mirror reachable? ${said.trim().slice(-200)}` };
}

/** Where apt takes this system's own release from. */
async function mirror(): Promise<{ suite: string; url: string } | undefined> {
  const release = await Bun.file("/etc/os-release").text();
  const suite = /^VERSION_CODENAME=(\w+)$/m.exec(release)?.[1];
  const { stdout } = await run(["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(SITE)", "Created-By: Packages"]);
  const url = stdout
    .split("\n")
    .map((line) => line.split(" "))
    .find(([name, component]) => name === suite && component === "main")?.[2];
  return suite && url ? { suite, url } : undefined;
}
