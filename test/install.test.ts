// install.sh, with other systems' /etc/os-release in front of it and its tools replaced by ones that write down what they were asked.
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { run } from "./e2e/program.ts";

const installer = new URL("../install.sh", import.meta.url).pathname;
const root = process.getuid?.() === 0;
const rootTest = test.skipIf(!root);
const BUN_VERSION = /BUN_VERSION=(\S+)/.exec(readFileSync(installer, "utf8"))![1]!;
const out = `dist/linux-${process.arch}`;

const systems = {
  debian12: 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n',
  debian11: 'PRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\nID=debian\nVERSION_ID="11"\n',
  testing: 'PRETTY_NAME="Debian GNU/Linux forky/sid"\nID=debian\n',
  ubuntu22: 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\n',
  ubuntu24: 'PRETTY_NAME="Ubuntu 24.04.2 LTS"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n',
  mint: 'PRETTY_NAME="Linux Mint 22"\nID=linuxmint\nID_LIKE=ubuntu\nVERSION_ID="22"\n',
};

/** A machine that has all packages and Bun. Each tool writes its name and arguments to $LOG first. */
const tools = {
  dpkg: `[ "$1" = --print-architecture ] && { echo "\${ARCH:-${process.arch === "x64" ? "amd64" : "arm64"}}"; exit; }; exec /usr/bin/dpkg "$@"`,
  "dpkg-query": 'case " $MISSING " in *" $4 "*) exit 1;; esac; echo "install ok installed"',
  "apt-get": "exit 0",
  npm: "exit 1",
  curl: "exit 6",
  bun: `case "$1" in
  --version) echo ${BUN_VERSION} ;;
  install) mkdir -p node_modules tui/node_modules; touch node_modules/x tui/node_modules/x ;;
  build.ts)
    mkdir -p ${out}
    printf '#!/bin/bash\\necho "picket $*|$PWD|\${PATH%%%%:*}"\\n' > ${out}/picket; cp ${out}/picket ${out}/picket-agent; chmod +x ${out}/* ;;
  test/all.ts) ip netns add picket-install-test && ip netns list; exit 7 ;;
esac`,
};

let folder: string;
let checkout: string;
let log: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "picket-install-"));
  chmodSync(folder, 0o755);
  checkout = join(folder, "a checkout");
  log = join(folder, "log");
  mkdirSync(checkout);
  copyFileSync(installer, join(checkout, "install.sh"));
  for (const path of ["agent", "broker", "cli", "detector", "models", "node-nftables", "protocol", "rules", "tui"])
    mkdirSync(join(checkout, path));
  for (const path of ["bun.lock", "build.ts", "compile.ts", "distribution.ts", "tsconfig.json"]) writeFileSync(join(checkout, path), "");
  writeFileSync(log, "");
  mkdirSync(join(folder, "bin"));
  for (const [name, script] of Object.entries(tools)) tool(name, script);
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function tool(name: string, script: string): void {
  const path = join(folder, "bin", name);
  writeFileSync(path, `#!/bin/bash\nprintf '%s\\n' "${name} $*" >> "$LOG"\n${script}\n`);
  chmodSync(path, 0o755);
}

const logged = (name: string) =>
  readFileSync(log, "utf8")
    .split("\n")
    .filter((line) => line.startsWith(`${name} `));

/** Runs the installer from another folder, as root, on `system`. `hidden`: what this machine may have installed is not seen. */
function install(
  args: readonly string[],
  of: { system?: string; env?: Record<string, string>; as?: readonly string[]; cwd?: string; hidden?: boolean } = {},
) {
  const release = join(folder, "os-release");
  writeFileSync(release, of.system ?? systems.debian12);
  const hide = of.hidden ? "mount -t tmpfs none /opt && mount -t tmpfs none /var/lib && mount -t tmpfs none /etc/systemd/system && " : "";
  const there = [
    "unshare",
    "--mount",
    "bash",
    "-c",
    `mount --bind "$0" /etc/os-release && ${hide}cd ${of.cwd ?? "/"} && exec "$@"`,
    release,
  ];
  const env = {
    LOG: log,
    PATH: `${join(folder, "bin")}:/usr/sbin:/usr/bin:/sbin:/bin`,
    SUDO_UID: "",
    SUDO_GID: "",
    MISSING: "",
    ...of.env,
  };
  return run([...(root ? there : []), ...(of.as ?? []), join(checkout, "install.sh"), ...args], { env });
}

