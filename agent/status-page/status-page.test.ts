// The page of the real agent, in its own process, against a real broker.
import { appendFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { Health } from "@picket/protocol/health";
import { readExposition } from "@picket/protocol/testing/exposition";
import { afterEach, beforeAll, expect, test } from "vitest";
import { type AgentProcess, enrolledState, startAgentProcess } from "../testing/device.ts";
import { type Site, startTestBroker, testSite } from "../uplink/testing/broker.ts";
import type { AgentFacts } from "./facts.ts";
import { agentHealth } from "./health.ts";
import { agentMetrics } from "./metrics.ts";

let site: Site;
beforeAll(async () => {
  site = await testSite();
});
const agents: AgentProcess[] = [];
const dirs: string[] = [];
afterEach(async () => {
  for (const agent of agents.splice(0)) {
    agent.kill("SIGKILL");
    await agent.exited;
  }
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, () => resolve()));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function start(mqtt: number, settings: string): AgentProcess {
  const { dir, config } = enrolledState(site, { mqtt });
  dirs.push(dir);
  appendFileSync(config, settings);
  const agent = startAgentProcess(["run", "--config", config]);
  agents.push(agent);
  return agent;
}

async function ask(port: number, path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return { status: response.status, text: await response.text() };
}

test("an agent that works says so and tells its figures; when the site goes, it says what is wrong", async () => {
  const broker = await startTestBroker(site);
  const port = await freePort();
  start(broker.port, `[status]\nport = ${port}\n`);
  await expect.poll(async () => (await ask(port, "/healthz").catch(() => undefined))?.status, { timeout: 20_000 }).toBe(200);
  await expect.poll(async () => (await ask(port, "/metrics")).text, { timeout: 20_000 }).toContain("picket_agent_canary_age_seconds");
  const { text } = await ask(port, "/metrics");
  const read = readExposition(text);
  expect([...read.keys()].toSorted()).toEqual(Object.keys(agentMetrics).toSorted());
  const of = (name: keyof typeof agentMetrics) => read.get(name)!.samples;
  expect(of("picket_agent_connected")[0]!.value).toBe(1);
  expect(of("picket_agent_events_total").find(({ labels }) => labels.type === "agent.start")!.value).toBe(1);
  for (const [name, { labels }] of Object.entries(agentMetrics))
    for (const sample of read.get(name)!.samples) expect(Object.keys(sample.labels), name).toEqual(labels);
  await broker[Symbol.asyncDispose]();
  await expect.poll(async () => (await ask(port, "/healthz/ready")).status, { timeout: 20_000 }).toBe(503);
  const health = Health.parse(JSON.parse((await ask(port, "/healthz")).text));
  expect(health).toMatchObject({
    part: "agent",
    live: { ok: true },
    ready: { ok: false, why: [expect.stringContaining("not connected to the site")] },
  });
  expect((await ask(port, "/healthz/live")).status).toBe(200);
}, 60_000);

test("without status.port nothing listens; a port that is taken costs the page, not the agent", async () => {
  await using broker = await startTestBroker(site);
  const taken = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => taken.listen({ host: "127.0.0.1", port: 0 }, () => resolve()));
  const { port } = taken.address() as { port: number };
  const blocked = start(broker.port, `[status]\nport = ${port}\n`);
  await expect.poll(blocked.stderr, { timeout: 20_000 }).toContain(`no status page on 127.0.0.1:${port}`);
  await expect.poll(blocked.stderr, { timeout: 20_000 }).toContain("agent runs");
  await new Promise((resolve) => taken.close(resolve));
  blocked.kill("SIGTERM");
  expect(await blocked.exited).toBe(0);
  const without = start(broker.port, "");
  await expect.poll(without.stderr, { timeout: 20_000 }).toContain("agent runs");
  const { stdout } = Bun.spawnSync(["ss", "-Hltnp"]);
  expect(stdout.toString()).not.toContain(`pid=${without.pid},`);
  // Before the broker, which waits for whoever is connected.
  without.kill("SIGKILL");
  await without.exited;
}, 60_000);

