// Three hosts for tests, as network namespaces: a device with one cable to its broker and another to an attacker. Nothing touches the machine's own network.
import { spawnSync } from "node:child_process";

export type Host = "device" | "broker" | "attacker" | "far";

export const at = {
  broker: { v4: "10.77.1.2", v6: "fd77:1::2" },
  attacker: { v4: "10.77.2.2", v6: "fd77:2::2" },
  device: { v4: "10.77.1.1", v6: "fd77:1::1" },
  far: { v4: "10.77.3.2", v6: "fd77:3::2" },
} as const;

/** Why there can be no LAN here; undefined when there can. */
export function whyNoLan(): string | undefined {
  const name = `pkresp-try-${process.pid}`;
  const made = spawnSync("ip", ["netns", "add", name], { encoding: "utf8" });
  spawnSync("ip", ["netns", "del", name]);
  return made.status === 0 ? undefined : `no network namespaces: ${made.stderr?.trim() || "iproute2 is missing"}`;
}

export type Lan = Disposable & {
  readonly netns: (host: Host) => string;
  /** Runs a program in a host and returns what it printed. Throws when it fails. */
  readonly run: (host: Host, ...argv: string[]) => string;
};

let made = 0;

/**
 * Builds the LAN; disposing takes it down, with everything in it. With `farMtu` there is a host behind the attacker, who routes to it over a link that
 * takes only packets of that many bytes.
 */
export function openLan(of: { farMtu?: number } = {}): Lan {
  const prefix = `pkresp-${process.pid}-${made++}`;
  const netns = (host: Host) => `${prefix}-${host}`;
  const hosts: readonly Host[] = ["device", "broker", "attacker", ...(of.farMtu ? (["far"] as const) : [])];
  const close = () => {
    for (const host of hosts) spawnSync("ip", ["netns", "del", netns(host)]);
  };
  try {
    for (const host of hosts) {
      ip("netns", "add", netns(host));
      ip("-n", netns(host), "link", "set", "lo", "up");
    }
    cable(1, netns("device"), "eth1", netns("broker"));
    cable(2, netns("device"), "eth2", netns("attacker"));
    if (of.farMtu) routeToFar(netns, of.farMtu);
  } catch (error) {
    close();
    throw error;
  }
  return {
    netns,
    run: (host, ...argv) => sh("ip", "netns", "exec", netns(host), ...argv),
    [Symbol.dispose]: close,
  };
}

const ip = (...argv: string[]) => sh("ip", ...argv);

/** A link with network 10.77.`net`.0/24 and fd77:`net`::/64: host 1 on the left, 2 on the right. */
function cable(net: number, left: string, link: string, right: string): void {
  ip("-n", left, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", right);
  for (const [host, name, last] of [
    [left, link, 1],
    [right, "eth0", 2],
  ] as const) {
    ip("-n", host, "addr", "add", `10.77.${net}.${last}/24`, "dev", name);
    ip("-n", host, "addr", "add", `fd77:${net}::${last}/64`, "dev", name, "nodad");
    ip("-n", host, "link", "set", name, "up");
  }
}

function routeToFar(netns: (host: Host) => string, mtu: number): void {
  cable(3, netns("attacker"), "eth3", netns("far"));
  ip("-n", netns("attacker"), "link", "set", "eth3", "mtu", String(mtu));
  for (const forwarding of ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]) {
    ip("netns", "exec", netns("attacker"), "sysctl", "-qw", forwarding);
  }
  ip("-n", netns("device"), "route", "add", "10.77.3.0/24", "via", "10.77.2.2");
  ip("-n", netns("device"), "route", "add", "fd77:3::/64", "via", "fd77:2::2");
  ip("-n", netns("far"), "route", "add", "10.77.2.0/24", "via", "10.77.3.1");
  ip("-n", netns("far"), "route", "add", "fd77:2::/64", "via", "fd77:3::1");
}

function sh(...[command = "", ...args]: string[]): string {
  const ran = spawnSync(command, args, { encoding: "utf8" });
  if (ran.status !== 0) throw new Error(`${command} ${args.join(" ")}: ${ran.stderr}`);
  return ran.stdout;
}
