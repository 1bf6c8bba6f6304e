// The throw-away root of a fresh Debian or Ubuntu, from this machine's own mirror. Made once and kept under .picket/tools.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { run } from "../e2e/program.ts";

const tools = new URL("../../.picket/tools/", import.meta.url).pathname;

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
  const fresh = `${dir}.new-${process.pid}`;
  mkdirSync(tools, { recursive: true });
  try {
    const argv = ["debootstrap", "--variant=minbase", `--include=${packages.join(",")}`, source.suite, fresh, source.url];
    const made = Bun.spawn(argv, { stdin: "ignore", stdout: "pipe", stderr: "ignore", timeout: DEBOOTSTRAP_MS });
    const said = await new Response(made.stdout).text();
    if ((await made.exited) !== 0) return { why: `debootstrap failed, is the mirror reachable? ${said.trim().slice(-200)}` };
    for (const unit of masked) {
      rmSync(join(fresh, "etc/systemd/system", unit), { force: true });
      symlinkSync("/dev/null", join(fresh, "etc/systemd/system", unit));
    }
    for (const deb of new Bun.Glob("var/cache/apt/archives/*.deb").scanSync({ cwd: fresh })) rmSync(join(fresh, deb));
    renameSync(fresh, dir);
    return { dir };
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
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
