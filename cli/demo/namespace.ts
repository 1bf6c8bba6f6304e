// The demo's device lives in a network namespace of its own, so that isolating it cuts nobody off.
import { networkInterfaces } from "node:os";
import { BadDemo } from "./bad-demo.ts";

export const NAMESPACE = "picket-demo";
const HOST_LINK = "pkdemo0";
const DEVICE_LINK = "pkdemo1";
/** Of 10.213.77.0/30 and a unique local prefix (RFC 4193): the host's end, and the device's. */
export const HOST_IP = "10.213.77.1";
const DEVICE_IP = "10.213.77.2";
const HOST_IP6 = "fd70:1c6e:7431::1";
const DEVICE_IP6 = "fd70:1c6e:7431::2";

export type Run = (argv: readonly string[]) => Promise<{ readonly code: number; readonly stderr: string }>;

/** Runs a program without a shell and collects what it says on stderr. */
export const run: Run = async (argv) => {
  const child = Bun.spawn([...argv], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const stderr = await new Response(child.stderr).text();
  return { code: await child.exited, stderr: stderr.trim() };
};

/**
 * Makes the namespace and a veth pair to it; one left by a run that was killed is replaced.
 * Nothing is forwarded or translated: the demo's device reaches this host and nothing else. Throws `BadDemo`.
 */
export async function createNamespace(exec: Run = run): Promise<void> {
  await deleteNamespace(exec);
  const steps: readonly (readonly string[])[] = [
    ["ip", "netns", "add", NAMESPACE],
    ["ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", DEVICE_LINK, "netns", NAMESPACE],
    ["ip", "addr", "add", `${HOST_IP}/30`, "dev", HOST_LINK],
    ["ip", "-6", "addr", "add", `${HOST_IP6}/64`, "dev", HOST_LINK, "nodad"],
    ["ip", "link", "set", HOST_LINK, "up"],
    ["ip", "-n", NAMESPACE, "addr", "add", `${DEVICE_IP}/30`, "dev", DEVICE_LINK],
    ["ip", "-n", NAMESPACE, "-6", "addr", "add", `${DEVICE_IP6}/64`, "dev", DEVICE_LINK, "nodad"],
    ["ip", "-n", NAMESPACE, "link", "set", "lo", "up"],
    ["ip", "-n", NAMESPACE, "link", "set", DEVICE_LINK, "up"],
    ["ip", "-n", NAMESPACE, "route", "add", "default", "via", HOST_IP],
  ];
  for (const step of steps) {
    const { code, stderr } = await exec(step);
    // A host without IPv6 still runs the demo, over IPv4.
    if (code === 0 || step.includes("-6")) continue;
    await deleteNamespace(exec);
    throw new BadDemo(
      `the demo's network namespace cannot be made: ${step.join(" ")}: ${stderr}`,
      "run as root on a kernel with network namespaces and veth",
    );
  }
}

/** How long a demo that was killed may take to end, milliseconds. */
const ENDING_MS = 3000;

/** Throws `BadDemo` when another demo runs on this host: making its namespace anew would cut its device off for good. */
export async function refuseSecond(port: number, endingMs = ENDING_MS): Promise<void> {
  const until = performance.now() + endingMs;
  while (hasAddress(HOST_IP) && (await answers(HOST_IP, port))) {
    if (performance.now() > until)
      throw new BadDemo("a demo is running on this host already", "use that one, or end it with q or Ctrl-C where it runs");
    await Bun.sleep(200);
  }
}

/** Throws `BadDemo` when another program has one of these ports. After `createNamespace`, which brings the address. */
export function refuseTakenPorts(host: string, ports: readonly number[]): void {
  for (const port of ports)
    try {
      Bun.listen({ hostname: host, port, socket: { data: () => undefined } }).stop(true);
    } catch (error) {
      throw new BadDemo(
        `port ${port} of ${host} cannot be used: ${(error as Error).message}`,
        `ss -ltnp 'sport = :${port}' shows what has it; end that`,
      );
    }
}

// Asked only where the address is our own: nobody else's host is called.
const hasAddress = (ip: string) => Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === ip));

async function answers(hostname: string, port: number): Promise<boolean> {
  try {
    (await Bun.connect({ hostname, port, socket: { data: () => undefined } })).end();
    return true;
  } catch {
    return false;
  }
}

/** Deletes the namespace, its nftables rules and the veth pair with it. Nothing happens when there is none. */
export async function deleteNamespace(exec: Run = run): Promise<void> {
  await exec(["ip", "netns", "del", NAMESPACE]);
  await exec(["ip", "link", "del", HOST_LINK]);
}

/** The command that runs `argv` inside the namespace. */
export const inNamespace = (argv: readonly string[]) => ["ip", "netns", "exec", NAMESPACE, ...argv];

/** The same with the host's own /sys: nothing is mounted, and so nothing but `argv` is seen. */
export const inItsNetwork = (argv: readonly string[]) => ["nsenter", `--net=/run/netns/${NAMESPACE}`, ...argv];
