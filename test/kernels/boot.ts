// Boots a Debian kernel in emulation, runs a bash script as its only user program, and returns what the script reported. Needs no root, no KVM and no network.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { modulesFor } from "./modules.ts";
import { type DebianArchitecture, debianRoot, NoPackages } from "./packages.ts";

export type Kernel = {
  readonly architecture: DebianArchitecture;
  /** The Debian package that depends on the kernel's newest image: `linux-image-cloud-arm64`, say. */
  readonly image: string;
  readonly suites?: readonly string[];
};

export type Guest = {
  readonly kernel: Kernel;
  /** Without: /sys/kernel/btf is hidden, as on a Raspberry Pi OS kernel, which has none. */
  readonly btf: boolean;
  /** Debian packages the script needs besides libc and bash. */
  readonly packages: readonly string[];
  /** Kernel modules inserted before the script, with what they need. */
  readonly modules: readonly string[];
  /** Files and folders of this machine: path there -> path here. */
  readonly files: Readonly<Record<string, string>>;
  /** Bash. `report NAME` sends its standard input to us, line by line; everything else it prints is the log. */
  readonly script: string;
  readonly memoryMb?: number;
};

/** Emulation is 10 to 50 times slower than the machine it runs on. */
export type Limited = Guest & { readonly limitMs: number };

export type Outcome = {
  /** Exit code of the script. */
  readonly code: number;
  /** By name: the lines the script reported. */
  readonly reports: ReadonlyMap<string, readonly string[]>;
  /** Everything the console said. */
  readonly log: readonly string[];
  readonly kernel: string;
  readonly bootMs: number;
  readonly tookMs: number;
};

/** The machine did not get to the end of the script. The message has the end of its console. */
export class BootFailed extends Error {
  override readonly name = "BootFailed";
}

type Machine = {
  readonly qemu: string /** Of the missing program. */;
  readonly todo: string;
  readonly args: readonly string[];
  readonly console: string;
};
const machines: Record<DebianArchitecture, Machine> = {
  // The Raspberry Pi 5's processor. Not `max`: with its SVE, Bun crashes under QEMU 7.2 as soon as there are two processors.
  arm64: {
    qemu: "qemu-system-aarch64",
    todo: "sudo ./install.sh --test installs it",
    args: ["-M", "virt", "-cpu", "cortex-a76"],
    console: "ttyAMA0",
  },
  amd64: { qemu: "qemu-system-x86_64", todo: "sudo ./install.sh --test installs it", args: ["-M", "q35", "-cpu", "max"], console: "ttyS0" },
};
const CPUS = 2;
const MEMORY_MB = 2048;
const TAIL_LINES = 40;
const base = ["libc6", "libstdc++6", "libgcc-s1", "bash", "busybox-static"];

/** Lines of the console that are ours. A kernel message has no such beginning. */
export const MARK = "@@picket";

/** Why `guest` cannot be booted here, or "": its packages are fetched, unless an earlier run did. */
export async function whyNot(guest: Pick<Guest, "kernel" | "packages">): Promise<string> {
  try {
    await prepare(guest);
    return "";
  } catch (error) {
    if (error instanceof NoPackages) return error.message;
    throw error;
  }
}

/** Boots `guest` and waits for its end. Throws `NoPackages` when something for it cannot be had, `BootFailed` when it hangs, panics or ends early. */
export async function boot(guest: Limited): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "picket-kernel-"));
  try {
    return await watch(await machineFor(guest, folder), guest.limitMs);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The command that switches a machine on, with `guest` in it; what it needs is put into `folder`. More devices may be added to it. Throws `NoPackages`. */
export async function machineFor(guest: Guest, folder: string): Promise<string[]> {
  const machine = machines[guest.kernel.architecture];
  const root = await prepare(guest);
  const initrd = await makeInitramfs(guest, root, folder);
  const image = readdirSync(join(root, "boot")).find((name) => name.startsWith("vmlinuz-"));
  if (!image) throw new NoPackages(`${guest.kernel.image} has no kernel in /boot`);
  const size = ["-smp", String(CPUS), "-m", String(guest.memoryMb ?? MEMORY_MB)];
  return [
    ...[machine.qemu, ...machine.args, ...size],
    ...["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"],
    ...["-kernel", join(root, "boot", image), "-initrd", initrd],
    ...["-append", `console=${machine.console} panic=-1 loglevel=1 TERM=dumb`],
  ];
}

async function prepare({ kernel, packages }: Pick<Guest, "kernel" | "packages">): Promise<string> {
  const { qemu, todo } = machines[kernel.architecture];
  if (!Bun.which(qemu)) throw new NoPackages(`${qemu} is not installed: ${todo}`);
  if (!Bun.which("cpio")) throw new NoPackages("cpio is not installed: sudo ./install.sh --test installs it");
  return debianRoot({
    architecture: kernel.architecture,
    packages: [...new Set([kernel.image, ...base, ...packages])].toSorted(),
    ...(kernel.suites ? { suites: kernel.suites } : {}),
  });
}

/** Reads the console until the machine is off. A machine that takes longer than `limitMs` is switched off. */
async function watch(argv: readonly string[], limitMs: number): Promise<Outcome> {
  const startedMs = performance.now();
  const child = Bun.spawn([...argv], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const late = setTimeout(() => child.kill("SIGKILL"), limitMs);
  const log: string[] = [];
  const reports = new Map<string, string[]>();
  let bootMs = 0;
  let code: number | undefined;
  const take = (line: string) => {
    log.push(line);
    const [, name, text = ""] = new RegExp(`^${MARK} (\\S+) ?(.*)$`).exec(line) ?? [];
    if (name === undefined) return;
    if (name === "booted") bootMs = performance.now() - startedMs;
    if (name === "end") code = Number(text);
    else if (reports.has(name)) reports.get(name)!.push(text);
    else reports.set(name, [text]);
  };
  try {
    const errors = new Response(child.stderr).text();
    for await (const line of lines(child.stdout)) take(line);
    await child.exited;
    if (code === undefined) throw new BootFailed(await why(child, errors, log, performance.now() - startedMs));
    const tookMs = performance.now() - startedMs;
    return { code, reports, log, kernel: reports.get("booted")?.[0] ?? "", bootMs, tookMs };
  } finally {
    clearTimeout(late);
    child.kill("SIGKILL");
  }
}

async function why(child: Bun.Subprocess, errors: Promise<string>, log: readonly string[], tookMs: number): Promise<string> {
  const end = child.signalCode ? "was switched off because it took too long" : `ended with ${child.exitCode} before its script did`;
  return `the machine ${end}, after ${Math.round(tookMs / 1000)} s: ${(await errors).trim()}\n${log.slice(-TAIL_LINES).join("\n")}`;
}

/** The console, line by line. */
export async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    for (const part of parts) yield Bun.stripANSI(part).replaceAll("\r", "");
  }
  if (rest) yield rest;
}

