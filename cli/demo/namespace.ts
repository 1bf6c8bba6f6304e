// The demo's device lives in a network namespace of its own, so that isolating it cuts nobody off.
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

/** Deletes the namespace, its nftables rules and the veth pair with it. Nothing happens when there is none. */
export async function deleteNamespace(exec: Run = run): Promise<void> {
  await exec(["ip", "netns", "del", NAMESPACE]);
  await exec(["ip", "link", "del", HOST_LINK]);
}

/** The command that runs `argv` inside the namespace. */
export const inNamespace = (argv: readonly string[]) => ["ip", "netns", "exec", NAMESPACE, ...argv];
