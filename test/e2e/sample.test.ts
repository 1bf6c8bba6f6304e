// Files from devices to verdicts, with real processes, certificates and kernels: what ran or was written is scanned at the site, once.

import { Database } from "bun:sqlite";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Alert } from "../../protocol/alert.ts";
import type { CommandRecord } from "../../protocol/rest.ts";
import type { SampleShown } from "../../protocol/sample-routes.ts";
import { createNetwork, type Network } from "./network.ts";
import { eventually, type Program, run, start } from "./program.ts";
import { createSite, DEVICE, type Site } from "./site.ts";

const root = process.getuid?.() === 0;
const AGENT = ["bun", new URL("../../agent/main.ts", import.meta.url).pathname];
const SECOND = "gw-015";
/** Not in one piece, or a scanner that watches this repository would take the test for it. */
const EICAR = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}", "$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].join("");
const marker = `marker-${crypto.randomUUID()}`;
let network: Network;
let site: Site;
let broker: Program;
let dir: string;
const agents: Program[] = [];

const sha256 = (bytes: string | Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

/** The agents see the whole machine: they watch a folder of the test's own, and are not slowed by what others run. */
function agentConfig(name: string, more = ""): string {
  const file = join(site.dir, `${name}.toml`);
  const text = `heartbeatS = 30\n[watch]\nwrite = ["${dir}/"]\n[samples]\nhashBytesPerS = 1000000000\nsendBytesPerS = ${2 << 20}\n${more}`;
  writeFileSync(file, text);
  return file;
}

async function startAgent(host: "device" | "attacker", state: string, config: string): Promise<Program> {
  const agent = start(network.on(host, [...AGENT, "--state", state, "--config", config, "run"]));
  agents.push(agent);
  await agent.line(/"connected"/);
  return agent;
}

beforeAll(async () => {
  if (!root) return;
  network = createNetwork();
  site = await createSite(network);
  dir = mkdtempSync(join(tmpdir(), "pksam-"));
  const rules = join(site.dir, "marker.yar");
  const meta = 'title = "Marked program" severity = "critical" mitre_attack = "T1036.005"\n text = true';
  writeFileSync(rules, `rule marked { meta: ${meta} strings: $m = "${marker}" condition: $m }\n`);
  writeFileSync(
    join(site.dir, "site.toml"),
    `[broker]\ndir = "${site.dir}/site"\nhost = "::"\n[detector]\ndir = "${site.dir}/site"\nyara = ["${rules}"]\n`,
  );
  broker = await site.startBroker();
  const detector = await site.startDetector();
  await detector.line(/files are scanned/);
  await startAgent("device", site.agentState, agentConfig(DEVICE));
}, 120_000);

afterAll(async () => {
  for (const agent of agents) await agent[Symbol.asyncDispose]();
  await site?.[Symbol.asyncDispose]();
  await network?.[Symbol.asyncDispose]();
  if (dir) rmSync(dir, { recursive: true, force: true });
});

/** What else ran on this machine since the agent started may be sent first. */
const PATIENCE_MS = 90_000;

const alertFor = (device: string, hash: string): Promise<Alert> =>
  eventually(
    `the alert of ${device}`,
    async () => (await site.alerts()).find((one) => one.device === device && one.rule.engine === "yara" && one.summary.includes(hash)),
    PATIENCE_MS,
  );

const spooled = (hash: string) => Bun.file(join(site.dir, "site", "samples", hash)).exists();

test.skipIf(!root)(
  "needs root: a file with the EICAR string, written in a watched place, is an alert at the site",
  async () => {
    const path = join(dir, "eicar.com");
    writeFileSync(path, EICAR);
    const alert = await alertFor(DEVICE, sha256(EICAR));
    expect(alert.rule).toMatchObject({ id: "yara:eicar_test_file", engine: "yara" });
    expect(alert.attack.techniques).toEqual(["T1204.002"]);
    expect(alert.summary).toContain(path);
    const detail = JSON.parse(await site.picket("alert", alert.id, "--json"));
    expect(detail.events).toMatchObject([{ type: "file.hash", body: { file: { path, sha256: sha256(EICAR), size: EICAR.length } } }]);
  },
  PATIENCE_MS * 2,
);

test.skipIf(!root)(
  "needs root: a program and a script that delete themselves at once are scanned all the same",
  async () => {
    const program = join(dir, "dropped");
    const script = join(dir, "dropped.sh");
    const elf = Buffer.concat([await Bun.file("/bin/sleep").bytes(), Buffer.from(`\n${marker} elf\n`)]);
    const text = `#!/bin/sh\n# ${marker} script\nrm ${script}\nsleep 6\n`;
    const isRunning = `[ "$(readlink /proc/$!/exe)" = ${program} ]`;
    const shell = `cp ${site.dir}/elf ${program}; chmod 755 ${program}; ${program} 6 & until ${isRunning}; do :; done; rm ${program}; ${script}; wait`;
    writeFileSync(join(site.dir, "elf"), elf);
    writeFileSync(script, text, { mode: 0o755 });
    const ran = run(network.on("device", ["sh", "-c", shell]));
    const alerts = await Promise.all([alertFor(DEVICE, sha256(elf)), alertFor(DEVICE, sha256(text))]);
    await ran;
    for (const alert of alerts) {
      expect(alert).toMatchObject({ severity: "critical", rule: { id: "yara:marked" }, attack: { techniques: ["T1036.005"] } });
    }
    expect(alerts[0]!.summary).toContain(program);
    expect(alerts[0]!.process).toBeDefined();
    expect(alerts[1]!.summary).toContain(script);
  },
  PATIENCE_MS * 2,
);

test.skipIf(!root)(
  "needs root: a second device with the same file alerts though nobody asks it for anything",
  async () => {
    const state = join(site.dir, "second");
    const token = join(site.dir, "token2");
    await site.picket("token", "create", "--out", token);
    const enrolled = await run(network.on("attacker", [...AGENT, "--state", state, "enroll", "--name", SECOND, "--token-file", token]));
    expect(enrolled.code, enrolled.stderr).toBe(0);
    await startAgent("attacker", state, agentConfig(SECOND, "send = false\n"));
    writeFileSync(join(dir, "eicar-copy.com"), EICAR);
    const alert = await alertFor(SECOND, sha256(EICAR));
    expect(alert.summary).toContain("eicar-copy.com");
    const all = (await site.alerts()).filter(({ summary }) => summary.includes(sha256(EICAR)));
    expect(all.map(({ device }) => device).sort()).toEqual([DEVICE, SECOND]);
  },
  PATIENCE_MS * 2,
);

test.skipIf(!root)(
  "needs root: the broker is killed in the middle of a transfer, which goes on where it was",
  async () => {
    const bytes = Buffer.concat([crypto.getRandomValues(Buffer.alloc(60_000)), Buffer.from(marker)]);
    const large = Buffer.concat(Array.from({ length: 120 }, () => bytes));
    const hash = sha256(large);
    const part = join(site.dir, "site", "samples", `${DEVICE}.${hash}.part`);
    const come = () => statSync(part, { throwIfNoEntry: false })?.size ?? 0;
    writeFileSync(join(dir, "large"), large);
    await eventually("the transfer has begun", () => come() > 1 << 20);
    await broker.kill("SIGKILL");
    expect(come()).toBeGreaterThan(1 << 20);
    expect(come()).toBeLessThan(large.length);
    broker = await site.startBroker();
    await alertFor(DEVICE, hash);
    expect(await spooled(hash)).toBe(true);
    using db = new Database(join(site.dir, "site", "site.db"), { readonly: true });
    expect(db.query("SELECT mismatched FROM sample_site").get()).toEqual({ mismatched: 0 });
  },
  PATIENCE_MS * 2,
);

test.skipIf(!root)(
  "needs root: a stolen broker that asks for a file the device never reported gets nothing",
  async () => {
    const hash = sha256(await Bun.file("/etc/passwd").bytes());
    using db = new Database(join(site.dir, "site", "site.db"));
    db.run("PRAGMA busy_timeout = 5000");
    db.run("INSERT INTO samples (sha256, state, changedMs) VALUES (?, 'wanted', 1)", [hash]);
    db.run(
      "INSERT INTO sightings (device, sha256, path, executed, rank, event, timeMs, open, pending) VALUES (?, ?, '/etc/passwd', 0, 9, 'e', 1, 1, 0)",
      [DEVICE, hash],
    );
    await eventually("the device's answer", () => {
      const row = db.query<{ state: string }, [string]>("SELECT state FROM samples WHERE sha256 = ?").get(hash);
      return row?.state === "gone";
    });
    expect(await spooled(hash)).toBe(false);
  },
  PATIENCE_MS * 2,
);

test.skipIf(!root)(
  "needs root: a rule that is meant for text matches what a command line hides in base64",
  async () => {
    const hidden = Buffer.from(`echo ${marker} said quietly`).toString("base64");
    let saidMs = Number.NEGATIVE_INFINITY;
    const alert = await eventually(
      "the alert about the command line",
      async () => {
        // The device's kernel is this host's: while other tests start thousands of programs, it lets go of some.
        if (performance.now() - saidMs > 5000) {
          saidMs = performance.now();
          expect((await run(network.on("device", ["sh", "-c", `: ${hidden}`]))).code).toBe(0);
        }
        return (await site.alerts()).find(
          ({ summary }) => summary.startsWith("sh (pid ") && summary.includes(" hides in base64 in its command line"),
        );
      },
      PATIENCE_MS,
    );
    expect(alert).toMatchObject({ rule: { id: "yara:marked", engine: "yara" }, process: { argv: ["sh", "-c", `: ${hidden}`] } });
    expect(alert.summary).toContain(`echo ${marker} said quietly`);
  },
  PATIENCE_MS * 2,
);

test.skipIf(!root)(
  "needs root: what only lies in the memory of a process is found on an operator's order, where it lies, and is not kept",
  async () => {
    const [first, second] = [marker.slice(0, 20), marker.slice(20)];
    const shell = `m=$(printf '%s%s' ${first} ${second}); echo ready; read -r wait; echo "$m"`;
    const child = Bun.spawn(["bash", "-c", shell], { stdin: "pipe", stdout: "pipe" });
    try {
      await child.stdout.getReader().read();
      const { code, stdout, stderr } = await site.tryPicket("scan", DEVICE, String(child.pid), "--json");
      expect(code, stderr).toBe(1);
      const { command, sample } = JSON.parse(stdout) as { command: CommandRecord; sample: SampleShown };
      expect(command).toMatchObject({ act: "scan", result: { ok: true, code: "done", sample: sample.sha256 } });
      expect(sample.matches).toMatchObject([
        { rule: "yara:marked", why: expect.stringMatching(/^\$m at 0x[0-9a-f]+ \(rw- .*\) "marker-/) },
      ]);
      const alert = await alertFor(DEVICE, sample.sha256);
      expect(alert.summary).toMatch(new RegExp(`^The memory of .*bash \\(pid ${child.pid}\\) matches Marked program: `));
      expect(alert.process).toMatchObject({ pid: child.pid });
      await eventually("the memory has left the site", async () => !(await spooled(sample.sha256)));
      const again = await site.tryPicket("scan", DEVICE, "--alert", alert.id);
      expect(again).toMatchObject({ code: 1, stdout: expect.stringContaining("Marked program (yara:marked): $m at 0x") });
    } finally {
      child.kill();
      await child.exited;
    }
    const gone = await site.tryPicket("scan", DEVICE, String(child.pid));
    expect(gone).toMatchObject({ code: 1, stderr: expect.stringMatching(/could not scan: there is no process \d+ here/) });
    const never = await site.tryPicket("scan", SECOND, "1");
    expect(never).toMatchObject({ code: 1, stderr: expect.stringContaining("samples.send is false") });
  },
  PATIENCE_MS * 3,
);
