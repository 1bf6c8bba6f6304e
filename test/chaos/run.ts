// One run: a world, a plan played in it, and the balance once everybody has come to rest.

import { join } from "node:path";
import { bootNowMs } from "../../agent/clock.ts";
import { readBooks, undecided } from "./books.ts";
import { readDiary } from "./diary.ts";
import { calm, play } from "./faults.ts";
import { heldBy, isNearlyEmpty } from "./held.ts";
import type { Step } from "./plan.ts";
import { accountReal } from "./real.ts";
import { type Account, account, type Difference, type Row } from "./sheet.ts";
import { AGENT, type World } from "./world.ts";

/** Until every device has handed over what it holds, and until the detector has judged it. */
const DRAIN_MS = 180_000;
const STOP_MS = 30_000;
const START_MS = 60_000;

export type Sheet = {
  readonly rows: readonly Row[];
  readonly differences: readonly Difference[];
  /** Programs that ended without being asked to, and why. */
  readonly ended: readonly { readonly program: string; readonly why: string }[];
  readonly notes: readonly string[];
  readonly seconds: number;
  readonly balanced: boolean;
};

/** Resolves when every program of the world is there. */
export const started = (world: World, signal: AbortSignal): Promise<void> =>
  until(
    "everything runs",
    START_MS,
    signal,
    () => [...world.programs.values()].every((program) => program.ready()),
    () => [...world.programs.values()].flatMap((program) => (program.ready() ? [] : [`${program.name}: ${program.tail().at(-1)}`])),
  );

/** Plays the plan and waits until all is quiet and the site's programs have ended. Resolves with the seconds it took; rejects when something does not come to rest, or when aborted. */
export async function runPlan(
  world: World,
  plan: readonly Step[],
  of: { signal: AbortSignal; tell: (what: string | Step) => void },
): Promise<number> {
  const startMs = bootNowMs();
  await play(world, plan, of);
  calm(world);
  of.tell("no more faults: waiting for the devices");
  await world.deeds?.stop();
  const producers = [...world.programs.values()].filter(({ name }) => /^(fleet-|agent)/.test(name));
  await Promise.all(
    producers.map(async (program) => {
      const sinceMs = Date.now();
      const isDrained =
        program.name === "agent" ? () => isNearlyEmpty(join(world.dir, "run", "agent"), sinceMs) : program.asked("SIGUSR1", /^drained$/);
      await until(`${program.name} has handed over all it has`, DRAIN_MS, of.signal, isDrained, program.tail);
      const code = await program.stop(STOP_MS);
      if (code !== 0)
        throw new Error(`${program.name} did not end by itself within ${STOP_MS} ms of SIGTERM:\n${program.tail().join("\n")}`);
    }),
  );
  of.tell("all devices are empty: waiting for the detector");
  await until(
    "the detector has judged all",
    DRAIN_MS,
    of.signal,
    () => undecided(world.site) === 0,
    () => world.programs.get("detector")!.tail(),
  );
  for (const name of ["detector", "broker"]) await world.programs.get(name)!.stop(STOP_MS);
  return Math.round((bootNowMs() - startMs) / 1000);
}

async function until(
  what: string,
  patienceMs: number,
  signal: AbortSignal,
  isTrue: () => boolean,
  tail: () => readonly string[],
): Promise<void> {
  const endMs = bootNowMs() + patienceMs;
  while (!isTrue()) {
    signal.throwIfAborted();
    if (bootNowMs() > endMs) throw new Error(`${what}: not within ${patienceMs / 1000} s\n${tail().slice(-15).join("\n")}`);
    await Bun.sleep(100);
  }
}

/** The balance of a world at rest, whose programs have ended. */
export function balance(world: World, seconds: number): Sheet {
  const books = readBooks(world.site);
  const accounts: Account[] = world.devices.map(({ name, fleet, diary }) =>
    account(
      {
        device: name,
        runs: readDiary(diary),
        jumped: ["broker", fleet].some((host) => (world.clocks.get(host)?.jumps() ?? 0) > 0),
      },
      books,
    ),
  );
  if (world.deeds)
    accounts.push(
      accountReal(
        {
          ...{ device: AGENT, deeds: world.deeds, held: heldBy(join(world.dir, "agent-state", AGENT)) },
          ...{ ends: world.programs.get("agent")!.ends, bootedMs: Date.now() - bootNowMs() },
        },
        books,
      ),
    );
  const site: Difference[] = [
    ...(books.cursor === books.nextOffset ? [] : [{ device: "site", what: `the detector is at ${books.cursor} of ${books.nextOffset}` }]),
    ...(books.unreadable === 0 ? [] : [{ device: "site", what: `${books.unreadable} lines of the log are no events` }]),
    ...books.deadLetters.map((what) => ({ device: "site", what: `dead letter of ${what}` })),
  ];
  const differences = [...accounts.flatMap((one) => one.differences), ...site];
  const ended = [...world.programs.values()].flatMap(({ name, ends }) =>
    ends.filter(({ asked }) => !asked).map(({ why }) => ({ program: name, why })),
  );
  const notes = accounts.flatMap(({ note }) => (note === undefined ? [] : [note]));
  return { rows: accounts.map(({ row }) => row), differences, ended, notes, seconds, balanced: differences.length === 0 };
}
