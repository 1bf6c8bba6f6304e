// Each way for devices to go, caused for real: processes that are killed, cables that are pulled, connections that are cut.
import { Database } from "bun:sqlite";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Alert } from "@picket/protocol/alert";
import { clientId } from "@picket/protocol/names";
import type { Device } from "@picket/protocol/rest";
import type { MqttClient } from "mqtt";
import { expect, test } from "vitest";
import { connect, type Enrolled, enrol, makeStatus, mine, type TestSite, testSite, until, urlOf } from "../testing/site.ts";
import { address, openCable, whyNoCable } from "./testing/cable.ts";

const root = new URL("../..", import.meta.url).pathname;
const script = (name: string) => new URL(`testing/${name}.ts`, import.meta.url).pathname;

async function site(clock: { nowMs: number }, devices: number) {
  const made = await testSite({ nowMs: () => clock.nowMs, sweepMs: 20 });
  const enrolled: Enrolled[] = [];
  for (let n = 0; n < devices; n++) enrolled.push(await enrol(made, `gw-${String(n).padStart(2, "0")}`));
  return { made, enrolled };
}
const alertsOf = async (of: TestSite) =>
  ((await of.api("GET", "/v1/alerts")).json as { alerts: Alert[] }).alerts.filter(({ rule }) => /offline|killed|blackout/.test(rule.id));
const deviceOf = async (of: TestSite, id: string) => ((await of.api("GET", `/v1/devices/${id}`)).json as { device: Device }).device;

const will = (who: { name: string }, epoch: string) => ({
  will: {
    topic: mine(who, "status"),
    payload: Buffer.from(JSON.stringify({ v: 1, state: "offline", epoch })),
    qos: 1 as const,
    retain: false,
  },
});
async function arrive(of: TestSite, who: Enrolled, epoch: string): Promise<MqttClient> {
  const client = await connect(of, who, will(who, epoch));
  client.on("error", () => {});
  await client.publishAsync(mine(who, "status"), JSON.stringify(makeStatus(epoch)), { qos: 1 });
  return client;
}

/** The clock goes on in steps the broker does not take for a stand-still, while these devices beat. */
async function pass(of: { clock: { nowMs: number }; seconds: number; beat: () => Promise<unknown> }) {
  for (let left = of.seconds; left > 0; left -= 10) {
    of.clock.nowMs += Math.min(left, 10) * 1000;
    await of.beat();
    await Bun.sleep(60);
  }
}

test("20 of 25 devices cut at once are one alert, which says who they are and who is back", async () => {
  const clock = { nowMs: 1_800_000_000_000 };
  const { made, enrolled } = await site(clock, 25);
  await using _ = made;
  const clients = await Promise.all(enrolled.map((who, n) => arrive(made, who, `epoch0${10 + n}`)));
  const beatOf = (from: number) => () =>
    Promise.all(
      clients
        .slice(from)
        .map((client, n) =>
          client.publishAsync(mine(enrolled[from + n]!, "status"), JSON.stringify(makeStatus(`epoch0${10 + from + n}`)), { qos: 1 }),
        ),
    );
  await pass({ clock, seconds: 60, beat: beatOf(0) });
  for (const client of clients.slice(0, 20)) client.stream.destroy();
  await until(async () => (await deviceOf(made, "gw-19")).presence === "offline", "the last is seen to be gone");
  expect(await deviceOf(made, "gw-00")).toMatchObject({ presence: "offline", away: { how: "killed" } });
  await pass({ clock, seconds: 30, beat: beatOf(20) });
  const [blackout, ...others] = await until(async () => ((await alertsOf(made)).length > 0 ? alertsOf(made) : undefined), "the alert");
  expect(others).toEqual([]);
  expect(blackout).toMatchObject({ rule: { id: "picket-broker-blackout" }, device: "yard", severity: "high", count: 20 });
  expect(blackout!.summary).toMatch(/^20 of 25 devices went silent at .* All are in 127\.0\.0\.0\/24\. They are: gw-00, gw-01, .*gw-19\.$/);
  expect(await deviceOf(made, "gw-07")).toMatchObject({ away: { how: "killed", blackout: { devices: 20, back: 0 } } });
  for (let n = 0; n < 12; n++) clients[n] = await arrive(made, enrolled[n]!, `epoch0${10 + n}`);
  await until(async () => /12 of 20 are back\. Still away: gw-12, .*gw-19\.$/.test((await alertsOf(made))[0]!.summary), "12 back");
  expect(await deviceOf(made, "gw-07")).toMatchObject({ presence: "online" });
  expect((await deviceOf(made, "gw-07")).away).toBeUndefined();
  for (let n = 12; n < 20; n++) clients[n] = await arrive(made, enrolled[n]!, `epoch0${10 + n}`);
  await until(async () => /All 20 are back\.$/.test((await alertsOf(made))[0]!.summary), "all back");
  expect(await alertsOf(made)).toMatchObject([{ count: 20, status: "open" }]);
  await Promise.all(clients.map((client) => client.endAsync(true)));
}, 60_000);

