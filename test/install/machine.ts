// A whole machine for the installer: systemd as process 1 on a throw-away root, in namespaces of its own, on a cable of test/e2e/network.ts.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Host, Network } from "../e2e/network.ts";
import { eventually } from "../e2e/program.ts";

const boot = new URL("boot.sh", import.meta.url).pathname;
/** Installing waits for the agent to be connected for five seconds, twice when it takes a version back. */
const PATIENCE_MS = 120_000;

export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string };

export type Machine = AsyncDisposable & {
  /** Runs a bash script on it as root. */
  tryRun(script: string, stdin?: string): Promise<Ran>;
  /** The same; rejects, with what was said, unless it ends with 0. Returns stdout. */
  run(script: string, stdin?: string): Promise<string>;
  /** All that is on its disk, a line each, sorted; what the system writes by itself is left out. */
  listing(): Promise<readonly string[]>;
  /** Its disk, as far as it differs from the fresh root. */
  readonly disk: string;
  /** Switches it off and on again. */
  reboot(): Promise<void>;
};

/** Where this machine's processes may be put into a group of their own; undefined where there is no unified hierarchy to write to. */
export function cgroups(): string | undefined {
  const line = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .map((mount) => mount.split(" "))
    .find(([, , type, options]) => type === "cgroup2" && options?.split(",").includes("rw"));
  return line?.[1];
}

export type MachineOptions = {
  /** The fresh root. */
  readonly lower: string;
  /** Host folder -> where it is seen, read-only. */
  readonly mounts: Readonly<Record<string, string>>;
  /** Whose disk this machine's is a copy of, as it is now. */
  readonly copyOf?: Machine;
};

/** Boots a machine on the cable of `host`. */
export async function createMachine(network: Network, host: Host, { lower, mounts, copyOf }: MachineOptions): Promise<Machine> {
  const folder = mkdtempSync(join(tmpdir(), `pkinst-${host}-`));
  const group = join(cgroups()!, `pkinst-${process.pid}-${host}-${Date.now()}`);
  const [root, changes] = [join(folder, "root"), join(folder, "changes")];
  mkdirSync(root);
  mkdirSync(changes);
  if (copyOf) await copyDisk(copyOf.disk, changes);
  let running = await start();

  async function start() {
    mkdirSync(group, { recursive: true });
    const namespaces = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"];
    const machine = network.on(host, [...namespaces, boot, root, lower, changes, host, ...Object.entries(mounts).flat()]);
    // Before ip(8), which mounts another /sys.
    const argv = ["bash", "-c", 'echo $BASHPID >"$0/cgroup.procs" && exec "$@"', group, ...machine];
    const child = Bun.spawn(argv, { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
    const said = new Response(child.stderr).text();
    const init = await Promise.race([
      eventually("process 1", () => /\d+/.exec(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8"))?.[0]),
      said.then((text) => Promise.reject(new Error(`the machine did not boot: ${text}`))),
    ]);
    const enter = ["nsenter", "--target", init, "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--root", "--wd"];
    const tryRun = async (script: string, stdin = ""): Promise<Ran> => {
      const inside = ["env", "-i", "HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "bash", "-c", script];
      const program = Bun.spawn([...enter, ...inside], {
        stdin: new TextEncoder().encode(stdin),
        stdout: "pipe",
        stderr: "pipe",
        timeout: PATIENCE_MS,
      });
      const [stdout, stderr, code] = await Promise.all([
        new Response(program.stdout).text(),
        new Response(program.stderr).text(),
        program.exited,
      ]);
      return { code, stdout, stderr };
    };
    await eventually("systemd", async () => /^(running|degraded)/.test((await tryRun("systemctl is-system-running --wait")).stdout));
    return { child, tryRun };
  }

  async function stop() {
    running.child.kill("SIGKILL");
    await running.child.exited;
    await eventually("the end of the machine's processes", () => removeGroup(group));
  }

  const run = async (script: string, stdin?: string) => {
    const { code, stdout, stderr } = await running.tryRun(script, stdin);
    if (code !== 0) throw new Error(`${script} ended with ${code}: ${stderr}${stdout}`);
    return stdout;
  };
  return {
    tryRun: (script, stdin) => running.tryRun(script, stdin),
    run,
    listing: async () => (await run(LIST)).split("\n").filter(Boolean).toSorted(),
    disk: changes,
    reboot: async () => {
      await stop();
      running = await start();
    },
    [Symbol.asyncDispose]: async () => {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

// Files with size and time of their last change, links with their target, folders by name. Left out: what systemd writes by itself.
const LIST = `find / -xdev \\( -path /var/log -o -path /var/lib/systemd -o -path /tmp -o -path /var/tmp -o -path /mnt -o -path /etc/machine-id \\) -prune \
  -o -type d -printf '%p/\\n' -o -type l -printf '%p -> %l\\n' -o -printf '%p %s %T@\\n'`;

async function copyDisk(from: string, to: string): Promise<void> {
  const copied = Bun.spawn(["cp", "-a", join(from, "upper"), to], { stdin: "ignore", stdout: "ignore", stderr: "inherit" });
  if ((await copied.exited) !== 0) throw new Error(`${from} could not be copied`);
}

/** True when the group and all below it are gone. */
function removeGroup(group: string): boolean {
  if (!existsSync(group)) return true;
  try {
    for (const entry of readdirSync(group, { withFileTypes: true })) if (entry.isDirectory()) removeGroup(join(group, entry.name));
    writeFileSync(join(group, "cgroup.kill"), "1");
    rmdirSync(group);
    return true;
  } catch {
    return !existsSync(group);
  }
}
