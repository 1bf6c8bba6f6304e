// A short run of the chaos harness, and proof that it can fail: a sheet that never complains proves nothing.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openStore } from "../../broker/store/schema.ts";
import type { Detection } from "../../protocol/alert.ts";
import { start } from "../e2e/program.ts";
import { makePlan } from "./plan.ts";
import { printSheet } from "./print.ts";
import { balance, runPlan, type Sheet, started } from "./run.ts";
import { createWorld, type World } from "./world.ts";

const root = process.getuid?.() === 0;
const SEED = 5;
let world: World;
let sheet: Sheet;
let copies: string;

beforeAll(async () => {
  if (!root) return;
  copies = mkdtempSync(join(tmpdir(), "picket-chaos-test-"));
  world = await createWorld({ devices: 6, agent: true });
  const signal = new AbortController().signal;
  await started(world, signal);
  const plan = makePlan({ seed: SEED, steps: 14, everyMs: 700, world: world.plan });
  sheet = balance(world, await runPlan(world, plan, { signal, tell: () => {} }));
}, 240_000);

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  if (copies) rmSync(copies, { recursive: true, force: true });
}, 60_000);

test("the same seed gives the same plan, and another one another", () => {
  const plan = (seed: number) => makePlan({ seed, steps: 40, everyMs: 1000, world: { fleets: 3, agent: true, clocks: true } });
  expect(plan(7)).toEqual(plan(7));
  expect(plan(8)).not.toEqual(plan(7));
  expect(new Set(plan(7).map(({ fault }) => fault.kind))).toEqual(new Set(["kill", "freeze", "cut", "loss", "wire", "full", "jump"]));
});

test.skipIf(!root)("needs root: after kills, cuts, full disks and jumping clocks the books balance", () => {
  expect(sheet.differences, printSheet(sheet)).toEqual([]);
  expect(sheet.rows).toHaveLength(7);
  for (const row of sheet.rows) {
    const { kernel, shed, evicted, power } = row.lost;
    expect(row.caused, row.device).toBe(row.stored + kernel + shed + evicted + power);
    expect(row.stored, row.device).toBeGreaterThan(20);
    expect(row.alerts.found, row.device).toBeGreaterThan(0);
  }
});

/** The balance of the same world with a database somebody changed. */
function tampered(name: string, change: (store: ReturnType<typeof openStore>) => void): string[] {
  const site = join(copies, name);
  cpSync(world.site, site, { recursive: true });
  {
    using store = openStore(join(site, "site.db"));
    change(store);
  }
  return balance({ ...world, site }, sheet.seconds).differences.map(
    ({ device, seq, what }) => `${device}${seq === undefined ? "" : ` ${seq}`} ${what}`,
  );
}

test.skipIf(!root)("needs root: a stored batch that is gone is found, with device and number", () => {
  const wrong = tampered("dropped", ({ db }) =>
    db.run("DELETE FROM log WHERE offset = (SELECT MAX(offset) FROM log WHERE device = 'gw-2' AND firstSeq > 0 AND count > 0)"),
  );
  expect(wrong[0]).toMatch(/^gw-2 \d+ was acknowledged and is not in the log/);
});

test.skipIf(!root)("needs root: an event that is stored twice is found", () => {
  const wrong = tampered("twice", ({ db }) =>
    db.run(
      "INSERT INTO log (device, epoch, firstSeq, nextSeq, receivedMs, count, bytes, batch) SELECT device, epoch, firstSeq, nextSeq, receivedMs, count, bytes, batch FROM log WHERE device = 'gw-0' LIMIT 1",
    ),
  );
  expect(wrong[0]).toMatch(/^gw-0 \d+ is in the log twice/);
});

test.skipIf(!root)("needs root: an alert that is missing, and one that counts an event twice, are found", () => {
  const one = "(SELECT id FROM alerts WHERE device = 'gw-4' AND engine = 'sigma' LIMIT 1)";
  expect(tampered("no-alert", ({ db }) => db.run(`DELETE FROM alerts WHERE id = ${one}`)).join()).toMatch(/gw-4 \d+ made no alert/);
  const wrong = tampered("counted", ({ db }) => {
    const { detection } = db.query<{ detection: string }, []>(`SELECT detection FROM alerts WHERE id = ${one}`).get()!;
    const more: Detection = JSON.parse(detection);
    db.run(`UPDATE alerts SET detection = ? WHERE id = ${one}`, [JSON.stringify({ ...more, count: more.count + 1 })]);
  });
  expect(wrong.join()).toMatch(/gw-4 \d+ is one of \d+ events, and their alerts count \d+/);
});

test.skipIf(!root)("needs root: a ledger that is silent about a loss is found", () => {
  const wrong = tampered("silent", ({ db }) =>
    db.run("UPDATE ledger_devices SET shed = 0, evicted = 0, power = 0, stored = stored + 1 WHERE device = 'gw-1'"),
  );
  expect(wrong.join()).toMatch(/gw-1 has \d+ events in the log, and the ledger says/);
});

test.skipIf(!root)("needs root: a detector that has not judged all is found", () => {
  expect(tampered("behind", ({ db }) => db.run("UPDATE detector SET cursor = cursor - 1")).join()).toMatch(
    /site the detector is at \d+ of \d+/,
  );
});

test.skipIf(!root)("needs root: SIGINT in the middle leaves nothing behind", async () => {
  const main = new URL("main.ts", import.meta.url).pathname;
  await using chaos = start([process.execPath, main, "--seed", "3", "--steps", "40", "--devices", "2", "--no-agent"]);
  const [, dir = "", tag = ""] = /^world (\S+) (\S+)$/.exec(await chaos.line(/^world /)) ?? [];
  await chaos.line(/^now /);
  expect(await chaos.kill("SIGINT")).toBe(1);
  expect(readdirSync("/run/netns").filter((name) => name.startsWith(tag))).toEqual([]);
  expect(readFileSync("/proc/mounts", "utf8")).not.toContain(dir);
  expect(readdirSync(tmpdir())).not.toContain(dir.split("/").at(-1));
  expect(commands().filter((command) => command.includes(dir))).toEqual([]);
});

/** The command lines of all processes of this machine. */
function commands(): string[] {
  return readdirSync("/proc").flatMap((pid) => {
    try {
      return /^\d+$/.test(pid) ? [readFileSync(`/proc/${pid}/cmdline`, "latin1")] : [];
    } catch {
      return [];
    }
  });
}