test("a broker that restarts accuses nobody who comes back, and names those who do not", async () => {
  const clock = { nowMs: 1_800_000_000_000 };
  const { made, enrolled } = await site(clock, 6);
  await using _ = made;
  const first = await Promise.all(enrolled.map((who, n) => arrive(made, who, `epoch00${n}`)));
  await made.restart();
  await Promise.all(first.map((client) => client.endAsync(true)));
  clock.nowMs += 20_000;
  const clients = await Promise.all(enrolled.slice(0, 5).map((who, n) => arrive(made, who, `epoch00${n}`)));
  const beat = () =>
    Promise.all(
      clients.map((client, n) => client.publishAsync(mine(enrolled[n]!, "status"), JSON.stringify(makeStatus(`epoch00${n}`)), { qos: 1 })),
    );
  await pass({ clock, seconds: 60, beat });
  await until(async () => (await alertsOf(made)).length > 0, "the one that is missing");
  expect(await alertsOf(made)).toMatchObject([{ rule: { id: "picket-broker-offline" }, device: "gw-05" }]);
  await Promise.all(clients.map((client) => client.endAsync(true)));
}, 30_000);

test("a real agent that is killed, one that is stopped, and one that is started again are told apart", async () => {
  const clock = { nowMs: Date.now() };
  const { made } = await site(clock, 0);
  await using _ = made;
  const dir = mkdtempSync(join(tmpdir(), "pkledger-agent-"));
  const agents: ReturnType<typeof Bun.spawn>[] = [];
  const agent = (...args: string[]) => {
    const child = Bun.spawn([process.execPath, `${root}agent/main.ts`, ...args, "--state", join(dir, "state")], {
      ...{ stdin: "ignore", stdout: "ignore", stderr: "ignore" },
    });
    agents.push(child);
    return child;
  };
  try {
    const { token } = (await made.api("POST", "/v1/tokens", { uses: 1 })).json as { token: string };
    writeFileSync(join(dir, "token"), token);
    expect(await agent("enroll", "--token-file", join(dir, "token"), "--name", "pi").exited).toBe(0);
    const presence = (what: object) =>
      expect.poll(async () => ({ ...(await deviceOf(made, "pi")), status: undefined }), { timeout: 20_000 }).toMatchObject(what);
    const first = agent("run");
    await presence({ presence: "online" });
    await pass({ clock, seconds: 40, beat: async () => {} });
    first.kill("SIGKILL");
    await presence({ presence: "offline", away: { how: "killed" } });
    await pass({ clock, seconds: 30, beat: async () => {} });
    await until(async () => (await alertsOf(made)).length > 0, "the alert");
    expect(await alertsOf(made)).toMatchObject([{ rule: { id: "picket-broker-killed" }, device: "pi", severity: "high", count: 1 }]);
    const second = agent("run");
    await presence({ presence: "online" });
    await until(async () => (await alertsOf(made))[0]!.revision > 0, "the alert tells that it is back");
    expect((await alertsOf(made))[0]!.summary).toMatch(
      /ended without a word .* and is back after .*: its agent was started again, its host had run on/,
    );
    second.kill("SIGTERM");
    await presence({ presence: "stopped", away: { how: "stopped" } });
    await pass({ clock, seconds: 120, beat: async () => {} });
    expect(await alertsOf(made)).toHaveLength(1);
  } finally {
    for (const child of agents) {
      child.kill("SIGKILL");
      await child.exited;
    }
    rmSync(dir, { recursive: true });
  }
}, 60_000);

