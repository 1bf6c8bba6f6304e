// Rules for devices as operators push them: a real broker, a real agent over TLS, the commands as programs of their own.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { anchorHash } from "@picket/protocol/command";
import { formatToken, parseToken } from "@picket/protocol/enroll";
import type { SensorEvent } from "@picket/protocol/event";
import type { Device } from "@picket/protocol/rest";
import { packRules } from "@picket/protocol/rule-pack";
import { builtinRules } from "@picket/rules/builtin";
import { parseRules } from "@picket/rules/engine";
import { pack } from "@picket/rules/packed";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type AgentProcess, agentCommand, startAgentProcess } from "../../agent/testing/device.ts";
import { SITE, type TestSite, testSite } from "../../broker/testing/site.ts";
import { initOperator, loadOperator } from "../operator/keys.ts";
import { signPack } from "../operator/pack.ts";

const main = new URL("../main.ts", import.meta.url).pathname;
let site: TestSite;
let folder: string;
let home: string;
let config: string;
let agent: AgentProcess | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "picket-rules-"));
  home = join(folder, "anna");
  const { public: shared } = await initOperator({ home, site: SITE, name: "anna" });
  site = await testSite({ anchor: shared.anchor });
  await site.api("PUT", "/v1/keys", { jws: shared.keys });
  const access = { url: `https://127.0.0.1:${site.broker.httpsPort}`, ca: site.ca, token: site.token, site: SITE };
  writeFileSync(join(home, "site.json"), JSON.stringify(access), { mode: 0o600 });
  config = join(folder, "agent.toml");
  writeFileSync(
    config,
    `state = ${JSON.stringify(join(folder, "state"))}\ninventory = false\n[watch]\nread = []\nwrite = ["${folder}/watched/"]\n`,
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
/** A machine that builds something else meanwhile is slow. */
const soon = (look: () => Promise<boolean>) => expect.poll(look, { timeout: 30_000 }).toBe(true);
const runs = async (version: number) => (await device()).status?.packs?.find(({ kind }) => kind === "rules")?.version === version;

const MARK = "zz-picket-pack-mark";
const rule = (title: string, text: string, id: string) =>
  `title: ${title}\nid: ${id}\nstatus: test\nlevel: high\ndate: 2026-11-22\nlogsource:\n  category: process_creation\n  product: linux\ndetection:\n  selection:\n    CommandLine|contains: ${text}\n  condition: selection\npicket:\n  todo: Look who called it.\n`;
const A = "0b2d2a5e-6a0a-4e0c-8d93-6f3c7a1f0a01";
const file = (name: string, text: string) => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const hitsOf = async (id: string) => (await events("process.exec")).filter(({ hits }) => hits?.some(({ rule: hit }) => hit === id)).length;

test("rules that were pushed are matched on the device, by files of the author or by a pack signed before", async () => {
  mkdirSync(join(folder, "mine"));
  file("mine/gateway.yml", rule("A mark was called", MARK, A));
  const sample = (expected: string, argv: string[]) =>
    JSON.stringify({ expect: expected, device: "gw", timeMs: 1, type: "process.exec", body: { process: { exe: "/usr/bin/true", argv } } });
  file("mine/gateway.samples.ndjson", `${sample("hit", ["true", MARK])}\n${sample("miss", ["true"])}\n`);
  start();
  await soon(async () => (await device()).presence === "online");
  const signed = await picket("rules", "sign", "mine", "--out", "mine.jws", "--json");
  expect(signed, signed.err).toMatchObject({ code: 0 });
  expect(JSON.parse(signed.out)).toMatchObject({ file: "mine.jws", dev: "*", version: 1, rules: 1, disabled: [] });
  const pushed = await picket("rules", "push", "mine.jws");
  expect(pushed, pushed.err).toMatchObject({ code: 0 });
  expect(pushed.out).toMatch(/^Version 1 for the whole site: the site carries it to its devices\.\nIt holds 1 rule\.\n/);
  expect(pushed.out).toMatch(/gw-1\s+1\s+-\s+runs them/);
  Bun.spawnSync(["/usr/bin/true", MARK]);
  await soon(async () => (await hitsOf(A)) === 1);
  expect(await results()).toContain(`done: version 1 for the whole site: 1 rules of packs beside ${builtinRules().length} shipped ones`);
  const shown = await picket("rules", "status");
  expect(shown.out).toMatch(/^Version 1 for the whole site, handed in by .*: 1 rule\n/);
  expect(JSON.parse((await picket("rules", "status", "--json")).out)).toMatchObject({
    packs: [{ dev: "*", version: 1, rules: [{ id: A, title: "A mark was called" }] }],
    devices: [{ device: "gw-1", state: "runs" }],
  });
}, 60_000);

test("what a device cannot run is rolled back there, said at the site, and what was stays: also without the site, and after a kill", async () => {
  const operator = await loadOperator(home);
  const { rules } = parseRules([{ file: "b.yml", text: rule("Another mark", "zz-other", A) }]);
  const event = {
    v: 1,
    device: "gw",
    epoch: "aaaaaaaa",
    seq: 0,
    timeMs: 1,
    type: "process.exec",
    body: { process: { pid: 1, startTicks: 1, ppid: 0, uid: 0, exe: "/usr/bin/true", argv: ["true"] } },
  } as const;
  // Signed past the checks of `picket rules push`.
  const payload = packRules({
    rules: rules.map(pack),
    disable: [],
    samples: [{ rule: A, hit: true, event: { ...event, body: { process: { ...event.body.process, argv: ["true"] } } } }],
  });
  const { jws, version } = await signPack(operator, { kind: "rules", dev: "*", payload, above: 1, nowMs: Date.now() });
  await site.api("PUT", "/v1/packs", { jws });
  await soon(async () => (await device()).status?.packs?.find(({ kind }) => kind === "rules")?.refused?.version === version);
  expect(await results()).toContain(
    `rolled-back: version ${version} for the whole site did not work: rule ${A} does not match a sample that says otherwise; version 1 stays in force`,
  );
  const doctor = await picket("doctor");
  expect(doctor.out).toMatch(/gw-1 refuses version 2 of its rules: rule .* does not match a sample/);
  await stop("SIGKILL");
  start();
  const before = await hitsOf(A);
  await soon(async () => (await device()).presence === "online" && (await runs(1)));
  Bun.spawnSync(["/usr/bin/true", MARK]);
  await soon(async () => (await hitsOf(A)) > before);
}, 90_000);

test("a shipped rule can be switched off on devices, and whoever looks sees it", async () => {
  const [first] = builtinRules();
  const pushed = await picket("rules", "push", "mine", "--disable", first!.id);
  expect(pushed, pushed.err).toMatchObject({ code: 0 });
  expect(pushed.out).toContain("It holds 1 rule, and switches 1 shipped rule off.");
  await soon(async () => ((await device()).status?.capabilities ?? []).some(({ name, level }) => name === "rules" && level === "degraded"));
  expect((await picket("doctor")).out).toMatch(new RegExp(`gw-1: rules is degraded \\(.*SWITCHED OFF here: "${first!.title}"`));
  expect((await picket("rules", "status")).out).toContain(`switched off on devices: ${first!.id}`);
}, 60_000);

test("the rules of packs are listed, and one is shown with who can see it", async () => {
  const listed = await picket("rules", "list");
  expect(listed, listed.err).toMatchObject({ code: 0 });
  expect(listed.out).toMatch(/The detector has not said yet/);
  expect(listed.out).toMatch(new RegExp(`${A}\\s+high\\s+sigma\\s+pack\\s+0\\s+0\\s+in a pack\\s+A mark was called`));
  expect(JSON.parse((await picket("rules", "list", "--level", "low", "--json")).out)).toMatchObject({ rules: [], troubles: [] });
  const shown = await picket("rules", "show", A.slice(0, 8));
  expect(shown.out).toMatch(/devices\s+\d see all it needs, \d a part, \d nothing/);
  expect(shown.out).toMatch(/to do\s+Look who called it\./);
  expect(await picket("rules", "show", "ffff")).toMatchObject({ code: 1, err: expect.stringContaining("this site has no rule") });
}, 30_000);

test.each<[string, () => string[], RegExp]>([
  ["a rule with an error", () => ["push", file("broken.yml", "title: x\ndetection: 5\n")], /error.* in the rules/],
  ["the id of no shipped rule", () => ["push", "mine", "--disable", "nonsense"], /is the id of no shipped rule/],
  ["a file that is no pack", () => ["push", file("no.jws", "a.b.c")], /holds no signed rules/],
  ["an older number", () => ["push", "mine", "--number", "1"], /number 1 is taken/],
  ["a pack of the past", () => ["push", "mine.jws"], /not newer than version/],
  [
    "a sample that says otherwise",
    () => [
      "push",
      file("bad.yml", rule("Bad", "zz", "0b2d2a5e-6a0a-4e0c-8d93-6f3c7a1f0a02")),
      file(
        "bad.samples.ndjson",
        '{"expect":"hit","device":"g","timeMs":1,"type":"process.exec","body":{"process":{"exe":"/a","argv":["a"]}}}\n',
      ).replace("bad.samples.ndjson", "bad.yml"),
    ],
    /bad\.samples\.ndjson:1: the rule "Bad" does not match/,
  ],
])("%s is not handed in", async (_, args, why) => {
  const said = await picket("rules", ...args(), "--no-wait");
  expect(said.code).not.toBe(0);
  expect(said.err).toMatch(why);
});

test("a pack on the disk of the device that was tampered with is not obeyed: the shipped rules run, and the device says so", async () => {
  await stop("SIGTERM");
  const state = join(folder, "state");
  for (const name of ["packs.json", "packs.copy.json"]) {
    const text = readFileSync(join(state, name), "utf8");
    writeFileSync(join(state, name), text.replace('"disable', '"x').replace("zstd", "zstE"));
  }
  start();
  await soon(async () => ((await device()).status?.capabilities ?? []).some(({ why }) => why.includes("are damaged")));
}, 60_000);