const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

test.each([
  [[]],
  [["--demo", "--fast"]],
  [["--demo", "--headless", "--headless"]],
  [["--test", "--headless"]],
  [["demo"]],
  [["--upgrade", "now"]],
  [["--uninstall", "--all"]],
])("%j is no way to call it: usage, and exit code 2", async (args) => {
  const { code, stdout, stderr } = await install(args);
  expect(code).toBe(2);
  expect(stdout).toBe("");
  expect(stderr).toMatch(/^Usage: sudo \.\/install\.sh --demo/);
  expect(readFileSync(log, "utf8")).toBe("");
});

test("--help needs no root and changes nothing", async () => {
  const { code, stdout } = await install(["--help"], root ? { as: nobody } : {});
  expect(code).toBe(0);
  expect(stdout).toContain("--headless");
  expect(readFileSync(log, "utf8")).toBe("");
});

rootTest.each([
  ["Ubuntu 22.04", { system: systems.ubuntu22 }, /^install: Ubuntu 22\.04\.5 LTS has libbpf 0\.5, .*use Ubuntu 24\.04/],
  ["Debian 11", { system: systems.debian11 }, /^install: Debian GNU\/Linux 11 \(bullseye\) has libbpf 0, .*use Debian 12/],
  ["a 32-bit Raspberry Pi OS", { env: { ARCH: "armhf" } }, /^install: this is a 32-bit system \(armhf\): .*64-bit/],
  ["another processor", { env: { ARCH: "riscv64" } }, /^install: riscv64 is not supported/],
  ["a user who is not root", { as: nobody }, /^install: needs root, .*run sudo \.\/install\.sh --demo --headless$/],
])("needs root: %s is refused in one line, before anything is changed", async (_, of, words) => {
  const { code, stderr } = await install(["--demo", "--headless"], of);
  expect(code).toBe(1);
  expect(stderr.trimEnd()).toMatch(words);
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  expect([...logged("apt-get"), ...logged("bun")]).toEqual([]);
});

rootTest.each([
  ["Debian 12", systems.debian12, /^$/],
  ["Debian testing, which has no version", systems.testing, /^$/],
  ["Ubuntu 24.04", systems.ubuntu24, /^$/],
  ["a relative of them", systems.mint, /^install: Linux Mint 22 is not one we test on; going on\n$/],
])("needs root: %s is taken", async (_, system, warning) => {
  const { code, stdout, stderr } = await install(["--demo"], { system });
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/^picket up --demo\|/);
  expect(stderr.replace("install: building picket and picket-agent\n", "")).toMatch(warning);
});

rootTest(
  "needs root: the demo runs in the checkout, wherever it is called from, with our Bun first in PATH; a second run builds nothing",
  async () => {
    const first = await install(["--demo", "--headless"]);
    expect(first.stdout).toBe(`picket up --demo --headless|${checkout}|${join(folder, "bin")}\n`);
    expect(logged("bun")).toContain("bun install --frozen-lockfile --silent");
    const again = await install(["--demo", "--headless"]);
    expect(again.stdout).toBe(first.stdout);
    expect(logged("bun").filter((line) => line.includes("build"))).toHaveLength(1);
    expect(logged("apt-get")).toEqual([]);

    writeFileSync(join(checkout, "agent", "main.ts"), "// newer");
    await install(["--demo", "--headless"]);
    expect(logged("bun").filter((line) => line.includes("build"))).toHaveLength(2);
  },
);

