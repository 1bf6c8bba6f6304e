// Hosts on one switch, each a network namespace of its own: the machine's own network is never touched.
import { randomBytes } from "node:crypto";

export type Network = Disposable & {
  /** What the names of all its namespaces begin with. */
  readonly tag: string;
  addressOf(host: string): string;
  /** The command that runs `argv` on a host. `ip netns exec` would mount a new /sys, in which the agent's sensor finds no tracefs. */
  on(host: string, argv: readonly string[]): string[];
  /** Takes a host's cable out, or puts it back. */
  plug(host: string, state: "up" | "down"): void;
  /** Drops this share of the packets that reach a host; 0 ends it. netem would do more, but not every kernel has it. */
  lose(host: string, percent: number): void;
};

/** Throws with the program's own words. */
function run(argv: readonly string[], stdin?: string): void {
  const { exitCode, stderr } = Bun.spawnSync([...argv], {
    stdin: stdin === undefined ? "ignore" : new TextEncoder().encode(stdin),
    stdout: "ignore",
    stderr: "pipe",
  });
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr.toString().trim()}`);
}

/** Makes the network; disposing deletes every namespace, and with them their links and nftables rules. Needs root. */
export function createNetwork(hosts: readonly string[]): Network {
  const tag = `pkc${randomBytes(3).toString("hex")}`;
  const switchName = `${tag}-switch`;
  const namespaces = [switchName, ...hosts.map((host) => `${tag}-${host}`)];
  const remove = () => {
    for (const namespace of namespaces) Bun.spawnSync(["ip", "netns", "del", namespace], { stderr: "ignore" });
  };
  const addressOf = (host: string) => `10.215.0.${hosts.indexOf(host) + 1}`;
  const on = (host: string, argv: readonly string[]) => ["nsenter", `--net=/run/netns/${tag}-${host}`, "--", ...argv];
  try {
    for (const namespace of namespaces) {
      run(["ip", "netns", "add", namespace]);
      run(["ip", "-n", namespace, "link", "set", "lo", "up"]);
    }
    run(["ip", "-n", switchName, "link", "add", "switch", "type", "bridge"]);
    run(["ip", "-n", switchName, "link", "set", "switch", "up"]);
    for (const host of hosts) {
      run(["ip", "-n", switchName, "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", `${tag}-${host}`]);
      run(["ip", "-n", switchName, "link", "set", host, "master", "switch", "up"]);
      run(["ip", "-n", `${tag}-${host}`, "addr", "add", `${addressOf(host)}/24`, "dev", "eth0"]);
      run(["ip", "-n", `${tag}-${host}`, "link", "set", "eth0", "up"]);
    }
  } catch (error) {
    remove();
    throw error;
  }
  return {
    tag,
    addressOf,
    on,
    plug: (host, state) => run(["ip", "-n", switchName, "link", "set", host, state]),
    lose: (host, percent) => {
      const rule = `numgen random mod 100 < ${percent} drop`;
      const chain = `chain in {\n type filter hook input priority 0\n iifname "eth0" ${rule}\n }`;
      const table = percent > 0 ? `table inet chaos {\n ${chain}\n }\n` : "";
      run(on(host, ["nft", "-f", "-"]), `table inet chaos {\n}\ndelete table inet chaos\n${table}`);
    },
    [Symbol.dispose]: remove,
  };
}
