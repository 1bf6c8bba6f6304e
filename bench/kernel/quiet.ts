import { statSync } from "node:fs";
import type { Watching } from "./watcher.ts";

/** A report of a storm has ended when it grows by less than this in that time. */
const QUIET_MS = 1500;
const QUIET_BYTES = 512 << 10;
const QUIET_TRIES = 6;

/** Resolves when the report grows by no more than the host's own programs make it. */
export async function quiet({ output }: Watching): Promise<void> {
  const sizeOf = () => statSync(output, { throwIfNoEntry: false })?.size ?? 0;
  for (let size = sizeOf(), tries = 0; tries < QUIET_TRIES; tries++) {
    await Bun.sleep(QUIET_MS);
    const grown = sizeOf() - size;
    if (grown < QUIET_BYTES) return;
    size += grown;
  }
}
