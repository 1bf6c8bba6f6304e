// `picket up --demo` as ./install.sh runs it: it starts, keeps its data, and however it is ended nothing of it runs on.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { eventually, type Program, run, start } from "./program.ts";

const root = process.getuid?.() === 0;
const picket = new URL("../../cli/main.ts", import.meta.url).pathname;
/** A host of its own for the demo's fixed ports and names: no other demo on this machine is in its way. */
const onHost = (argv: readonly string[]) => [
  ...["nsenter", `--target=${host.pid}`, "--mount", "--net", "--root", "--", "env", "-C", folder],
  ...argv,
];

/** A busy kernel takes its time to detach the sensor, milliseconds. */
const END_MS = 60_000;
const LIMIT_MS = 180_000;

let folder: string;
let host: Program;
let demo: Program;

beforeAll(async () => {
  if (!root) return;
  folder = mkdtempSync(join(tmpdir(), "picket-demo-"));
  const script = "mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link set lo up && echo ready && exec sleep 600";
  host = start(["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", script]);
  await host.line(/^ready/);
});

afterEach(async () => {
  await demo?.[Symbol.asyncDispose]();
});

afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

async function startDemo(): Promise<void> {
  demo = start(onHost(["bun", picket, "up", "--demo"]));
  await demo.line(/"message":"connected"/);
}

const command = (argv: readonly string[]) => run(onHost(["bun", picket, ...argv]));

/** Command lines of the demo's processes: they all name its folder, but the first, which is `demo` itself. */
function running(): string[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      return line.includes(`${folder}/.picket`) ? [line] : [];
    } catch {
      return [];
    }
  });
}

async function namespaces(): Promise<string> {
  return (await run(onHost(["ip", "netns", "list"]))).stdout.trim();
}

async function links(): Promise<string> {
  return (await run(onHost(["ip", "-brief", "link"]))).stdout;
}

test.skipIf(!root).each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
  "needs root: %s ends the demo and nothing of it is left",
  async (signal) => {
    await startDemo();
    expect(running()).toHaveLength(3);
    expect(await namespaces()).toContain("picket-demo");
    expect(await demo.kill(signal)).toBe(0);
    expect(running()).toEqual([]);
    expect(await namespaces()).toBe("");
    expect(await links()).not.toContain("pkdemo");
  },
  LIMIT_MS,
);

test.skipIf(!root)(
  "needs root: kill -9 of the demo ends its processes; the next start takes over what is left, and keeps the data",
  async () => {
    await startDemo();
    const attack = await command(["demo", "attack"]);
    expect(attack.code, attack.stderr).toBe(0);
    const ids = async () => {
      const { stdout } = await command(["alerts", "--json"]);
      return stdout.split("\n").flatMap((line) => (line ? [JSON.parse(line).id as string] : []));
    };
    const before = await eventually("alerts", async () => {
      const found = await ids();
      return found.length > 0 && found;
    });
    await demo.kill("SIGKILL");
    await eventually("its processes end", () => running().length === 0, END_MS);

    await startDemo();
    expect(demo.lines.filter((line) => /made operator keys|made the site|enrolled/.test(line))).toEqual([]);
    expect(await ids()).toEqual(expect.arrayContaining(before));
    expect(await demo.kill("SIGTERM")).toBe(0);
    expect(await namespaces()).toBe("");
  },
  LIMIT_MS,
);

test.skipIf(!root)(
  "needs root: a second demo is refused and leaves the first alone",
  async () => {
    await startDemo();
    const { code, stderr } = await command(["up", "--demo"]);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/a demo is running on this host already\n {2}to do: /)]);
    expect(running()).toHaveLength(3);
    expect(await namespaces()).toContain("picket-demo");
    expect(await demo.kill("SIGTERM")).toBe(0);
  },
  LIMIT_MS,
);

test.skipIf(!root)(
  "needs root: with a console, a closed terminal ends the demo the same way",
  async () => {
    // The shell outlives its terminal, to say how the demo ended.
    const code = join(folder, "code");
    const shell = `trap '' HUP; stty cols 80 rows 24; bun ${picket} up --demo 2>${folder}/errors; echo $? >${code}`;
    demo = start(onHost(["script", "-qfc", shell, "/dev/null"]), { env: { TERM: "xterm" } });
    await demo.line(/demo attack/);
    expect(running()).toHaveLength(3);
    await demo.kill("SIGKILL");
    await eventually("it ends", () => existsSync(code) && readFileSync(code, "utf8") !== "", END_MS);
    expect(readFileSync(code, "utf8").trim(), readFileSync(join(folder, "errors"), "utf8")).toBe("0");
    expect(running()).toEqual([]);
    expect(await namespaces()).toBe("");
  },
  LIMIT_MS,
);