/** What the kernel unpacks into memory as its only file system. Returns the path of the archive. */
async function makeInitramfs(guest: Guest, root: string, folder: string): Promise<string> {
  const tree = join(folder, "tree");
  cpSync(root, tree, { recursive: true, verbatimSymlinks: true, filter: (path) => !left.test(path.slice(root.length)) });
  const release = readdirSync(join(root, "usr/lib/modules"))[0]!;
  const order: string[] = [];
  mkdirSync(join(tree, "modules"), { recursive: true });
  for (const { name, bytes } of modulesFor(join(root, "usr/lib/modules", release), guest.modules)) {
    writeFileSync(join(tree, "modules", `${name}.ko`), bytes);
    order.push(name);
  }
  writeFileSync(join(tree, "modules/order"), order.map((name) => `${name}\n`).join(""));
  for (const [there, here] of Object.entries(guest.files)) {
    mkdirSync(dirname(join(tree, there)), { recursive: true });
    cpSync(here, join(tree, there), { recursive: true });
  }
  if (!existsSync(join(tree, "bin/sh"))) symlinkSync("bash", join(tree, "bin/sh"));
  writeFileSync(join(tree, "script.sh"), `${library}\n${guest.script}\n`);
  writeFileSync(join(tree, "init"), init(guest.btf), { mode: 0o755 });
  const archive = join(folder, "initramfs");
  const packed = Bun.spawnSync(["sh", "-c", 'find . -print0 | cpio --null --create --format=newc --owner=0:0 --quiet > "$0"', archive], {
    cwd: tree,
    stderr: "pipe",
  });
  if (packed.exitCode !== 0) throw new Error(`${basename(archive)} cannot be made: ${packed.stderr.toString().trim()}`);
  return archive;
}

/** Parts of packages that nobody reads there, and that would take a second each to unpack in emulation. */
const left = /^\/(boot|usr\/lib\/modules|usr\/share\/(doc|man|locale|info|bash-completion)|var\/cache)(\/|$)/;

/** The first program: makes a small Linux of it, runs the script, and switches off. */
const init = (btf: boolean) => `#!/bin/busybox sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/busybox HOME=/root LC_ALL=C
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /root /busybox
/bin/busybox --install -s /busybox
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
${btf ? "" : "mount -t tmpfs none /sys/kernel/btf"}
ip link set lo up
echo "${MARK} booted $(uname -r)"
while read -r module; do insmod "/modules/$module.ko" || echo "module $module cannot be inserted"; done < /modules/order
bash /script.sh < /dev/null 2> /run/stderr
code=$?
tail -n 50 /run/stderr | sed 's/^/${MARK} stderr /'
echo "${MARK} end $code"
poweroff -f
`;

/** What a script is given. */
const library = `
report() { while IFS= read -r line || [ -n "$line" ]; do printf '${MARK} %s %s\\n' "$1" "$line"; done; }
# Repeats a command until it succeeds, for so many seconds.
until_true() { local end=$((SECONDS + $1)); shift; until "$@" > /dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.5; done; }
# until_line PID PATTERN FILE: fails when the program ends without it.
until_line() { until grep -q -e "$2" "$3"; do kill -0 "$1" || return 1; sleep 0.5; done; }
`;