const nowMs = 1_800_000_000_000;
const capability = (name: string, level: "live" | "degraded" | "off", why = "because") => ({ name, level, why });
const well = (): AgentFacts => ({
  nowMs,
  startedMs: nowMs - 3600_000,
  status: {
    ...{ v: 1, state: "online", timeMs: nowMs, boot: "7b9c1c9e-2f0c-4f7e-9d7e-0123456789ab", epoch: "k3m9x0qa" },
    ...{ version: "1.0.0", arch: "arm64", kernel: "6.12", uptimeS: 1, isolation: { state: "off" as const }, keysVersion: 1 },
    ...{ produced: 9, lost: { kernel: 0, shed: 0, buffer: 0 }, buffer: { events: 4, bytes: 99 }, epochs: [], rssBytes: 1, cpuS: 1 },
    capabilities: [capability("sensor.exec", "live"), capability("canary", "live"), capability("buffer", "live")],
    canaryS: 60,
  } as AgentFacts["status"],
  connection: { connected: true, why: undefined },
  canaryMs: nowMs - 30_000,
  answeredAgoMs: 5000,
  everyS: 60,
  certificateExpiresMs: nowMs + 1,
  ...{ byType: new Map(), bufferLost: { plain: 0, hit: 0, result: 0 } },
});
const with_ = (change: Partial<AgentFacts["status"]>): Partial<AgentFacts> => ({ status: { ...well().status, ...change } });
const others = well().status.capabilities;

test.each<[string, Partial<AgentFacts>, string[], string[]]>([
  ["all is well", {}, [], []],
  ["no sensor", with_({ capabilities: [capability("sensor", "off"), ...others.slice(1)] }), ["no sensor is attached"], []],
  ["all sensors off", with_({ capabilities: [capability("sensor.exec", "off", "no BPF")] }), ["no sensor is attached: no BPF"], []],
  [
    "a disk that refuses",
    with_({ capabilities: [others[0]!, capability("buffer", "degraded", "disk full")] }),
    ["the buffer: disk full"],
    [],
  ],
  [
    "a flash budget that is spent",
    with_({ capabilities: [others[0]!, capability("buffer", "degraded")], flash: { wroteBytes: 2, budgetBytes: 1 } }),
    [],
    [],
  ],
  ["no connection", { connection: { connected: false, why: "refused" } }, ["not connected to the site: refused"], []],
  ["an old certificate", { certificateExpiresMs: nowMs }, ["certificate has expired"], []],
  [
    "a canary that is missed",
    with_({ capabilities: [others[0]!, capability("canary", "degraded", "a file was not seen")] }),
    [],
    ["a file was not seen"],
  ],
  ["a canary that fell silent", { canaryMs: nowMs - 200_000 }, [], ["was not seen for 200 s"]],
  ["no canary at all, in a sensor without one", { canaryMs: undefined, ...withoutCanary() }, [], []],
  ["a site that acknowledges nothing", { answeredAgoMs: Number.POSITIVE_INFINITY }, [], ["acknowledged nothing for 3600 s; 4 events wait"]],
  ["the same, just started", { answeredAgoMs: Number.POSITIVE_INFINITY, canaryMs: undefined, startedMs: nowMs - 10_000 }, [], []],
  ["events that come seldom", { answeredAgoMs: 600_000, everyS: 3600 }, [], []],
])("%s", (_, change, ready, useful) => {
  const health = agentHealth({ ...well(), ...change });
  expect(health.live.ok).toBe(true);
  expect(health.ready).toEqual({ ok: ready.length === 0, why: ready.map((why) => expect.stringContaining(why)) });
  expect(health.useful).toEqual({ ok: useful.length === 0, why: useful.map((why) => expect.stringContaining(why)) });
});

function withoutCanary(): Partial<AgentFacts> {
  const { canaryS: _, ...status } = well().status;
  return { status };
}
