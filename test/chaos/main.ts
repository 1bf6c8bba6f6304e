#!/usr/bin/env bun
// `bun run chaos`: everything that can go wrong at a site, at random, and then the balance.
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { describe, makePlan } from "./plan.ts";
import { printSheet, totals } from "./print.ts";
import { balance, runPlan, started } from "./run.ts";
import { createWorld, type World } from "./world.ts";

const usage = `bun run chaos [--seed N] [--minutes M | --steps K] [--devices N] [--no-agent] [--keep DIR] [--json]

Runs a site, N simulated devices (default 20) and this machine's own agent in network namespaces, kills, cuts, fills
and delays them as the seed says (default: a new one), and prints a balance sheet. Exits with 1 when it does not balance.
--keep copies databases, diaries and the last lines of every program to a folder, to be looked at.

  bun run chaos --seed 7 --minutes 2
  bun run chaos --seed 7 --steps 12 --devices 5 --no-agent --json`;

const EVERY_MS = 1500;

function number(text: string | undefined, otherwise: number, most: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (value > 0 && value <= most) return value;
  console.error(`chaos: ${JSON.stringify(text)} must be a number above 0, of at most ${most}\n\n${usage}`);
  process.exit(2);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: "string" },
      minutes: { type: "string" },
      steps: { type: "string" },
      devices: { type: "string" },
      "no-agent": { type: "boolean", default: false },
      keep: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  if (process.getuid?.() !== 0) {
    console.error("chaos: needs root, to make network namespaces and disks: run sudo bun run chaos");
    return 2;
  }
  const seed = Math.floor(number(values.seed, 1 + Math.random() * 999_998, 2 ** 31));
  const devices = Math.floor(number(values.devices, 20, 500));
  const steps = values.steps === undefined ? (number(values.minutes, 1, 1440) * 60_000) / EVERY_MS : number(values.steps, 1, 100_000);
  const say = values.json ? console.error : console.log;

  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stop.abort(new Error(`ended by ${name}`)));
  await using world = await createWorld({ devices, agent: !values["no-agent"] });
  const plan = makePlan({ seed, steps: Math.floor(steps), everyMs: EVERY_MS, world: world.plan });
  say(`world ${world.dir} ${world.network.tag}`);
  say(`seed ${seed}, ${devices} devices, ${plan.length} faults:\n${plan.map(describe).join("\n")}\n`);
  const tell = (what: string | (typeof plan)[number]) => say(typeof what === "string" ? what : `now ${describe(what).trim()}`);
  await started(world, stop.signal);
  const seconds = await runPlan(world, plan, { signal: stop.signal, tell });
  const sheet = balance(world, seconds);
  if (values.keep !== undefined) keep(world, values.keep);
  if (values.json) console.log(JSON.stringify({ seed, devices, faults: plan.length, totals: totals(sheet), ...sheet }));
  else console.log(printSheet(sheet));
  return sheet.balanced ? 0 : 1;
}

function keep(world: World, folder: string): void {
  cpSync(world.dir, folder, { recursive: true });
  for (const { name, ends, tail } of world.programs.values())
    writeFileSync(join(folder, `${name}.log`), `${JSON.stringify(ends)}\n${tail().join("\n")}\n`);
  if (world.deeds) writeFileSync(join(folder, "deeds.json"), JSON.stringify({ done: world.deeds.done, port: world.deeds.port }));
}

process.exitCode = await main().catch((error: unknown) => {
  console.error(`chaos: ${error instanceof Error ? error.message : error}`);
  return 1;
});
