// The look-alike, run on the demo's device.
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { attack } from "./attack.ts";
import { BadDemo } from "./bad-demo.ts";
import { HOST_IP, inItsNetwork, NAMESPACE } from "./namespace.ts";

/** Runs the attack in the demo's namespace. Returns one line about what to look for. Throws `BadDemo` when no demo runs. */
export async function demoAttack(onStep: (text: string) => void, signal?: AbortSignal): Promise<string> {
  if (!existsSync(`/run/netns/${NAMESPACE}`)) throw new BadDemo("no demo is running on this host", "start one: sudo ./install.sh --demo");
  if (process.getuid?.() !== 0) throw new BadDemo("only root may run something on the demo's device", "run sudo picket demo attack");
  const name = `picket-demo-${randomBytes(3).toString("hex")}`;
  const { heard } = await attack({ host: HOST_IP, onDevice: inItsNetwork, name, interpreter: "/bin/sh", onStep, signal });
  return `done and undone; our listener heard ${JSON.stringify(heard.trim())} over the network. Alerts follow in seconds`;
}
