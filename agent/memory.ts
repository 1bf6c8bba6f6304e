import { codeForgetter } from "./code-pages.ts";
import { type Limits, type OwnState, type OwnUse, watchOwnUse } from "./own-use.ts";
import type { Strain } from "./shed.ts";

/** Of the 64 MB that DESIGN.md allows. */
const ENOUGH_BYTES = 56e6;
const EVERY_MS = 10_000;
/** Of the trimmer, between two collections: two minutes. */
const MAX_CALLS_BETWEEN = 11;

type Memory = {
  /** Resident bytes. */
  rss(): number;
  /** Synchronous. */
  collect(): void;
  forgetCode(): void;
};

/**
 * Gives memory back that the runtime would keep: at the first call, and then when there is more than we may have. JavaScriptCore lets garbage grow
 * to a multiple of the live heap before it collects, which on a board with 512 MB costs others more than it saves us.
 * Forgetting code is cheap and done at each call; collecting stops the agent for tens of milliseconds, and is done ever more seldom while it does not help.
 */
export function trimmer(memory: Memory): () => void {
  let begun = false;
  /** Calls without a collection: the next ones, and those after the next collection. */
  let [left, next] = [0, 0];
  return () => {
    if (begun && memory.rss() <= ENOUGH_BYTES) {
      [left, next] = [0, 0];
      return;
    }
    begun = true;
    if (left > 0) left--;
    else {
      memory.collect();
      left = next;
      next = Math.min(MAX_CALLS_BETWEEN, next * 2 + 1);
    }
    memory.forgetCode();
  };
}

/** Keeps this process small, and within `limits` until it is disposed. Call it when the start is over. */
export function keepSmall(of: {
  readonly limits: Limits;
  readonly onStrain: (strain: Strain) => void;
  readonly onState: (state: OwnState) => void;
}): Disposable & Pick<OwnUse, "capability"> {
  // build.ts makes the compiler wait during the start, most of which runs once.
  Bun.unsafe.setJITPolicy(1);
  const memory = { rss: () => process.memoryUsage.rss(), collect: () => Bun.gc(true), forgetCode: codeForgetter() };
  const trim = trimmer(memory);
  const own = watchOwnUse({ ...of, cpuMs, rss: memory.rss, nowMs: () => performance.now(), trim });
  const timer = setInterval(() => {
    trim();
    own.look();
  }, EVERY_MS);
  return { capability: own.capability, [Symbol.dispose]: () => clearInterval(timer) };
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
