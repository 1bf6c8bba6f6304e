// Three hosts for tests, as network namespaces: a device with one cable to its broker and another to an attacker. Nothing touches the machine's own network.
import { spawnSync } from "node:child_process";

export type Host = "device" | "broker" | "attacker";

export const at = {
  broker: { v4: "10.77.1.2", v6: "fd77:1::2" },
  attacker: { v4: "10.77.2.2", v6: "fd77:2::2" },
  device: { v4: "10.77.1.1", v6: "fd77:1::1" },
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

/** Builds the LAN; disposing takes it down, with everything in it. */
export function openLan(): Lan {
  const prefix = `pkresp-${process.pid}-${made++}`;
  const netns = (host: Host) => `${prefix}-${host}`;
  const hosts: readonly Host[] = ["device", "broker", "attacker"];
  const ip = (...argv: string[]) => sh("ip", ...argv);
  const close = () => {
    for (const host of hosts) spawnSync("ip", ["netns", "del", netns(host)]);
  };
  try {
    for (const host of hosts) {
      ip("netns", "add", netns(host));
      ip("-n", netns(host), "link", "set", "lo", "up");
    }
    for (const [index, peer] of (["broker", "attacker"] as const).entries()) {
      const net = index + 1;
      ip("-n", netns("device"), "link", "add", `eth${net}`, "type", "veth", "peer", "name", "eth0", "netns", netns(peer));
      for (const [host, link, last] of [
        ["device", `eth${net}`, 1],
        [peer, "eth0", 2],
      ] as const) {
        ip("-n", netns(host), "addr", "add", `10.77.${net}.${last}/24`, "dev", link);
        ip("-n", netns(host), "addr", "add", `fd77:${net}::${last}/64`, "dev", link, "nodad");
        ip("-n", netns(host), "link", "set", link, "up");
      }
    }
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

function sh(...[command = "", ...args]: string[]): string {
  const ran = spawnSync(command, args, { encoding: "utf8" });
  if (ran.status !== 0) throw new Error(`${command} ${args.join(" ")}: ${ran.stderr}`);
  return ran.stdout;
}