rootTest("needs root: only what is missing is installed, with fresh package lists when the old ones are no good", async () => {
  tool("apt-get", '[ "$1" != install ] || { [ -e "$LOG.updated" ] || exit 100; }; [ "$1" != update ] || touch "$LOG.updated"');
  const { code } = await install(["--demo"], { env: { MISSING: "libbpf1 nftables tmux" } });
  expect(code).toBe(0);
  const asked = logged("apt-get");
  expect(asked.map((line) => line.split(" ")[1])).toEqual(["install", "update", "install"]);
  expect(asked[2]).toMatch(/--no-install-recommends .* libbpf1 nftables$/);
});

rootTest("needs root: a checkout of a user stays the user's; what runs as root stays root's", async () => {
  await install(["--demo"], { env: { SUDO_UID: "1234", SUDO_GID: "1235" } });
  for (const path of ["node_modules/x", "tui/node_modules/x", `${out}/picket`])
    expect(statSync(join(checkout, path)), path).toMatchObject({ uid: 1234, gid: 1235 });
  expect(statSync(join(checkout, "tui"))).toMatchObject({ uid: 0 });
});

rootTest("needs root: without a network it says what it could not get", async () => {
  tool("apt-get", "echo 'E: Unable to locate package' >&2; exit 100");
  const packages = await install(["--demo"], { env: { MISSING: "nftables" } });
  expect(packages.code).toBe(1);
  expect(packages.stderr).toMatch(/install: apt-get could not install nftables: is this machine online\?/);

  tool("bun", "echo 0.0.1");
  const bun = await install(["--demo"]);
  expect(bun.code).toBe(1);
  expect(bun.stderr).toMatch(/install: Bun \S+ could be had neither from its own installer nor from npm .*: is this machine online\?/);
  expect(existsSync(join(checkout, "dist"))).toBe(false);

  tool("bun", `[ "$1" = --version ] && echo ${BUN_VERSION}`);
  const dependencies = await install(["--demo"]);
  expect(dependencies.code).toBe(1);
  expect(dependencies.stderr).toMatch(/install: bun install failed: is the npm registry reachable\?/);
});

rootTest("needs root: --test returns what the tests return, and their network namespaces stay among themselves", async () => {
  const { code, stdout } = await install(["--test"], { env: { MISSING: "clang procps" } });
  expect(stdout.trim()).toBe("picket-install-test");
  expect(code).toBe(7);
  expect(existsSync("/run/netns/picket-install-test")).toBe(false);
  expect(logged("apt-get").at(-1)).toMatch(/ clang procps$/);
});

test("--device hands everything to the device's own installer, in the folder it was called from", async () => {
  mkdirSync(join(checkout, "install"));
  writeFileSync(join(checkout, "install", "device.sh"), '#!/bin/bash\necho "$PWD: $*"\n', { mode: 0o755 });
  const { code, stdout } = await install(["--device", "--site-url", "https://192.0.2.1:8443", "--token-file", "TOKEN"], {
    cwd: "/usr",
  });
  expect({ code, stdout }).toEqual({ code: 0, stdout: "/usr: --device --site-url https://192.0.2.1:8443 --token-file TOKEN\n" });
});

rootTest("needs root: --upgrade where nothing is installed says so; --uninstall there does nothing", async () => {
  mkdirSync(join(checkout, "install"));
  copyFileSync(new URL("../install/site.sh", import.meta.url).pathname, join(checkout, "install", "site.sh"));
  const upgraded = await install(["--upgrade"], { hidden: true });
  expect(upgraded.stderr).toBe("install: neither a site nor a device is installed here\n");
  expect(upgraded.code).toBe(1);
  expect(await install(["--uninstall", "--purge"], { hidden: true })).toEqual({ code: 0, stdout: "", stderr: "" });
});
