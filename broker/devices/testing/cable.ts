// Two hosts with one cable between them, as network namespaces of the test's own.
import { spawnSync } from "node:child_process";

export const address = { site: "10.78.6.1", device: "10.78.6.2" } as const;
type Host = keyof typeof address;

export type Cable = Disposable & {
  readonly on: (host: Host, ...argv: string[]) => string[];
  /** Pulls the cable at one end, or puts it back. */
  readonly set: (host: Host, state: "up" | "down") => void;
  /** Another network of the site's host, on which nobody is. */
  readonly other: (there: boolean) => void;
};

/** Why there can be none here; undefined when there can. */
export function whyNoCable(): string | undefined {
  const name = `pkledger-try-${process.pid}`;
  const made = spawnSync("ip", ["netns", "add", name], { encoding: "utf8" });
  spawnSync("ip", ["netns", "del", name]);
  return made.status === 0 ? undefined : `no network namespaces: ${made.stderr?.trim() || "iproute2 is missing"}`;
}

export function openCable(): Cable {
  const netns = (host: Host) => `pkledger-${process.pid}-${host}`;
  const hosts = Object.keys(address) as Host[];
  const close = () => {
    for (const host of hosts) spawnSync("ip", ["netns", "del", netns(host)]);
  };
  try {
    for (const host of hosts) {
      ip("netns", "add", netns(host));
      ip("-n", netns(host), "link", "set", "lo", "up");
    }
    ip("-n", netns("site"), "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", netns("device"));
    for (const host of hosts) {
      ip("-n", netns(host), "addr", "add", `${address[host]}/24`, "dev", "eth0");
      ip("-n", netns(host), "link", "set", "eth0", "up");
    }
  } catch (error) {
    close();
    throw error;
  }
  return {
    on: (host, ...argv) => ["ip", "netns", "exec", netns(host), ...argv],
    set: (host, state) => ip("-n", netns(host), "link", "set", "eth0", state),
    other: (there) => {
      if (!there) return ip("-n", netns("site"), "link", "del", "eth1");
      ip("-n", netns("site"), "link", "add", "eth1", "type", "veth", "peer", "name", "eth2");
      ip("-n", netns("site"), "addr", "add", "10.78.7.1/24", "dev", "eth1");
      for (const name of ["eth1", "eth2"]) ip("-n", netns("site"), "link", "set", name, "up");
    },
    [Symbol.dispose]: close,
  };
}

function ip(...args: string[]): void {
  const ran = spawnSync("ip", args, { encoding: "utf8" });
  if (ran.status !== 0) throw new Error(`ip ${args.join(" ")}: ${ran.stderr}`);
}
