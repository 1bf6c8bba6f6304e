// A ring of four sites with real brokers, certificates and cables that are cut, and a fifth that turns bad.
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { detectionAt } from "../../broker/mesh/testing/sites.ts";
import type { Alert, Detection } from "../../protocol/alert.ts";
import { createRing, type Ring, type RingSite } from "./mesh-ring.ts";
import { eventually, run } from "./program.ts";

const root = process.getuid?.() === 0;
const names = ["a", "b", "c", "d"] as const;
let ring: Ring;
/** Every alert raised, by id, with the site it was raised at. */
const raised = new Map<string, string>();

const at = (name: string): RingSite => ring.sites[name]!;

beforeAll(async () => {
  if (!root) return;
  ring = await createRing([...names, "m"], ["ab", "bc", "cd", "da", "am"]);
  await Promise.all([...names, "m"].map((name) => at(name).start()));
  for (const [joiner, inviter, cable] of [
    ["b", "a", "ab"],
    ["c", "b", "bc"],
    ["d", "c", "cd"],
    ["a", "d", "da"],
  ] as const)
    await joinOver(joiner, inviter, cable);
}, 120_000);

afterAll(async () => {
  await ring?.[Symbol.asyncDispose]();
}, 30_000);

async function joinOver(joiner: string, inviter: string, cable: string): Promise<void> {
  const { token } = await at(inviter).call<{ token: string }>("POST", "/v1/mesh/invites", { host: ring.address(inviter, cable) });
  await at(joiner).call("POST", "/v1/mesh/join", { token });
}

async function raise(name: string, count: number): Promise<void> {
  const detections: Detection[] = Array.from({ length: count }, () => detectionAt(at(name).name));
  for (const { id, site } of detections) raised.set(id, site);
  await at(name).raise(detections);
}

const ofRing = (alerts: readonly Alert[]) => alerts.filter((alert) => alert.rule.engine !== "broker" && raised.has(alert.id));

/** Every console has every alert exactly once, and says rightly whose it is. */
async function everywhere(patienceMs = 30_000): Promise<void> {
  for (const name of names) {
    const site = at(name);
    const alerts = await eventually(
      `all ${raised.size} alerts at ${site.name}`,
      async () => {
        const seen = ofRing(await site.alerts());
        return seen.length >= raised.size && seen;
      },
      patienceMs,
    );
    expect(new Set(alerts.map(({ id }) => id)).size, site.name).toBe(alerts.length);
    expect(alerts.length, site.name).toBe(raised.size);
    for (const alert of alerts) expect(alert.origin?.site ?? site.name).toBe(raised.get(alert.id));
  }
}

test.skipIf(!root)("needs root: alerts go round the ring once, with their origin", async () => {
  await Promise.all(names.map((name) => raise(name, 3)));
  await everywhere();
  const trust = new Set((await at("a").alerts("mesh")).map(({ origin }) => `${origin?.site} ${origin?.trust}`));
  expect([...trust].sort()).toEqual(["site-b peer", "site-c vouched", "site-d peer"]);
});

test.skipIf(!root)(
  "needs root: cut in two, each half goes on; healed, everybody gets everything once",
  async () => {
    ring.cable("ab", "down");
    ring.cable("cd", "down");
    const before = raised.size;
    await Promise.all(names.map((name) => raise(name, 3)));
    for (const [name, other] of [
      ["a", "site-d"],
      ["c", "site-b"],
    ] as const)
      await eventually(`${other}'s at ${name}`, async () => {
        const seen = ofRing(await at(name).alerts("mesh"));
        return [...raised]
          .slice(before)
          .filter(([, site]) => site === other)
          .every(([id]) => seen.some((alert) => alert.id === id));
      });
    expect(
      ofRing(await at("a").alerts("mesh")).filter(
        ({ id, origin }) => origin?.site === "site-b" && [...raised.keys()].indexOf(id) >= before,
      ),
    ).toEqual([]);
    ring.cable("ab", "up");
    ring.cable("cd", "up");
    await everywhere();
  },
  60_000,
);

test.skipIf(!root)(
  "needs root: kill -9 in mid-flow loses nothing and doubles nothing",
  async () => {
    const flow = Promise.all([raise("b", 150), raise("d", 150)]);
    await at("c").kill();
    await flow;
    await raise("a", 20);
    await at("c").start();
    await raise("c", 5);
    await everywhere();
  },
  60_000,
);

test.skipIf(!root)(
  "needs root: a site gone bad forges nothing, is limited and shown, and the others go on",
  async () => {
    await joinOver("m", "a", "am");
    await eventually(
      "m is connected",
      async () => (await at("a").mesh()).peers.find(({ site }) => site === "site-m")?.state === "connected",
    );
    // Its key is in other hands now.
    await at("m").kill();
    const attacker = new URL("mesh-attacker.ts", import.meta.url).pathname;
    const m = at("m");
    const attacked = run(m.on([process.execPath, attacker, m.dir, ring.address("a", "am"), "site-a", join(at("a").dir, "ca.pem")]));
    await raise("b", 5);
    await everywhere();
    const { stdout } = await attacked;
    expect(stdout).toContain("flood");
    const { peers } = await at("a").mesh();
    const bad = peers.find(({ site }) => site === "site-m");
    expect(bad).toMatchObject({ limitedBy: "picket", itemsPerS: 1 });
    expect(bad?.refused.forged ?? 0).toBeGreaterThan(0);
    expect(bad?.refused.oversize ?? 0).toBeGreaterThan(0);
    expect(bad?.refused.replayed ?? 0).toBeGreaterThan(0);
    expect(peers.filter(({ site }) => site !== "site-m").map(({ refused }) => refused.forged ?? 0)).toEqual([0, 0]);
    expect((await at("a").alerts("own")).some(({ rule }) => rule.id === "picket-broker-mesh-peer")).toBe(true);
    for (const name of names) expect((await at(name).alerts()).filter(({ summary }) => summary === "FORGED")).toEqual([]);
    await raise("a", 2);
    await everywhere();
  },
  60_000,
);

test.skipIf(!root)(
  "needs root: a peer that is removed is out at once; its alerts still come the long way",
  async () => {
    await at("a").call("POST", "/v1/mesh/peers/site-b/remove", {});
    await eventually("b hears of it", async () => (await at("b").mesh()).peers.find(({ site }) => site === "site-a")?.state === "left");
    await raise("b", 2);
    await everywhere();
    const last = (await at("a").alerts("mesh")).filter(({ origin }) => origin?.site === "site-b");
    expect(last.every(({ origin }) => origin?.trust === "vouched")).toBe(true);
  },
  60_000,
);