const noCable = whyNoCable();

test.skipIf(noCable !== undefined)(
  `a device whose cable is pulled is lost, not killed; a broker whose cable is pulled accuses nobody ${noCable ?? ""}`,
  async () => {
    using cable = openCable();
    cable.other(true);
    const dir = mkdtempSync(join(tmpdir(), "pkledger-cable-"));
    const children: ReturnType<typeof Bun.spawn>[] = [];
    const made = await testSite();
    try {
      const who = await enrol(made, "gw-00");
      await made.broker[Symbol.asyncDispose]();
      const broker = Bun.spawn(cable.on("site", process.execPath, script("broker"), made.dir, address.site), {
        ...{ stdin: "pipe", stdout: "pipe", stderr: "inherit" },
      });
      children.push(broker);
      const { value } = await broker.stdout.getReader().read();
      const { mqttPort } = JSON.parse(new TextDecoder().decode(value)) as { mqttPort: number };
      const file = join(dir, "device.json");
      writeFileSync(
        file,
        JSON.stringify({
          ...{ url: urlOf(mqttPort).replace("localhost", address.site), keepaliveS: 1, beatMs: 300, topic: mine(who, "status") },
          ...{
            status: makeStatus("epoch000"),
            client: { clientId: clientId("device", who.name), ca: made.ca, key: who.key, cert: who.cert },
          },
        }),
      );
      const log = { stdin: "ignore", stdout: "ignore", stderr: "inherit" } as const;
      children.push(Bun.spawn(cable.on("device", process.execPath, script("device"), file), log));
      using db = new Database(join(made.dir, "site.db"), { readonly: true });
      const row = () =>
        db
          .query<{ presence: string; how: string | null }, []>(
            "SELECT d.presence, a.how FROM devices d LEFT JOIN absences a ON a.device = d.id",
          )
          .get();
      const alerts = () =>
        db
          .query<{ detection: string }, []>("SELECT detection FROM alerts WHERE engine = 'broker'")
          .all()
          .map((one) => JSON.parse(one.detection) as Alert);
      const ahead = async (seconds: number) => {
        for (let left = seconds; left > 0; left -= 10) {
          broker.stdin.write("10000\n");
          await broker.stdin.flush();
          await Bun.sleep(80);
        }
      };
      await until(() => row()?.presence === "online", "the device is there");
      await ahead(60);
      cable.set("device", "down");
      await until(() => row()?.how === "lost", "nothing answers any more");
      await ahead(60);
      await until(() => alerts().length > 0, "the alert");
      expect(alerts()).toMatchObject([
        { rule: { id: "picket-broker-offline" }, summary: expect.stringMatching(/host does not answer either/) },
      ]);
      cable.set("device", "up");
      await until(() => row()?.presence === "online", "the device is back");
      await until(
        () => /its agent had run on, only the way to the site was cut\.$/.test(alerts()[0]!.summary),
        "the alert says what it was",
      );
      // Now the broker's own: its host has no other network.
      cable.other(false);
      cable.set("site", "down");
      await until(() => row()?.how === "lost", "the connection ends at the broker");
      await ahead(200);
      cable.set("site", "up");
      await until(() => row()?.presence === "online", "the device is there again");
      await ahead(60);
      expect(alerts()).toHaveLength(1);
    } finally {
      for (const child of children) {
        child.kill("SIGKILL");
        await child.exited;
      }
      await made[Symbol.asyncDispose]();
      rmSync(dir, { recursive: true });
    }
  },
  60_000,
);
