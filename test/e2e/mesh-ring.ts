// Sites in network namespaces of their own, a cable between each two that are neighbours: the machine's own network is never touched.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { initSite } from "../../broker/site.ts";
import { anchor } from "../../broker/testing/site.ts";
import type { Alert, Detection } from "../../protocol/alert.ts";
import type { MeshStatus } from "../../protocol/mesh.ts";

export type Order = { readonly id: number } & (
  | { readonly method: string; readonly path: string; readonly body?: unknown }
  | { readonly raise: readonly Detection[] }
);

export type RingSite = {
  readonly name: string;
  readonly dir: string;
  readonly ca: string;
  call<T>(method: string, path: string, body?: unknown): Promise<T>;
  raise(detections: readonly Detection[]): Promise<void>;
  alerts(origin?: "own" | "mesh"): Promise<Alert[]>;
  mesh(): Promise<MeshStatus>;
  start(): Promise<void>;
  kill(): Promise<void>;
  /** The command that runs `argv` where the site is. */
  on(argv: readonly string[]): string[];
};

export type Ring = AsyncDisposable & {
  readonly sites: Readonly<Record<string, RingSite>>;
  /** Takes the cable between two neighbours out, or puts it back. */
  cable(between: string, state: "up" | "down"): void;
  /** The address of `site` on that cable. */
  address(site: string, between: string): string;
};

function ip(...argv: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(["ip", ...argv], { stdout: "ignore", stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`ip ${argv.join(" ")}: ${stderr.toString().trim()}`);
}

/** Makes the sites "a", "b"... and cables such as "ab"; nothing runs yet. Needs root. Disposing ends and deletes everything. */
export async function createRing(names: readonly string[], cables: readonly string[]): Promise<Ring> {
  const tag = `pkmesh${randomBytes(2).toString("hex")}`;
  const space = (name: string) => `${tag}-${name}`;
  const root = mkdtempSync(join(tmpdir(), "pkmesh-"));
  const addressOf = (site: string, cable: string) => `10.77.${cables.indexOf(cable)}.${cable.indexOf(site) + 1}`;
  const sites: Record<string, RingSite> = {};
  const stops: (() => Promise<void>)[] = [];
  const dispose = async () => {
    await Promise.all(stops.map((stop) => stop()));
    for (const name of names) Bun.spawnSync(["ip", "netns", "del", space(name)], { stderr: "ignore" });
    rmSync(root, { recursive: true, force: true });
  };
  try {
    for (const name of names) {
      ip("netns", "add", space(name));
      ip("-n", space(name), "link", "set", "lo", "up");
    }
    for (const cable of cables) {
      const [left, right] = [...cable].map(space) as [string, string];
      ip("-n", left, "link", "add", cable, "type", "veth", "peer", "name", cable, "netns", right);
      for (const site of cable) {
        ip("-n", space(site), "addr", "add", `${addressOf(site, cable)}/24`, "dev", cable);
        ip("-n", space(site), "link", "set", cable, "up");
      }
    }
    for (const name of names) {
      const hosts = ["localhost", "127.0.0.1", ...cables.filter((cable) => cable.includes(name)).map((cable) => addressOf(name, cable))];
      const { site, stop } = await makeSite({ name, dir: join(root, name), hosts, space: space(name) });
      sites[name] = site;
      stops.push(stop);
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    sites,
    address: addressOf,
    cable: (between, state) => ip("-n", space(between[0]!), "link", "set", between, state),
    [Symbol.asyncDispose]: dispose,
  };
}

async function makeSite(of: { name: string; dir: string; hosts: string[]; space: string }) {
  const made = await initSite({ dir: of.dir, site: `site-${of.name}`, hosts: of.hosts, operator: { anchor: anchor() } });
  writeFileSync(join(of.dir, "ca.pem"), made.ca);
  const on = (argv: readonly string[]) => ["ip", "netns", "exec", of.space, ...argv];
  const program = new URL("mesh-site.ts", import.meta.url).pathname;
  let child: Child | undefined;
  const order = <T>(what: object) => {
    if (!child) throw new Error(`${of.name} is not running`);
    return child.order<T>(what);
  };
  const site: RingSite = {
    name: made.site,
    dir: of.dir,
    ca: made.ca,
    on,
    call: (method, path, body) => order({ method, path, body }),
    raise: (detections) => order({ raise: detections }),
    alerts: async (origin) =>
      (await order<{ alerts: Alert[] }>({ method: "GET", path: `/v1/alerts?limit=1000${origin ? `&origin=${origin}` : ""}` })).alerts,
    mesh: () => order({ method: "GET", path: "/v1/mesh" }),
    start: async () => {
      child = await startChild(on([process.execPath, program, of.dir, made.site, made.ca, made.token]));
    },
    kill: async () => {
      await child?.kill();
      child = undefined;
    },
  };
  return { site, stop: site.kill };
}

type Child = { order<T>(what: object): Promise<T>; kill(): Promise<void> };

async function startChild(argv: readonly string[]): Promise<Child> {
  const child = Bun.spawn([...argv], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
  const ready = Promise.withResolvers<void>();
  const open = new Map<number, PromiseWithResolvers<unknown>>();
  const reading = (async () => {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of child.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const { ready: isReady, id, answer, error } = JSON.parse(line) as { ready?: true; id: number; answer?: unknown; error?: string };
        if (isReady) ready.resolve();
        else if (error === undefined) open.get(id)?.resolve(answer);
        else open.get(id)?.reject(new Error(error));
      }
    }
    const over = new Error("the site's process ended");
    ready.reject(over);
    for (const one of open.values()) one.reject(over);
  })();
  await ready.promise;
  let next = 0;
  return {
    order: <T>(what: object) => {
      const id = next++;
      const answer = Promise.withResolvers<unknown>();
      open.set(id, answer);
      child.stdin.write(`${JSON.stringify({ ...what, id })}\n`);
      child.stdin.flush();
      return answer.promise as Promise<T>;
    },
    kill: async () => {
      child.kill("SIGKILL");
      await child.exited;
      await reading;
    },
  };
}
