import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openNft } from "node-nftables";
import { afterEach, beforeEach, expect, test } from "vitest";
import { droppedBy, FAMILY, TABLE } from "./table.ts";
import { at, type Host, type Lan, openLan, whyNoLan } from "./testing/lan.ts";
import { isolate, newOperators, release } from "./testing/operator.ts";
import { type Program, startProgram } from "./testing/program.ts";

const skip = whyNoLan();
if (skip) console.warn(`isolation: skipped, ${skip}`);

const operators = await newOperators();
const script = (name: string) => new URL(`testing/${name}.ts`, import.meta.url);
let lan: Lan;
let stateDir: string;
let open: AsyncDisposableStack;

beforeEach(() => {
  if (skip) return;
  lan = openLan();
  open = new AsyncDisposableStack();
  stateDir = mkdtempSync(join(tmpdir(), "picket-response-"));
});
afterEach(async () => {
  if (skip) return;
  await open.disposeAsync();
  lan[Symbol.dispose]();
  rmSync(stateDir, { recursive: true, force: true });
});

const nft = () => openNft({ netns: lan.netns("device") });
const table = () => nft().list(FAMILY, TABLE);

async function talker(host: Host, listen: number[], of: { bind?: number; count?: boolean } = {}): Promise<Program> {
  const program = open.use(startProgram(lan.netns(host), script("talker"), { listen, ...of }));
  await program.heard((line) => line.ready === true);
  return program;
}

async function device(of: Record<string, unknown> = {}): Promise<Program> {
  const broker = { hosts: ["broker.lab"], mqttPort: 8883, httpsPort: 8443 };
  const names = { "broker.lab": [at.broker.v4, at.broker.v6] };
  const { anchor, keys } = operators;
  const options = { stateDir, site: "lab", device: "kiosk-1", anchor, keys, broker, names, keepConnections: true, ...of };
  const program = open.use(startProgram(lan.netns("device"), script("device"), options));
  await program.heard((line) => line.ready === true);
  return program;
}

async function order(to: Program, action: Parameters<typeof operators.command>[0]): Promise<Record<string, unknown>> {
  const jws = await operators.command(action);
  const { jti } = JSON.parse(Buffer.from(jws.split(".")[1]!, "base64url").toString());
  to.tell({ command: jws });
  const line = await to.heard((said) => (said.result as { jti?: string } | undefined)?.jti === jti);
  return line.result as Record<string, unknown>;
}

async function look(at: Program): Promise<Record<string, unknown>> {
  const before = at.said.length;
  at.tell({ look: true });
  return at.heard((line) => line.isolation !== undefined && at.said.indexOf(line) >= before);
}

async function link(from: Program, to: Program, name: string, host: string, port: number): Promise<string> {
  const before = to.said.length;
  from.tell({ connect: { name, host, port } });
  await from.heard((line) => line.connected === name);
  const line = await to.heard((said) => typeof said.accepted === "string" && to.said.indexOf(said) >= before);
  return line.accepted as string;
}

async function passes(from: Program, as: string, to: Program, name: string, data: string): Promise<void> {
  from.tell({ say: { name: as, data } });
  await to.heard((line) => line.name === name && line.data === data);
}

