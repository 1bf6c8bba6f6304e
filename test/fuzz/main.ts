// `bun run fuzz [--seconds N] [--seed N] [TARGET...]`: hostile bytes at everything that reads bytes from the network. No crash, no hang, bounded memory.

import { parseArgs } from "node:util";
import { seeded } from "../../protocol/seeded.ts";
import { MAX_INPUT_BYTES, mutateBytes, pick } from "./mutate.ts";
import { parsers } from "./parsers.ts";
import { mqttTarget, restTarget } from "./site.ts";
import type { Target } from "./target.ts";
import { keepInput, shareOf } from "./watchdog.ts";

/** What may be held on to at the end of a target, beyond what was held at its beginning, bytes. */
const MAX_GROWTH = 192 << 20;

const { values, positionals } = parseArgs({
  options: { seconds: { type: "string", default: "20" }, seed: { type: "string", default: String(Date.now() % 1e6) } },
  allowPositionals: true,
});
const seconds = Number(values.seconds);
const seed = Number(values.seed);
if (!(seconds > 0) || !Number.isSafeInteger(seed)) {
  process.stderr.write("fuzz: --seconds takes a number above 0, --seed a whole one\n");
  process.exit(2);
}

const memory = new SharedArrayBuffer(8 + MAX_INPUT_BYTES);
const shared = shareOf(memory);
const watchdog = new Worker(new URL("./watchdog.ts", import.meta.url));
watchdog.postMessage(memory);
let failure: { readonly error: unknown } | undefined;
for (const name of ["uncaughtException", "unhandledRejection"] as const) process.on(name, (error) => (failure ??= { error }));

const isRefusal = (target: Target, error: unknown) =>
  (target.refusals ?? []).some((kind) => error instanceof kind) &&
  !(error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError);
const heldBytes = () => {
  Bun.gc(true);
  return process.memoryUsage.rss();
};

/** Runs one target for `ms`. Returns what was found, or undefined. */
async function fuzz(target: Target, ms: number): Promise<string | undefined> {
  const random = seeded(seed ^ Number(Bun.hash(target.name) & 0xffffn));
  const make = target.make ?? (() => mutateBytes(random, pick(random, target.seeds), target.seeds));
  const end = performance.now() + ms;
  let before = heldBytes();
  let runs = 0;
  let refused = 0;
  let slowestMs = 0;
  for (; performance.now() < end; runs++) {
    const bytes = runs < target.seeds.length && !target.make ? target.seeds[runs]! : make(random).subarray(0, MAX_INPUT_BYTES);
    shared.bytes.set(bytes);
    Atomics.store(shared.numbers, 1, bytes.length);
    Atomics.add(shared.numbers, 0, 1);
    const began = performance.now();
    try {
      await target.run(bytes);
    } catch (error) {
      if (isRefusal(target, error)) refused++;
      else failure ??= { error };
    }
    slowestMs = Math.max(slowestMs, performance.now() - began);
    if (failure) {
      const { error } = failure;
      return `${target.name}, run ${runs}: ${error instanceof Error ? error.stack : error}\ninput: ${keepInput(bytes)}`;
    }
    // What is loaded and compiled once is no growth.
    if (runs === 200) before = heldBytes();
  }
  try {
    await target.finish?.();
  } catch (error) {
    return `${target.name}, after ${runs} inputs: ${error instanceof Error ? error.stack : error}`;
  }
  const grown = heldBytes() - before;
  process.stdout.write(
    `${target.name}: ${runs} inputs, ${refused} refused, slowest ${slowestMs.toFixed(0)} ms, ${Math.round(grown / (1 << 20))} MiB more held\n`,
  );
  return grown > MAX_GROWTH ? `${target.name}: ${Math.round(grown / (1 << 20))} MiB more are held after ${runs} inputs` : undefined;
}

process.stdout.write(`seed ${seed}, ${seconds} s\n`);
await using mqtt = await mqttTarget();
await using rest = await restTarget();
const targets = [...parsers, mqtt, rest].filter(({ name }) => positionals.length === 0 || positionals.includes(name));
// What holds a connection needs more time for as many inputs.
const shareOfTime = (target: Target) => (target === mqtt || target === rest ? 4 : 1);
const total = targets.reduce((sum, target) => sum + shareOfTime(target), 0);
for (const target of targets) {
  const found = await fuzz(target, (seconds * 1000 * shareOfTime(target)) / total);
  if (found === undefined) continue;
  process.stderr.write(`FOUND ${found}\nagain: bun run fuzz --seed ${seed} "${target.name}"\n`);
  process.exit(1);
}
watchdog.terminate();
if (targets.length === 0) {
  process.stderr.write(`fuzz: there is no such target; there are ${[...parsers, mqtt, rest].map(({ name }) => name).join(", ")}\n`);
  process.exitCode = 2;
}
