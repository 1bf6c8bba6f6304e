#!/usr/bin/env bun
// `bun run power-loss`: machines in emulation lose their power under load, with disks that lose what was not flushed, and then the balance.
import { parseArgs } from "node:util";
import { cutDevice } from "./device.ts";
import { whyNoGuest } from "./guest.ts";
import { printDevice, printSite } from "./print.ts";
import { cutSite } from "./site.ts";

const usage = `bun run power-loss [--rounds N] [--seed N] [--only site|balanced|strict] [--lie] [--json]

Boots a Debian kernel with a site on a disk, and one with a device for each durability setting, cuts the power of each N
times (default 5) under load, and prints what became of everything. The disk loses what was not flushed, as the seed says
(default: a new one). A round takes half a minute on an idle machine. Exits with 1 when something does not balance.
--lie: the disk loses what was flushed too. That must not balance: it shows that a loss is noticed.

  bun run power-loss --rounds 2 --seed 7
  bun run power-loss --only strict --json`;

const parts = ["site", "balanced", "strict"] as const;

function fail(what: string): never {
  console.error(`power-loss: ${what}`);
  process.exit(2);
}

function number(text: string | undefined, otherwise: number, most: number): number {
  const value = text === undefined ? otherwise : Number(text);
  return Number.isInteger(value) && value > 0 && value <= most
    ? value
    : fail(`${text} must be a whole number from 1 to ${most}\n\n${usage}`);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string" },
      seed: { type: "string" },
      only: { type: "string" },
      lie: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const chosen = parts.filter((part) => values.only === undefined || values.only === part);
  if (chosen.length === 0) fail(`--only takes ${parts.join(", ")}\n\n${usage}`);
  const rounds = number(values.rounds, 5, 1000);
  const seed = number(values.seed, 1 + Math.floor(Math.random() * 999_998), 2 ** 31);
  const why = await whyNoGuest();
  if (why) fail(why);

  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stop.abort(new Error(`ended by ${name}`)));
  const say = values.json ? console.error : console.log;
  const wishes = { rounds, seed, lies: values.lie, signal: stop.signal, tell: say };
  say(`seed ${seed}, ${rounds} cuts of each`);
  const differences: string[] = [];
  for (const part of chosen) {
    const result = part === "site" ? await cutSite(wishes) : await cutDevice(part, wishes);
    differences.push(...result.differences);
    if (values.json) console.log(JSON.stringify({ part, seed, ...result }, (_, value) => (value instanceof Set ? value.size : value)));
    else console.log("durability" in result ? printDevice(result) : printSite(result));
  }
  return differences.length === 0 ? 0 : 1;
}

process.exitCode = await main().catch((error: unknown) => {
  console.error(`power-loss: ${error instanceof Error ? error.message : error}`);
  return 1;
});
