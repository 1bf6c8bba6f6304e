// The real program in real processes, against a real broker and site.
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SensorEvent } from "@picket/protocol/event";
import { afterEach, beforeAll, expect, test } from "vitest";
import { startTestSite } from "./enroll/testing/site.ts";
import { X509Certificate } from "./enroll/x509.ts";
import { findStatus } from "./status-file.ts";
import { type AgentProcess, agentCommand, enrolledState, main, startAgentProcess } from "./testing/device.ts";
import { type Site, startTestBroker, type TestBroker, testSite } from "./uplink/testing/broker.ts";

let site: Site;
beforeAll(async () => {
  site = await testSite();
});
const dirs: string[] = [];
const agents: AgentProcess[] = [];
afterEach(async () => {
  for (const agent of agents.splice(0)) {
    agent.kill("SIGKILL");
    await agent.exited;
  }
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

function device(at: { mqtt: number; https?: number }, cert?: string) {
  const made = enrolledState(site, at, cert);
  dirs.push(made.dir);
  return made;
}
function start(config: string): AgentProcess {
  const agent = startAgentProcess(["run", "--config", config]);
  agents.push(agent);
  return agent;
}
const eventsOf = (broker: TestBroker) => broker.batches.flatMap(({ events }) => events);
const serial = (pem: string) => new X509Certificate(pem).serialNumber.toLowerCase();
const typesOf = (broker: TestBroker) => eventsOf(broker).map(({ type }) => type);

test("a run begins with agent.start, beats, says what it does, and ends cleanly on SIGTERM", async () => {
  await using broker = await startTestBroker(site);
  const { config } = device({ mqtt: broker.port });
  const agent = start(config);
  await broker.until(() => broker.statuses.length > 0 && eventsOf(broker).length > 0);
  await broker.until(() => typesOf(broker).includes("agent.start"));
  expect(eventsOf(broker).find(({ seq }) => seq === 0)).toMatchObject({ type: "agent.start", device: "pi" });
  await expect
    .poll(async () => (await agentCommand(["status", "--config", config])).stdout, { timeout: 10_000 })
    .toMatch(/connection +connected/);
  const json = JSON.parse((await agentCommand(["status", "--json", "--config", config])).stdout);
  expect(json).toMatchObject({ running: true, pid: agent.pid, device: "pi", connected: true });
  agent.kill("SIGTERM");
  expect(await agent.exited).toBe(0);
  expect(
    eventsOf(broker)
      .toSorted((a, b) => a.seq - b.seq)
      .at(-1),
  ).toMatchObject({ type: "agent.stop", body: { why: "SIGTERM" } });
  expect(broker.statuses.at(-1)).toMatchObject({ state: "stopped" });
  expect(broker.statuses.map(({ state }) => state)).not.toContain("offline");
  const after = await agentCommand(["status", "--config", config]);
  expect(after).toMatchObject({ code: 1, stdout: expect.stringContaining("does not run") });
});

test("an agent beyond its own limits says so to the site, in its status and to check; one that is not running has limits", async () => {
  await using broker = await startTestBroker(site);
  const { config, state } = device({ mqtt: broker.port });
  const own = async () => {
    const { stdout } = await agentCommand(["check", "--json", "--config", config]);
    return (JSON.parse(stdout) as { name: string; level: string; why: string }[]).find(({ name }) => name === "agent");
  };
  expect(await own()).toMatchObject({ level: "live", why: expect.stringContaining("96 MiB") });
  // Less than any Bun program takes.
  appendFileSync(config, `[own]\nrssBytes = ${32 << 20}\n`);
  start(config);
  const beyond = { name: "agent", level: "degraded", why: expect.stringMatching(/^has \d+ MiB of memory, limit 32 MiB$/) };
  await broker.until(() =>
    broker.statuses.some(({ capabilities }) => JSON.stringify(capabilities ?? []).includes('"agent","level":"degraded"')),
  );
  await expect
    .poll(() => findStatus(state)?.status.online.capabilities, { timeout: 20_000 })
    .toContainEqual(expect.objectContaining(beyond));
  expect(await own()).toMatchObject(beyond);
}, 60_000);

test("killed with the site away, again and again: every event of every run arrives, in its own epoch", async () => {
  const closed = await startTestBroker(site);
  const { port } = closed;
  await closed[Symbol.asyncDispose]();
  const { config } = device({ mqtt: port });
  const epochs = new Set<string>();
  for (let round = 0; round < 2; round++) {
    const agent = start(config);
    await expect.poll(agent.stderr, { timeout: 10_000 }).toContain("agent runs");
    epochs.add(/"epoch":"([a-z0-9]{8})"/.exec(agent.stderr())![1]!);
    // Said after the first status report, which puts all that waits on disk.
    agent.kill("SIGKILL");
    await agent.exited;
  }
  await using broker = await startTestBroker(site, { port });
  const last = start(config);
  await broker.until(() => typesOf(broker).filter((type) => type === "agent.start").length === 3);
  const starts = eventsOf(broker).filter(({ type }) => type === "agent.start");
  expect(starts.every(({ seq }) => seq === 0)).toBe(true);
  expect(new Set(starts.map(({ epoch }) => epoch)).size).toBe(3);
  for (const epoch of epochs) expect(starts.map((event) => event.epoch)).toContain(epoch);
  last.kill("SIGTERM");
  expect(await last.exited).toBe(0);
});

test("an old certificate is renewed while running, and the next connection uses the new one", async () => {
  await using broker = await startTestBroker(site);
  await using https = await startTestSite({}, "127.0.0.1", site.ca);
  const { publicKey } = new X509Certificate(site.device.cert);
  const old = await site.ca.issue({ name: "pi", role: "device", publicKey, notAfter: new Date(Date.now() + 3600_000) });
  const { config, state } = device({ mqtt: broker.port, https: https.port }, old.cert);
  const agent = start(config);
  await broker.until(() => broker.serials.length === 2 || (broker.serials.length === 1 && broker.serials[0] !== serial(old.cert)));
  expect(https.received.map(({ path }) => path)).toEqual(["/v1/renew"]);
  const renewed = readFileSync(join(state, "device.crt.pem"), "utf8");
  expect(broker.serials.at(-1)).toBe(serial(renewed));
  expect(renewed).not.toBe(old.cert);
  await broker.until(() => broker.statuses.length === broker.serials.length);
  agent.kill("SIGTERM");
  expect(await agent.exited).toBe(0);
  expect(broker.statuses.map(({ state }) => state)).not.toContain("offline");
});

test("SIGHUP or a changed file starts anew with the configuration as it is now; one with errors changes nothing", async () => {
  await using broker = await startTestBroker(site);
  const { config } = device({ mqtt: broker.port });
  const agent = start(config);
  await broker.until(() => typesOf(broker).includes("agent.start"));
  agent.kill("SIGHUP");
  await broker.until(() => typesOf(broker).filter((type) => type === "agent.start").length === 2);
  const good = readFileSync(config, "utf8");
  appendFileSync(config, "[nonsense]\nx = 1\n");
  await expect.poll(agent.stderr, { timeout: 10_000 }).toContain("nonsense");
  expect(typesOf(broker).filter((type) => type === "agent.start")).toHaveLength(2);
  writeFileSync(config, `# mended\n${good}`);
  await broker.until(() => typesOf(broker).filter((type) => type === "agent.start").length === 3);
  agent.kill("SIGTERM");
  expect(await agent.exited).toBe(0);
});

test("a second agent on the same state is refused and says so", async () => {
  await using broker = await startTestBroker(site);
  const { config } = device({ mqtt: broker.port });
  start(config);
  await broker.until(() => broker.clientIds.length === 1);
  const second = await agentCommand(["run", "--config", config]);
  expect(second).toMatchObject({ code: 1, stderr: expect.stringContaining("another picket-agent") });
});

test("a token from standard input enrols; a second time only with --replace", async () => {
  await using https = await startTestSite({}, "127.0.0.1", site.ca);
  const { config, state } = device({ mqtt: 1 });
  rmSync(state, { recursive: true });
  const args = ["enroll", "--config", config, "--token-file", "-"];
  expect(await agentCommand(args, {}, https.token)).toMatchObject({ code: 0, stderr: expect.stringContaining("device pi of site lab") });
  expect(await agentCommand(args, {}, https.token)).toMatchObject({ code: 1, stderr: expect.stringContaining("--replace") });
  expect(await agentCommand([...args, "--replace"], {}, https.token)).toMatchObject({ code: 0 });
  expect(https.received.map(({ path }) => path)).toEqual(["/v1/enroll", "/v1/enroll"]);
});

test.each([
  { name: "no identity", args: ["run", "--state", "/nonexistent"], env: {}, code: 1, says: "picket-agent enroll --token-file" },
  {
    name: "certificate checks switched off",
    args: ["run", "--stdout"],
    env: { NODE_TLS_REJECT_UNAUTHORIZED: "0" },
    code: 2,
    says: "unset it",
  },
  { name: "an unknown command", args: ["fly"], env: {}, code: 2, says: "unknown command" },
  { name: "a missing option", args: ["enroll"], env: {}, code: 2, says: "--token-file" },
  {
    name: "a name that cannot be one",
    args: ["enroll", "--token-file", "-", "--name", "A\u001B[31m"],
    env: {},
    code: 2,
    says: "use 1-63 of a-z",
  },
  { name: "no token", args: ["enroll", "--token-file", "/nonexistent"], env: {}, code: 1, says: "picket token create" },
  {
    name: "a missing configuration file",
    args: ["config", "--print", "--config", "/nonexistent.toml"],
    env: {},
    code: 2,
    says: "/nonexistent.toml",
  },
  {
    name: "a bad value in the environment",
    args: ["config", "--print"],
    env: { PICKET_HEARTBEAT_S: "99" },
    code: 2,
    says: "PICKET_HEARTBEAT_S",
  },
  { name: "status where nothing ran", args: ["status", "--state", "/nonexistent"], env: {}, code: 1, says: "no agent has run" },
])("exit $code with a reason: $name", async ({ args, env, code, says }) => {
  const done = await agentCommand(args, env);
  expect(done).toMatchObject({ code, stderr: expect.stringContaining(says) });
});

test("run --stdout prints whole events with no site, and ends cleanly when its reader goes", async () => {
  const child = Bun.spawn([process.execPath, main, "run", "--stdout"], { stdin: "ignore", stdout: "pipe", stderr: "ignore" });
  const reader = child.stdout.getReader();
  const text = new TextDecoder().decode((await reader.read()).value);
  expect(JSON.parse(text.split("\n")[0]!)).toMatchObject({
    v: 1,
    type: "agent.start",
    epoch: expect.stringMatching(/^[a-z0-9]{8}$/),
    seq: 0,
  });
  await reader.cancel();
  // SIGTERM prints one more line: by then nobody reads.
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
});

test("output that nobody takes is known, so that it can be shed instead of filling memory", async () => {
  const code = `
    const { countedOutput } = await import(${JSON.stringify(new URL("output/stream.ts", import.meta.url).pathname)});
    const output = countedOutput((text, done) => void process.stdout.write(text, done));
    output.write("x".repeat(1 << 20));
    setTimeout(() => { console.error(output.unreadBytes()); process.exit(0); }, 200);`;
  // A pipe of our own would be read ahead by Bun: sleep really reads nothing.
  const child = Bun.spawn(["sh", "-c", '"$0" -e "$1" | sleep 2', process.execPath, code], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  expect(Number(await new Response(child.stderr).text())).toBe(1 << 20);
  await child.exited;
});

test("run --file appends whole events to a file and ends cleanly; with --stdout too it is a usage error", async () => {
  const dir = mkdtempSync(join(tmpdir(), "picket-file-"));
  dirs.push(dir);
  const path = join(dir, "events.ndjson");
  const agent = startAgentProcess(["run", "--file", path]);
  agents.push(agent);
  const types = () =>
    existsSync(path)
      ? readFileSync(path, "utf8")
          .split("\n")
          .slice(0, -1)
          .map((line) => SensorEvent.parse(JSON.parse(line)).type)
      : [];
  await expect.poll(types, { timeout: 20_000 }).toContain("agent.start");
  agent.kill("SIGTERM");
  expect(await agent.exited).toBe(0);
  expect(types().at(0)).toBe("agent.start");
  expect(types().at(-1)).toBe("agent.stop");
  expect((await agentCommand(["run", "--file", path, "--stdout"])).code).toBe(2);
});