/** Awaits what a later look at the kernel must show. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await Bun.sleep(20);
}

test.skipIf(skip).each(["v4", "v6"] as const)(
  "%s: what was open dies both ways, nothing new opens, the broker's connection goes on, release restores",
  async (family) => {
    const [broker, attacker, local, agent] = await Promise.all([
      talker("broker", [8883, 8443]),
      talker("attacker", [4444]),
      talker("device", [2222]),
      device(),
    ]);
    const uplink = await link(local, broker, "uplink", at.broker[family], 8883);
    const shell = await link(local, attacker, "shell", at.attacker[family], 4444);
    await passes(local, "shell", attacker, shell, "before out");
    await passes(attacker, shell, local, "shell", "before in");

    expect(await order(agent, isolate())).toMatchObject({ act: "isolate", ok: true, code: "done" });
    expect(await look(agent)).toMatchObject({ isolation: { state: "isolated", reason: "test" }, addresses: [at.broker.v4, at.broker.v6] });

    const start = droppedBy((await table())!);
    local.tell({ say: { name: "shell", data: "after out" } });
    attacker.tell({ say: { name: shell, data: "after in" } });
    local.tell({ connect: { name: "new", host: at.attacker[family], port: 4444 } });
    attacker.tell({ connect: { name: "inwards", host: family === "v4" ? "10.77.2.1" : "fd77:2::1", port: 2222 } });
    broker.tell({ connect: { name: "sideways", host: at.device[family], port: 2222 } });
    // One packet of the old connection and one SYN at least, in each direction, have died in our own rules.
    await until(async () => {
      const dropped = droppedBy((await table())!);
      return dropped.output >= start.output + 2 && dropped.input >= start.input + 3;
    });
    // Whatever the kernel remembered of its neighbours, it has to find them again.
    for (const host of ["device", "broker"] as const) lan.run(host, "ip", "neigh", "flush", "all");
    await passes(local, "uplink", broker, uplink, "still out");
    await passes(broker, uplink, local, "uplink", "still in");
    await link(local, broker, "renewal", at.broker[family], 8443);

    const heard = JSON.stringify([attacker.said, local.said, broker.said]);
    expect(heard).not.toContain("after out");
    expect(heard).not.toContain("after in");
    for (const name of ["new", "inwards", "sideways"]) expect(heard).not.toContain(`"connected":"${name}"`);

    expect(await order(agent, release)).toMatchObject({
      act: "release",
      ok: true,
      code: "done",
      message: expect.stringMatching(/dropped meanwhile: [1-9]/),
    });
    expect(await table()).toBeUndefined();
    await link(local, attacker, "restored", at.attacker[family], 4444);
  },
);

test.skipIf(skip)("the intruder's connection is ended for good where the kernel can: it does not come back after a release", async () => {
  const [broker, attacker, local, agent] = await Promise.all([
    talker("broker", [8883]),
    talker("attacker", [4444]),
    talker("device", []),
    device({ keepConnections: false }),
  ]);
  const uplink = await link(local, broker, "uplink", at.broker.v4, 8883);
  await link(local, attacker, "shell", at.attacker.v4, 4444);
  expect(await order(agent, isolate())).toMatchObject({ ok: true, message: expect.stringContaining("connections ended") });
  await local.heard((line) => line.name === "shell" && line.closed === true);
  await order(agent, release);
  await passes(local, "uplink", broker, uplink, "alive");
});

test.skipIf(skip)("ordered twice it is the same table once, and from inside no name is asked for", async () => {
  await talker("broker", [8883]);
  const agent = await device();
  await order(agent, isolate());
  const once = (await table())!;
  expect(await order(agent, isolate(7_200_000))).toMatchObject({ ok: true });
  const twice = (await table())!;
  expect(twice.rules.map((rule) => [rule.chain, rule.expr])).toEqual(once.rules.map((rule) => [rule.chain, rule.expr]));
  expect(twice.chains.map(({ name, hook, policy }) => [name, hook, policy])).toEqual([
    ["input", "input", "drop"],
    ["output", "output", "drop"],
    ["forward", "forward", "drop"],
  ]);
  expect((await look(agent)).isolation).toMatchObject({ deadManLeftMs: expect.toSatisfy((left: number) => left <= 7_200_000) });
});

test.skipIf(skip).each([
  ["a name that does not exist", { names: {} }],
  ["a name without a usable address", { names: { "broker.lab": ["0.0.0.0", "224.0.0.1", "ff02::1", "fe80::1%eth0"] } }],
])("%s: not isolated, and no loopback in its place", async (_, of) => {
  const agent = await device(of);
  expect(await order(agent, isolate())).toMatchObject({ ok: false, code: "failed", message: expect.stringContaining("broker.lab") });
  expect(await table()).toBeUndefined();
  expect((await look(agent)).isolation).toMatchObject({ state: "off" });
});

test.skipIf(skip)("reachable before, unreachable behind the rules: rolled back with the reason", async () => {
  await talker("broker", [8883]);
  // The broker is reached through address translation: its answers come from an address that the rules do not know.
  lan.run(
    "device",
    "nft",
    "add table ip nat; add chain ip nat out { type nat hook output priority -100; }; add rule ip nat out ip daddr 10.77.1.99 dnat to 10.77.1.2",
  );
  const agent = await device({ names: { "broker.lab": ["10.77.1.99"] } });
  const result = await order(agent, isolate());
  expect(result).toMatchObject({ ok: false, code: "rolled-back", message: expect.stringContaining("reachable before") });
  expect(await table()).toBeUndefined();
  expect((await look(agent)).isolation).toMatchObject({ state: "off" });
});

test.skipIf(skip)("a broker that was away before is no reason to roll back", async () => {
  const agent = await device();
  expect(await order(agent, isolate())).toMatchObject({ ok: true, code: "done" });
});

test.skipIf(skip)("a drop rule that counts nothing proves nothing: rolled back", async () => {
  await talker("broker", [8883]);
  // Somebody else drops the probe before our table sees it.
  lan.run(
    "device",
    "nft",
    "add table inet other; add chain inet other out { type filter hook output priority -390; }; add rule inet other out udp dport 9 drop",
  );
  const agent = await device();
  expect(await order(agent, isolate())).toMatchObject({
    code: "rolled-back",
    message: expect.stringContaining("not counted by the drop rule"),
  });
  expect(await table()).toBeUndefined();
});

test.skipIf(skip)("kill -9 while isolated: still isolated, and again after the table was lost with a reboot", async () => {
  await talker("broker", [8883]);
  const first = await device();
  await order(first, isolate());
  await first.kill();
  expect(await table()).toBeDefined();

  lan.run("device", "nft", "delete table inet picket_isolation");
  // At boot there may be no DNS yet: the addresses come from the disk.
  const second = await device({ names: {}, bootId: "after the reboot" });
  expect((await table())?.chains).toHaveLength(3);
  expect(await look(second)).toMatchObject({
    isolation: { state: "isolated" },
    addresses: [at.broker.v4, at.broker.v6],
    pending: [{ code: "done" }],
  });
  expect(await order(second, release)).toMatchObject({ ok: true });
  expect(await table()).toBeUndefined();
});

test.skipIf(skip)("rules removed or changed on the device are applied again within a minute, and that is told", async () => {
  await talker("broker", [8883]);
  const agent = await device();
  await order(agent, isolate());
  lan.run("device", "nft", "insert rule inet picket_isolation output accept");
  agent.tell({ sleepMs: 61_000 });
  await agent.heard((line) => (line.event as { code?: string } | undefined)?.code === "repaired");
  expect((await table())!.rules.some((rule) => rule.chain === "output" && rule.expr.length === 1)).toBe(false);
});

test.skipIf(skip)("the dead-man timer runs only while the broker is away, also through a restart, and then releases", async () => {
  await talker("broker", [8883]);
  const first = await device();
  first.tell({ reachable: true });
  await order(first, isolate(3_600_000));
  first.tell({ sleepMs: 10 * 3_600_000 });
  expect(await look(first)).toMatchObject({ isolation: { state: "isolated", deadManLeftMs: 3_600_000 } });

  first.tell({ reachable: false });
  first.tell({ sleepMs: 40 * 60_000 });
  await until(async () => ((await look(first)).isolation as { deadManLeftMs: number }).deadManLeftMs <= 20 * 60_000);
  // The time left is on disk once a minute of boot time.
  await until(
    async () => JSON.parse(await Bun.file(join(stateDir, "response.json")).text()).state.isolation.countdown.leftMs <= 20 * 60_000,
  );
  await first.kill();

  const second = await device({ bootId: "after the reboot" });
  expect(((await look(second)).isolation as { deadManLeftMs: number }).deadManLeftMs).toBeLessThanOrEqual(20 * 60_000);
  second.tell({ reachable: true });
  second.tell({ reachable: false });
  second.tell({ sleepMs: 59 * 60_000 });
  expect((await look(second)).isolation).toMatchObject({ state: "isolated" });
  second.tell({ sleepMs: 2 * 60_000 });
  await second.heard((line) => (line.event as { code?: string } | undefined)?.code === "released-by-dead-man");
  expect(await table()).toBeUndefined();
  expect((await look(second)).isolation).toMatchObject({ state: "released-by-dead-man" });
  await second.kill();

  const third = await device();
  expect((await look(third)).isolation).toMatchObject({ state: "released-by-dead-man" });
  expect(await table()).toBeUndefined();
});

test.skipIf(skip)("a gateway forwards nothing any more, not even to the broker", async () => {
  lan.run("device", "sysctl", "-qw", "net.ipv4.ip_forward=1");
  lan.run("broker", "ip", "route", "add", "10.77.2.0/24", "via", "10.77.1.1");
  lan.run("attacker", "ip", "route", "add", "10.77.1.0/24", "via", "10.77.2.1");
  const [broker, attacker, agent] = await Promise.all([talker("broker", [8883]), talker("attacker", []), device()]);
  const through = await link(attacker, broker, "through", at.broker.v4, 8883);
  await order(agent, isolate());
  const start = droppedBy((await table())!).forward;
  attacker.tell({ say: { name: "through", data: "after" } });
  broker.tell({ say: { name: through, data: "back" } });
  await until(async () => droppedBy((await table())!).forward >= start + 2);
  expect(JSON.stringify([broker.said, attacker.said])).not.toMatch(/after|back/);
});

test.skipIf(skip)("an address can be kept or had by DHCP, but its ports are no way out to a host of one's choice", async () => {
  const [server, client, agent] = await Promise.all([talker("attacker", [], { bind: 67 }), talker("device", [], { bind: 68 }), device()]);
  lan.run("device", "ip", "route", "add", "default", "dev", "eth2");
  await order(agent, isolate());
  client.tell({ send: { host: "255.255.255.255", port: 67, data: "discover" } });
  await server.heard((line) => line.datagram === "discover");
  server.tell({ send: { host: "10.77.2.1", port: 68, data: "offer" } });
  await client.heard((line) => line.datagram === "offer");

  const start = droppedBy((await table())!).output;
  client.tell({ send: { host: at.attacker.v4, port: 67, data: "smuggled" } });
  await until(async () => droppedBy((await table())!).output > start);
  client.tell({ send: { host: "255.255.255.255", port: 67, data: "request" } });
  await server.heard((line) => line.datagram === "request");
  expect(JSON.stringify(server.said)).not.toContain("smuggled");
});

test.skipIf(skip).each(["v4", "v6"] as const)(
  "%s: a smaller link on the way to the broker does not stall its connection",
  async (family) => {
    lan[Symbol.dispose]();
    lan = openLan({ farMtu: 1280 });
    const [broker, local, agent] = await Promise.all([
      talker("far", [8883], { count: true }),
      talker("device", []),
      device({ names: { "broker.lab": [at.far[family]] } }),
    ]);
    expect(await order(agent, isolate())).toMatchObject({ ok: true });
    const uplink = await link(local, broker, "uplink", at.far[family], 8883);
    local.tell({ say: { name: "uplink", data: "x".repeat(100_000) } });
    await broker.heard((line) => line.name === uplink && line.received === 100_000);
  },
);
