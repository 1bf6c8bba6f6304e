// Settings as operators change them: a real broker, real agents over TLS, the commands as programs of their own.
import { Database } from "bun:sqlite";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { anchorHash } from "@picket/protocol/command";
import { formatToken, parseToken } from "@picket/protocol/enroll";
import type { SensorEvent } from "@picket/protocol/event";
import type { Device } from "@picket/protocol/rest";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type AgentProcess, agentCommand, startAgentProcess } from "../../agent/testing/device.ts";
import { enrol, SITE, type TestSite, testSite } from "../../broker/testing/site.ts";
import { grantRight, initOperator, loadOperator } from "../operator/keys.ts";
import { signPack } from "../operator/pack.ts";

const main = new URL("../main.ts", import.meta.url).pathname;
let site: TestSite;
let folder: string;
let home: string;
let config: string;
let agent: AgentProcess | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "picket-settings-"));
  home = join(folder, "anna");
  const { public: shared } = await initOperator({ home, site: SITE, name: "anna" });
  site = await testSite({ anchor: shared.anchor });
  await site.api("PUT", "/v1/keys", { jws: shared.keys });
  const access = { url: `https://127.0.0.1:${site.broker.httpsPort}`, ca: site.ca, token: site.token, site: SITE };
  writeFileSync(join(home, "site.json"), JSON.stringify(access), { mode: 0o600 });
  config = join(folder, "agent.toml");
  writeFileSync(
    config,
    `state = ${JSON.stringify(join(folder, "state"))}\neventsPerS = 1500\n[watch]\nread = []\nwrite = ["${folder}/watched/"]\n`,
  );
  const made = (await site.api("POST", "/v1/tokens", { uses: 1 })).json as { token: string };
  const token = formatToken({ ...parseToken(made.token), anchor: anchorHash(shared.anchor) });
  expect(await agentCommand(["enroll", "--token-file", "-", "--name", "gw-1", "--config", config], {}, token)).toMatchObject({ code: 0 });
}, 30_000);
afterAll(async () => {
  await stop("SIGKILL");
  await site[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function picket(...args: string[]) {
  const child = Bun.spawn([process.execPath, main, "--home", home, ...args], {
    cwd: folder,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { out, err, code };
}
const start = () => {
  agent = startAgentProcess(["run", "--config", config]);
};
async function stop(signal: NodeJS.Signals) {
  agent?.kill(signal);
  await agent?.exited;
  agent = undefined;
}
const device = async (id = "gw-1") => ((await site.api("GET", `/v1/devices/${id}`)).json as { device: Device }).device;
async function events(type: string): Promise<SensorEvent[]> {
  const all: SensorEvent[] = [];
  for (let after = 0, before = -1; after !== before; ) {
    const page = (await site.api("GET", `/v1/events?type=${type}&limit=1000&after=${after}`)).json as {
      events: SensorEvent[];
      after: number;
    };
    all.push(...page.events);
    [before, after] = [after, page.after];
  }
  return all;
}
const results = async () =>
  (await events("response.result")).flatMap(({ body }) => ("code" in body && "message" in body ? [`${body.code}: ${body.message}`] : []));
const runs = async (version: number) => (await device()).status?.packs?.[0]?.version === version;
/** A machine that builds something else meanwhile is slow. */
const soon = (look: () => Promise<boolean>) => expect.poll(look, { timeout: 30_000 }).toBe(true);
const asAgent = (...args: string[]) => agentCommand([...args, "--config", config]);

test("a changed interval takes effect while the agent runs, and who runs it is told", async () => {
  await enrol(site, "gw-2");
  expect((await picket("settings")).out).toMatch(/^Nothing is set from the site/);
  start();
  await expect.poll(async () => (await events("host.metrics")).length, { timeout: 30_000 }).toBe(1);
  const set = await picket("settings", "set", "metricsS=10", "canaryS=30s", "inventory.processes=10m", "eventsPerS=3000");
  expect(set).toMatchObject({ code: 0 });
  expect(set.out).toMatch(/^Version 1 for the whole site: metricsS = 10, canaryS = 30, eventsPerS = 3000, inventory.processes = 600\n/);
  expect(set.out).toContain("1 of 2 devices run it; 1 away: they hear of it when they connect.");
  expect((await device()).status).toMatchObject({
    canaryS: 30,
    packs: [{ kind: "settings", dev: "*", version: 1 }],
    held: ["eventsPerS"],
  });
  await expect.poll(async () => (await events("host.metrics")).length, { timeout: 50_000 }).toBeGreaterThan(1);
  // A minute apart without the settings.
  const [first, second] = await events("host.metrics");
  expect(second!.timeMs - first!.timeMs).toBeLessThan(55_000);
  expect(await results()).toContain(
    "done: version 1 for the whole site: metricsS = 10, canaryS = 30, inventory.processes = 600 (this device's own configuration keeps eventsPerS)",
  );
  const shown = await picket("settings");
  expect(shown.out).toMatch(/gw-1\s+1\s+-\s+runs them; its own configuration keeps eventsPerS/);
  expect(shown.out).toMatch(/gw-2\s+-\s+-\s+never: hears of it when it connects/);
  expect((await asAgent("status")).stdout).toMatch(/settings: version 1 of the site: metricsS = 10/);
}, 60_000);

test("a device that was away hears of it when it connects; what was set holds from its start, also without the site", async () => {
  await stop("SIGTERM");
  const set = await picket("settings", "set", "metricsS=20", "--no-wait", "--json");
  expect(JSON.parse(set.out)).toMatchObject({
    dev: "*",
    version: 2,
    values: { metricsS: 20, canaryS: 30 },
    devices: [{ device: "gw-1", state: "away" }, { device: "gw-2" }],
  });
  const printed = await asAgent("config", "--print");
  expect(printed.stdout).toMatch(/^# Set by the site's operators[\s\S]*#\s+metricsS = 10 {2}\(for the whole site; 60 otherwise/);
  expect(printed.stdout).not.toMatch(/# +eventsPerS = 3000/);
  expect((await asAgent("check")).stdout).toMatch(/live\s+settings: version 1 of the site: metricsS = 10/);
  start();
  await soon(() => runs(2));
  const own = await picket("settings", "set", "metricsS=15", "--device", "gw-1");
  expect(own.out).toContain("1 of 1 devices run it.");
  expect((await device()).status?.packs).toEqual([
    { kind: "settings", dev: "*", version: 2 },
    { kind: "settings", dev: "gw-1", version: 1 },
  ]);
  expect((await picket("settings", "set", "metricsS=15", "--device", "gw-1")).out).toMatch(
    /^Nothing to change for gw-1: version 1 already says metricsS = 15\.$/m,
  );
  expect((await picket("settings", "unset", "metricsS", "--device", "gw-1")).out).toMatch(/^Version 2 for gw-1: nothing is set any more/);
}, 60_000);

test("killed at once after it took them: the next start has them, and an older version from a broker that was turned is refused", async () => {
  const old = (await site.api("GET", "/v1/packs")).json as { packs: { dev: string; version: number; jws: string }[] };
  const before = old.packs.find(({ dev }) => dev === "*")!;
  expect(await picket("settings", "set", "heartbeatS=5")).toMatchObject({ code: 0 });
  await stop("SIGKILL");
  {
    using database = new Database(join(site.dir, "site.db"));
    database.run("UPDATE packs SET jws = ?, version = ? WHERE dev = '*'", [before.jws, before.version]);
  }
  start();
  await soon(async () => (await results()).some((text) => /^replayed: version 2 is not above 3/.test(text)));
  expect(await runs(3)).toBe(true);
  expect((await picket("settings")).out).toMatch(/gw-1\s+3\s+2\s+has version 3, which this site does not have/);
  expect(await picket("settings", "set", "metricsS=30")).toMatchObject({
    code: 1,
    err: expect.stringMatching(/version 2 is older than version 3, which was handed in from here[\s\S]*--trust-site/),
  });
  expect((await picket("settings", "set", "metricsS=30", "--trust-site")).out).toMatch(/^Version 4 for the whole site: metricsS = 30, /);
  await soon(() => runs(4));
}, 60_000);

test("nobody but an operator with the right sets anything, however he reaches the site", async () => {
  const operator = await loadOperator(home);
  const put = (jws: string) => site.api("PUT", "/v1/packs", { jws });
  const good = { kind: "settings", dev: "*", payload: { metricsS: 40 }, above: 4, nowMs: Date.now() } as const;
  const eve = await initOperator({ home: join(folder, "eve"), site: SITE, name: "anna" });
  expect(await put((await signPack(eve, good)).jws)).toMatchObject({ status: 403 });
  expect(await put((await signPack({ ...eve, kid: operator.kid }, good)).jws)).toMatchObject({ status: 403 });
  expect(await put((await signPack({ ...operator, site: "plant" }, good)).jws)).toMatchObject({ status: 409 });
  expect(await put((await signPack(operator, { ...good, dev: "gw-9" })).jws)).toMatchObject({ status: 404 });
  expect(await put((await signPack(operator, { ...good, payload: { canaryS: 86_400 } })).jws)).toMatchObject({
    status: 400,
    json: { detail: expect.stringContaining("canaryS: takes 10 to 300") },
  });
  expect(await runs(4)).toBe(true);
});

test("an operator from before there were settings is granted the right by who holds the root key", async () => {
  const ben = join(folder, "ben");
  const made = await initOperator({ home: ben, site: SITE, name: "ben" });
  await expect(signPack({ ...made, may: ["isolate"] }, { kind: "settings", dev: "*", payload: {}, above: 0, nowMs: 0 })).rejects.toThrow(
    /picket operator grant settings/,
  );
  expect(await grantRight(ben, "ben", "settings")).toBeUndefined();
  const granted = await picket("operator", "grant", "settings", "--json");
  expect(JSON.parse(granted.out)).toMatchObject({ version: 1, name: "anna", may: expect.arrayContaining(["settings"]) });
});

test.each([
  [["set", "wallpaper=3"], /"wallpaper" is not a setting/],
  [["set", "metricsS"], /"metricsS" is not KEY=VALUE/],
  [["set", "metricsS=soon"], /metricsS: "soon" is no value; it takes 10 to 3600/],
  [["set", "metricsS=1"], /metricsS: takes 10 to 3600/],
  [["set", "canaryS=1d"], /canaryS: takes 10 to 300/],
  [["unset", "inventory.souls"], /"inventory.souls" is not a setting/],
  [["set", "metricsS=30", "--device", "A_B"], /a device's name is/],
  [["set", "metricsS=30", "metricsS=40"], /metricsS is set twice/],
  [["set"], /missing required argument/],
  [["shout"], /too many arguments|unknown command/],
])("picket settings %j is a usage error", async (args, words) => {
  const { code, err } = await picket("settings", ...args);
  expect(code).toBe(2);
  expect(err).toMatch(words);
});

test("the settings that --help lists are those there are", async () => {
  const { out } = await picket("settings", "set", "--help");
  const source = readFileSync(new URL("../../protocol/settings.ts", import.meta.url), "utf8");
  for (const [, key] of source.matchAll(/^ {2}"?([a-zA-Z_.]+)"?: (?:\{ standard|table\()/gm)) expect(out).toContain(`  ${key} `);
});
