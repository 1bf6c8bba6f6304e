// Three hosts on one switch, each a network namespace of its own: the machine's own network is never touched.
import { randomBytes } from "node:crypto";

export const hosts = ["site", "device", "attacker"] as const;
export type Host = (typeof hosts)[number];

export type Network = AsyncDisposable & {
  readonly address: Record<Host, { readonly v4: string; readonly v6: string }>;
  /** The command that runs `argv` on a host. */
  on(host: Host, argv: readonly string[]): string[];
  /** Takes a host's cable out, or puts it back. */
  plug(host: Host, state: "up" | "down"): void;
};

/** Throws with ip(8)'s own words. */
function ip(...argv: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(["ip", ...argv], { stdout: "ignore", stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`ip ${argv.join(" ")}: ${stderr.toString().trim()}`);
}

/** Makes the network; disposing deletes every namespace, and with them their links and nftables rules. Needs root. */
export function createNetwork(): Network {
  const tag = `pk${randomBytes(2).toString("hex")}`;
  const namespaces = [`${tag}-switch`, ...hosts.map((host) => `${tag}-${host}`)];
  const address = Object.fromEntries(
    hosts.map((host, at) => [host, { v4: `10.214.0.${at + 1}`, v6: `fd70:1c6e:7432::${at + 1}` }]),
  ) as Network["address"];
  const remove = () => {
    for (const namespace of namespaces) Bun.spawnSync(["ip", "netns", "del", namespace], { stderr: "ignore" });
  };
  try {
    for (const namespace of namespaces) {
      ip("netns", "add", namespace);
      ip("-n", namespace, "link", "set", "lo", "up");
    }
    ip("-n", namespaces[0]!, "link", "add", "switch", "type", "bridge");
    ip("-n", namespaces[0]!, "link", "set", "switch", "up");
    for (const host of hosts) {
      ip("-n", namespaces[0]!, "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", `${tag}-${host}`);
      ip("-n", namespaces[0]!, "link", "set", host, "master", "switch", "up");
      ip("-n", `${tag}-${host}`, "addr", "add", `${address[host].v4}/24`, "dev", "eth0");
      ip("-n", `${tag}-${host}`, "-6", "addr", "add", `${address[host].v6}/64`, "dev", "eth0", "nodad");
      ip("-n", `${tag}-${host}`, "link", "set", "eth0", "up");
    }
  } catch (error) {
    remove();
    throw error;
  }
  return {
    address,
    on: (host, argv) => ["ip", "netns", "exec", `${tag}-${host}`, ...argv],
    plug: (host, state) => ip("-n", namespaces[0]!, "link", "set", host, state),
    [Symbol.asyncDispose]: async () => remove(),
  };
}
