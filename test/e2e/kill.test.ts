// Promise 1, on the real thing: kill -9 of any process loses no buffered event and makes none twice, and each alert exists once.
import { Database } from "bun:sqlite";
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { SensorEvent } from "../../protocol/event.ts";
import { createNetwork, type Network } from "./network.ts";
import { eventually, type Program, run } from "./program.ts";
import { createSite, type Site } from "./site.ts";

const root = process.getuid?.() === 0;
const ROUNDS = 5;
const FILES = 400;
let network: Network;
let site: Site;
let folder: string;
let marked = 0;

beforeAll(async () => {
  if (!root) return;
  folder = mkdtempSync("/tmp/picket-kill-");
  network = createNetwork();
  site = await createSite(network);
}, 120_000);

afterAll(async () => {
  await site?.[Symbol.asyncDispose]();
  await network?.[Symbol.asyncDispose]();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

/** Files appear in a watched folder. */
function load(tag: string): void {
  for (let at = 0; at < FILES; at++) writeFileSync(join(folder, `${tag}-${at}`), "");
}

/** A copy of /bin/true with an odd name runs from /tmp: one more thing an alert should be about. */
async function mark(): Promise<void> {
  const odd = join(folder, `odd-${marked++}`);
  copyFileSync("/bin/true", odd);
  await run(network.on("device", [odd]));
}

/**
 * What the agent holds on disk: the promise covers exactly this. A running agent has the file to itself, so a copy is read; it stands still
 * meanwhile, or database and log would be of two moments, and events would seem to be of another epoch.
 */
function buffered(agent?: Program): string[] {
  const copy = mkdtempSync("/tmp/picket-buffer-");
  try {
    if (agent) stand(agent.pid);
    for (const file of ["buffer.db", "buffer.db-wal"])
      if (existsSync(join(site.agentState, file))) copyFileSync(join(site.agentState, file), join(copy, file));
    if (agent) process.kill(agent.pid, "SIGCONT");
    using db = new Database(join(copy, "buffer.db"));
    const rows = db.query<{ epoch: string; seq: number }, []>(
      "SELECT epoch, events.id - base AS seq FROM events JOIN epochs ON base = (SELECT max(base) FROM epochs WHERE base <= events.id)",
    );
    return rows.all().map(({ epoch, seq }) => `${epoch}:${seq}`);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** Stops a process and waits until it stands: the signal alone returns before every thread has. */
function stand(pid: number): void {
  process.kill(pid, "SIGSTOP");
  const isStanding = (task: string) => / [TtZX] /.test(readFileSync(`/proc/${pid}/task/${task}/stat`, "latin1").replace(/^.*\)/s, ")"));
  while (!readdirSync(`/proc/${pid}/task`).every(isStanding)) Bun.sleepSync(1);
}

async function everything(): Promise<SensorEvent[]> {
  const text = await site.picket("events", "--since", "1h", "--limit", "1000000", "--json");
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

const keys = (events: readonly SensorEvent[]) => events.map(({ epoch, seq }) => `${epoch}:${seq}`);

/** Sequence numbers an epoch lacks below its highest one in the log. */
function holes(events: readonly SensorEvent[]): string[] {
  const missing: string[] = [];
  for (const [epoch, of] of Map.groupBy(events, (event) => event.epoch)) {
    const have = new Set(of.map((event) => event.seq));
    for (let seq = 0; seq < Math.max(...have); seq++) if (!have.has(seq)) missing.push(`${epoch}:${seq}`);
  }
  return missing;
}

test.skipIf(!root)(
  "needs root: kill -9 of agent, broker and detector, many times",
  async () => {
    let broker = await site.startBroker();
    let detector = await site.startDetector();
    let agent = await site.startAgent();
    const promised = new Set<string>();
    const remember = (running?: Program) => {
      for (const key of buffered(running)) promised.add(key);
    };

    for (let round = 0; round < ROUNDS; round++) {
      // The agent dies with a full buffer: the broker is away, nothing can leave.
      await broker.kill("SIGKILL");
      load(`full-${round}`);
      await mark();
      await eventually("the buffer fills", () => buffered(agent).length >= FILES);
      await agent.kill("SIGKILL");
      remember();
      broker = await site.startBroker();
      agent = await site.startAgent();

      // The broker dies under load.
      load(`broker-${round}`);
      await broker.kill("SIGKILL");
      broker = await site.startBroker();

      // The detector dies while it works.
      load(`detector-${round}`);
      await mark();
      await detector.kill("SIGKILL");
      detector = await site.startDetector();
    }
    remember(agent);

    // The machine goes on making events, and those with hits overtake: what is asked is that everything promised arrives and no number stays away.
    const events = await eventually("every buffered event is in the log, and nothing acknowledged is missing", async () => {
      const found = await everything();
      const stored = new Set(keys(found));
      const missing = [...promised].filter((key) => !stored.has(key));
      const gaps = holes(found);
      if (missing.length === 0 && gaps.length === 0) return found;
      const held = new Set(buffered(agent));
      const away = [...new Set([...missing, ...gaps])];
      throw new Error(
        `${missing.length} promised events are not in the log, ${gaps.length} numbers are missing; the device still holds ${away.filter((key) => held.has(key)).length} of them: ${away.slice(0, 5)}`,
      );
    });
    expect(new Set(keys(events)).size, "no event twice").toBe(events.length);
    expect(promised.size).toBeGreaterThan(ROUNDS * FILES);

    const odd = new Set(
      events.flatMap((event) =>
        event.type === "process.exec" && event.body.process.exe.startsWith(`${folder}/odd-`) ? [event.body.process.exe] : [],
      ),
    );
    // One that ran just before the agent was killed may never have reached its buffer; those before the detector's death have.
    expect(odd.size).toBeGreaterThanOrEqual(ROUNDS);
    const told = await eventually("each marked program has its alert", async () => {
      const exes = (await site.alerts()).filter((alert) => alert.rule.engine === "sigma").flatMap((alert) => alert.process?.exe ?? []);
      return [...odd].every((exe) => exes.includes(exe)) && exes;
    });
    for (const exe of odd)
      expect(
        told.filter((one) => one === exe),
        exe,
      ).toHaveLength(new Set(told.filter((one) => one === exe)).size);
  },
  180_000,
);
