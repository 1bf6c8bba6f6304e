// A real agent process, enrolled with a test site, in a state folder of its own.
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeIdentity } from "../enroll/files.ts";
import { anchor } from "../enroll/testing/site.ts";
import type { Site } from "../uplink/testing/broker.ts";

export const main = new URL("../main.ts", import.meta.url).pathname;

/** A state folder of device "pi", and a configuration file that watches nothing but `watch`. */
export function enrolledState(
  site: Site,
  at: { mqtt: number; https?: number },
  cert = site.device.cert,
): { dir: string; state: string; config: string } {
  const dir = mkdtempSync(join(tmpdir(), "pkagt-device-"));
  const state = join(dir, "state");
  const config = join(dir, "agent.toml");
  writeFileSync(
    config,
    `state = ${JSON.stringify(state)}\nheartbeatS = 5\n[watch]\nread = []\nwrite = [${JSON.stringify(`${dir}/watched/`)}]\n`,
  );
  writeIdentity(
    state,
    { device: "pi", site: "lab", https: `127.0.0.1:${at.https ?? 1}`, mqtt: `127.0.0.1:${at.mqtt}`, anchor },
    { key: site.device.key, cert, ca: site.ca.cert },
  );
  return { dir, state, config };
}

export type AgentProcess = { readonly pid: number; readonly exited: Promise<number>; kill(signal: NodeJS.Signals): void; stderr(): string };

/** Starts `picket-agent` with these arguments. What it writes to standard error is kept. */
export function startAgentProcess(args: readonly string[], env: Record<string, string> = {}): AgentProcess {
  let text = "";
  const child = Bun.spawn([process.execPath, main, ...args], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
    env: { ...process.env, ...env },
  });
  const reading = (async () => {
    for await (const chunk of child.stderr) text += new TextDecoder().decode(chunk);
  })();
  return {
    pid: child.pid,
    exited: Promise.all([child.exited, reading]).then(([code]) => code),
    kill: (signal) => child.kill(signal),
    stderr: () => text,
  };
}

/** Runs a command of the agent to its end. */
export async function agentCommand(args: readonly string[], env: Record<string, string> = {}, stdin = "") {
  const child = Bun.spawn([process.execPath, main, ...args], {
    stdin: Buffer.from(stdin),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...env },
  });
  const [stdout, stderr, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { stdout, stderr, code };
}
