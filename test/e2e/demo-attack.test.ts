// No rule may know the demo: with other names, ports and interpreters the same behaviour is still seen.
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createNetwork, type Network } from "./network.ts";
import { eventually, run } from "./program.ts";
import { createSite, type Site } from "./site.ts";

const root = process.getuid?.() === 0;
const interpreters = ["/bin/sh", "/bin/bash", "/bin/dash"];
let network: Network;
let site: Site;

beforeAll(async () => {
  if (!root) return;
  network = createNetwork();
  site = await createSite(network);
  await site.startBroker();
  await site.startDetector();
  await site.startAgent();
}, 120_000);

afterAll(async () => {
  await site?.[Symbol.asyncDispose]();
  await network?.[Symbol.asyncDispose]();
});

test.skipIf(!root).each(interpreters)(
  "needs root: the look-alike is seen when run by %s under a random name, and undone",
  async (interpreter) => {
    const name = randomBytes(5).toString("hex");
    const deviceNamespace = network.on("device", [])[3]!;
    const intruder = [
      "bun",
      new URL("intruder.ts", import.meta.url).pathname,
      deviceNamespace,
      network.address.attacker.v4,
      name,
      interpreter,
    ];
    const { code, stdout, stderr } = await run(network.on("attacker", intruder));
    expect(code, stderr).toBe(0);
    expect(stdout).toContain("a shell on the device");

    const mine = await eventually("alerts about every step", async () => {
      const alerts = (await site.alerts()).filter((alert) => JSON.stringify(alert.tree).includes(name));
      const techniques = new Set(alerts.flatMap((alert) => alert.attack.techniques.map((id) => id.split(".")[0])));
      const worst = alerts.some(({ severity }) => severity === "critical");
      return worst && ["T1059", "T1105", "T1003", "T1053"].every((id) => techniques.has(id)) && alerts;
    });
    expect(mine.map((alert) => alert.severity)).toContain("critical");
    expect(mine.some((alert) => alert.rule.engine === "correlation")).toBe(true);

    expect(existsSync(`/etc/cron.d/${name}`)).toBe(false);
    expect(readdirSync("/tmp").filter((file) => file.includes(name))).toEqual([]);
  },
);
